package plugincmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// requirements is the name under which an archive says what it needs.
const requirements = "requirements.txt"

// pythonLock is what is read of a lock file: pylock.toml calls the list packages, uv.lock and poetry.lock package.
type pythonLock struct {
	Packages, Package []struct {
		Name, Version string
		Source        map[string]any
	}
}

// pythonNeeds lists the packages that a plugin needs, the most exact list that its folder has: requirements.txt as it
// is, a lock file, or what pyproject.toml says, which may leave versions open. nil when it says nothing.
func pythonNeeds(src string) ([]byte, error) {
	if text, err := os.ReadFile(filepath.Join(src, requirements)); !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	for _, name := range []string{"pylock.toml", "uv.lock", "poetry.lock"} {
		var lock pythonLock
		if found, err := readTOML(filepath.Join(src, name), &lock); !found {
			continue
		} else if err != nil {
			return nil, err
		}
		var lines []string
		for _, p := range slices.Concat(lock.Packages, lock.Package) {
			_, virtual := p.Source["virtual"]
			_, editable := p.Source["editable"]
			if p.Name != "" && p.Version != "" && !virtual && !editable { // the plugin itself
				lines = append(lines, p.Name+"=="+p.Version)
			}
		}
		return sortedLines(lines), nil
	}
	var project struct {
		Project struct{ Dependencies []string }
	}
	if found, err := readTOML(filepath.Join(src, "pyproject.toml"), &project); !found || err != nil {
		return nil, err
	}
	return sortedLines(project.Project.Dependencies), nil
}

func readTOML(path string, into any) (found bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = toml.Unmarshal(text, into)
	}
	if err != nil {
		err = fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return true, err
}

func sortedLines(lines []string) []byte {
	slices.Sort(lines)
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	return []byte(b.String())
}
