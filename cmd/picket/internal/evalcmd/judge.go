package evalcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/picketwatch/picket/cmd/picket/internal/analyzecmd"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// judge shows captures to detectors.
type judge interface {
	detectors() []detector
	// judge returns what one of them finds. It forgets what it was shown before.
	judge(ctx context.Context, id, path string) ([]sdk.Finding, error)
	close()
}

type detector struct {
	id, version string
	techniques  []string
	tags        []string
}

func of(m registry.Manifest) detector { return detector{m.ID, m.Version, m.Techniques, m.Tags} }

// judges opens those of the registry together, and each folder by itself.
func (o *options) judges(ctx context.Context, names []string) (out []judge, err error) {
	var listed []string
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			listed = append(listed, name)
			continue
		}
		f, err := openFolder(ctx, name, o.runtime, o.stderr)
		if err != nil {
			return out, err
		}
		out = append(out, f)
	}
	if len(listed) == 0 {
		return out, nil
	}
	d, err := analyzecmd.Open(ctx, o.registry, o.runtime, listed)
	if err != nil {
		return out, err
	}
	return append(out, &listedJudge{Detectors: d, known: map[string][]sdk.Finding{}, stderr: o.stderr}), nil
}

// listedJudge is detectors of a registry. All of them see a capture at once.
type listedJudge struct {
	*analyzecmd.Detectors
	known  map[string][]sdk.Finding // by capture
	stderr io.Writer
}

func (j *listedJudge) detectors() (out []detector) {
	for _, m := range j.Manifests() {
		out = append(out, of(m))
	}
	return out
}

func (j *listedJudge) judge(ctx context.Context, id, path string) ([]sdk.Finding, error) {
	all, known := j.known[path]
	if !known {
		var damaged, err error
		if all, damaged, err = j.Judge(ctx, path); err != nil {
			return nil, err
		}
		if damaged != nil {
			fmt.Fprintln(j.stderr, "picket:", damaged)
		}
		j.known[path] = all
	}
	return slices.DeleteFunc(slices.Clone(all), func(f sdk.Finding) bool { return f.Detector != id }), nil
}

func (j *listedJudge) close() { j.Close() }

// folder is a detector in a source folder, or one that was built. This program builds it and shows it captures, as
// picket plugin replay does.
type folder struct {
	self, runtime string
	built, tmp    string
	environ       []string
	about         detector
}

func openFolder(ctx context.Context, dir, runtime string, stderr io.Writer) (*folder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "picket-eval-")
	if err != nil {
		return nil, err
	}
	f := &folder{self: self, runtime: runtime, built: dir, tmp: tmp}
	if _, err := os.Stat(filepath.Join(dir, "plugin.yaml")); err == nil {
		f.built = filepath.Join(tmp, "build")
		if f.environ, err = withPython(dir); err != nil {
			f.close()
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self, "plugin", "build", "--out", f.built, dir)
		cmd.Stderr = stderr
		if err := cmd.Run(); err != nil {
			f.close()
			return nil, fmt.Errorf("build %s: %w", dir, err)
		}
	}
	if f.built, err = descriptorIn(f.built); err != nil {
		f.close()
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(f.built, descriptorFile))
	var d registry.Descriptor
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err == nil && d.Manifest.Kind != sdk.KindDetector {
		err = fmt.Errorf("%s is a %s, not a detector", dir, d.Manifest.Kind)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	f.about = of(d.Manifest)
	return f, nil
}

// withPython is an environment in which a build of this source folder runs with the folder's own libraries.
func withPython(dir string) ([]string, error) {
	python, err := filepath.Abs(filepath.Join(dir, ".venv", "bin", "python3"))
	if err != nil || os.Getenv("PICKET_PYTHON") != "" {
		return nil, err
	}
	if _, err := os.Stat(python); err != nil {
		return nil, nil
	}
	return append(os.Environ(), "PICKET_PYTHON="+python), nil
}

// descriptorFile is what picket plugin build writes beside the artifacts.
const descriptorFile = "release.json"

// descriptorIn finds the build in a folder: there, or in the only folder below.
func descriptorIn(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*", descriptorFile))
	if _, here := os.Stat(filepath.Join(dir, descriptorFile)); here == nil {
		return dir, nil
	}
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s is neither a source folder with plugin.yaml nor one that picket plugin build made", dir)
	}
	return filepath.Dir(found[0]), nil
}

func (f *folder) detectors() []detector { return []detector{f.about} }

func (f *folder) judge(ctx context.Context, _, path string) ([]sdk.Finding, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, f.self, "plugin", "replay", "--json", "--runtime", f.runtime, "--dir", f.built, path)
	cmd.Env, cmd.Stdout, cmd.Stderr = f.environ, &out, &said
	if err := cmd.Run(); err != nil {
		return nil, errors.New(strings.TrimPrefix(strings.TrimSpace(said.String()), "picket: "))
	}
	var verdict struct{ Findings []sdk.Finding }
	if err := json.Unmarshal(out.Bytes(), &verdict); err != nil {
		return nil, fmt.Errorf("what picket plugin replay said is not understood: %w", err)
	}
	return verdict.Findings, nil
}

func (f *folder) close() { os.RemoveAll(f.tmp) }
