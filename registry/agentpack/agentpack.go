// Package agentpack is how the agent travels: a gzipped tar with one folder, picket-agent, that holds the agent and the
// programs it starts. Each is for one platform and of one build. What comes out of Read is bounded and holds nothing else,
// whoever packed it.
package agentpack

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ID is what releases of the agent are called in a registry.
const ID = "picket/agent"

// Folder is where the programs lie in an archive.
const Folder = "picket-agent"

// Programs are those of an archive, the agent first; on Windows each ends in .exe.
var Programs = []string{"picket-agent", "picket-launch", "picket-traffic", "picket-wasm"}

// maxProgram bounds one program, unpacked.
const maxProgram = 256 << 20

// Name is a program's file on a platform.
func Name(program, goos string) string {
	if goos == "windows" {
		return program + ".exe"
	}
	return program
}

// FileName is what people call the archive of a release.
func FileName(version, goos, goarch string) string {
	return "picket-agent-" + version + "-" + goos + "-" + goarch + ".tar.gz"
}

// Write packs the programs that lie in dir. Same programs, same bytes.
func Write(w io.Writer, dir, goos string) error {
	zip := gzip.NewWriter(w)
	pack := tar.NewWriter(zip)
	for _, program := range Programs {
		if err := add(pack, filepath.Join(dir, Name(program, goos))); err != nil {
			return fmt.Errorf("pack the agent: %w", err)
		}
	}
	return errors.Join(pack.Close(), zip.Close())
}

func add(pack *tar.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > maxProgram {
		return fmt.Errorf("%s is no program of 1 to %d bytes", path, maxProgram)
	}
	// The time is fixed: it must not depend on when somebody built.
	h := &tar.Header{Name: Folder + "/" + filepath.Base(path), Mode: 0o755, Size: info.Size(), ModTime: time.Unix(0, 0).UTC(), Format: tar.FormatUSTAR}
	if err := pack.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(pack, f)
	return err
}

// Read hands out each program of an archive. It is an error when one is missing, or anything else is in it.
func Read(r io.Reader, goos string, each func(name string, size int64, r io.Reader) error) error {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("unpack the agent: %w", err)
	}
	var want []string
	for _, program := range Programs {
		want = append(want, Name(program, goos))
	}
	pack := tar.NewReader(zip)
	for {
		h, err := pack.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("unpack the agent: %w", err)
		}
		name, inside := strings.CutPrefix(h.Name, Folder+"/")
		i := slices.Index(want, name)
		if !inside || i < 0 || h.Typeflag != tar.TypeReg || h.Size <= 0 || h.Size > maxProgram {
			return fmt.Errorf("unpack the agent: %.100q does not belong into it", h.Name)
		}
		want = slices.Delete(want, i, i+1)
		if err := each(name, h.Size, pack); err != nil {
			return fmt.Errorf("unpack the agent: %s: %w", name, err)
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("unpack the agent: it lacks %s", strings.Join(want, ", "))
	}
	return nil
}
