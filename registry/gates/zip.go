package gates

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// The bounds of an archive of scripts or of data.
const (
	maxZipFiles = 10_000
	maxUnpacked = 512 << 20
	maxRatio    = 200 // unpacked to packed, beyond the first mebibyte
)

// checkZip looks at an archive entry by entry. Sizes are counted while unpacking, as headers lie.
func checkZip(f *finding, where string, data []byte) {
	in, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		f.failf("%s: no zip archive: %v", where, err)
		return
	}
	if len(in.File) > maxZipFiles {
		f.failf("%s: %d files, at most %d are allowed", where, len(in.File), maxZipFiles)
		return
	}
	budget := min(maxUnpacked, maxRatio*int64(len(data))+1<<20)
	seen := map[string]bool{}
	for _, entry := range in.File {
		name := fmt.Sprintf("%s: %q", where, printable(entry.Name))
		if why := badName(entry.Name); why != "" {
			f.failf("%s %s", name, why)
		}
		if folded := strings.ToLower(entry.Name); seen[folded] {
			f.failf("%s stands there twice", name)
		} else {
			seen[folded] = true
		}
		if why := badMode(entry.Mode()); why != "" {
			f.failf("%s %s", name, why)
		}
		if entry.Flags&1 != 0 {
			f.failf("%s is encrypted", name)
			continue
		}
		n, err := unpack(f, name, entry, budget)
		if err != nil {
			f.failf("%s: %v", name, err)
			return // what comes after a bomb is not worth the time
		}
		budget -= n
	}
	f.notef("%s: %s", where, plural(len(in.File), "file"))
}

var errBomb = errors.New("it unpacks to far more than it is: a bomb")

func unpack(f *finding, name string, entry *zip.File, budget int64) (int64, error) {
	r, err := entry.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	head := make([]byte, 4<<10)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	if why := isPickle(head[:n]); why != "" {
		f.failf("%s is %s, which runs code when it is read", name, why)
	}
	if with := sealed(head[:n]); with != "" {
		f.warnf("%s is packed with %s, into which this registry does not look", name, with)
	}
	rest, err := io.Copy(io.Discard, io.LimitReader(r, budget-int64(n)+1))
	if err != nil {
		return 0, err
	}
	if int64(n)+rest > budget {
		return 0, errBomb
	}
	return int64(n) + rest, nil
}

// badName says why a name leads out of where an archive is unpacked, on any system.
func badName(name string) string {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return "has no name"
	case strings.Contains(name, "\\") || strings.Contains(name, ":"):
		return "is named for another system"
	case strings.HasPrefix(name, "/"):
		return "has an absolute path"
	case path.Clean(name) != strings.TrimSuffix(name, "/") || name == ".." || strings.HasPrefix(name, "../"):
		return "leads out of the archive"
	}
	return ""
}

func badMode(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "is a link"
	case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return "changes its user when it is run (setuid)"
	case mode&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket|fs.ModeIrregular) != 0:
		return "is neither a file nor a folder"
	}
	return ""
}
