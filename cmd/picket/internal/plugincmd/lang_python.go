package plugincmd

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// pythonLang packs plugins as one archive of modules. Libraries, the SDK too, are those of the node's interpreter.
type pythonLang struct{ src string }

func (pythonLang) name() string { return "python" }

// zipTime stands in each archive; a zip knows no earlier one.
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func (pythonLang) compile(_ context.Context, _ *builder, t *target) error {
	names, err := pythonFiles(t.plugin.src)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add := func(name string, data []byte) error {
		// Stored, not compressed: what a compressor makes of it differs between its versions.
		entry, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: zipTime})
		if err == nil {
			_, err = entry.Write(data)
		}
		return err
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(t.plugin.src, filepath.FromSlash(name)))
		if err == nil {
			err = add(name, data)
		}
		if err != nil {
			return err
		}
	}
	if !slices.Contains(names, "__main__.py") {
		if err := add("__main__.py", pythonMain(names)); err != nil {
			return err
		}
	}
	if !slices.Contains(names, requirements) {
		needs, err := pythonNeeds(t.plugin.src)
		if err == nil && needs != nil {
			err = add(requirements, needs)
		}
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(t.path, b.Bytes(), 0o644)
}

// pythonFiles lists what belongs to the plugin: modules at the root and packages with all that is in them.
func pythonFiles(src string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil || rel == "." {
			return err
		}
		name := filepath.ToSlash(rel)
		atRoot := !strings.Contains(name, "/")
		switch {
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "__pycache__" || atRoot && !exists(filepath.Join(path, "__init__.py"))),
			d.IsDir() && atRoot && d.Name() == "tests":
			return filepath.SkipDir
		case d.Type().IsRegular() && (!atRoot && !strings.HasSuffix(name, ".pyc") || atRoot && strings.HasSuffix(name, ".py") && !testModule(name)):
			names = append(names, name)
		}
		return nil
	})
	if err == nil && len(names) == 0 {
		err = errors.New("there is no Python package here: a folder with __init__.py, or a .py file, beside pyproject.toml")
	}
	slices.Sort(names)
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, "/__init__.py") }) {
		// With a package, modules beside it are tools of the author, such as one that trains a model.
		names = slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, "/") && n != "__main__.py" })
	}
	return names, err
}

func testModule(name string) bool {
	return strings.HasPrefix(name, "test_") || strings.HasSuffix(name, "_test.py") || name == "conftest.py"
}

// pythonMain imports what declares the plugin and serves it.
func pythonMain(names []string) []byte {
	var b bytes.Buffer
	for _, name := range names {
		module, isPackage := strings.CutSuffix(name, "/__init__.py")
		if !isPackage {
			module, isPackage = strings.CutSuffix(name, ".py")
		}
		if isPackage && !strings.Contains(module, "/") {
			fmt.Fprintf(&b, "import %s  # noqa: F401\n", module)
		}
	}
	b.WriteString("import picket\n\npicket.main()\n")
	return b.Bytes()
}

// interpreter is what PICKET_PYTHON names, or that of the plugin's own environment, or the machine's.
func (l pythonLang) interpreter() (string, error) {
	for _, path := range []string{os.Getenv("PICKET_PYTHON"), filepath.Join(l.src, ".venv", "bin", "python3"), filepath.Join(l.src, ".venv", "Scripts", "python.exe")} {
		if path != "" && exists(path) {
			return path, nil
		}
	}
	if err := needs("python3", "Python 3.11 or newer"); err != nil {
		return "", err
	}
	return exec.LookPath("python3")
}

func (l pythonLang) command(t *target) ([]string, error) {
	python, err := l.interpreter()
	if err != nil {
		return nil, err
	}
	check := exec.Command(python, "-c", "import picket")
	if out, err := check.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s cannot import the SDK: %s\nIn the plugin's folder: python3 -m venv .venv && .venv/bin/pip install \"$(picket sdk path --lang python)\"",
			python, lastLine(out))
	}
	return []string{python, t.path}, nil
}

// executable is the program behind the interpreter: what lies on the PATH may be a script that looks for one.
func (l pythonLang) executable(ctx context.Context) (string, error) {
	python, err := l.interpreter()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, python, "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s where it lies: %w", python, err)
	}
	return filepath.Abs(strings.TrimSpace(string(out)))
}

func lastLine(out []byte) []byte {
	out = bytes.TrimSpace(out)
	return out[bytes.LastIndexByte(out, '\n')+1:]
}

func (pythonLang) environ() []string { return []string{"PYTHONDONTWRITEBYTECODE=1"} }

func (l pythonLang) ownTests(p *plugin) (*exec.Cmd, error) {
	if !exists(filepath.Join(p.src, "tests")) {
		return nil, nil
	}
	python, err := l.interpreter()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
	if exec.Command(python, "-c", "import pytest").Run() != nil {
		cmd = exec.Command(python, "-m", "unittest", "discover", "-s", "tests", "-t", ".")
	}
	cmd.Dir, cmd.Env = p.src, append(os.Environ(), l.environ()...)
	return cmd, nil
}
