package plugincmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/picketwatch/picket/registry"
)

// language knows how the sources of a plugin become artifacts.
type language interface {
	name() string
	// compile makes the artifact t at t.path. Same sources, same bytes.
	compile(ctx context.Context, b *builder, t *target) error
	// command runs a process artifact here; arguments may follow.
	command(t *target) ([]string, error)
	// environ is what a process artifact needs besides an empty environment.
	environ() []string
	// ownTests is the command of the author's own tests, nil when there are none.
	ownTests(p *plugin) (*exec.Cmd, error)
}

// languageOf tells the language by the file that each has at its root.
func languageOf(src string, m *registry.Manifest) (language, error) {
	switch {
	case m.Kind == registry.KindAgent:
		return agentLang{}, nil
	case m.IsFile():
		return fileLang{}, nil
	case exists(filepath.Join(src, "Cargo.toml")):
		if len(m.Runtimes) != 1 || m.Runtimes[0] != registry.RuntimeWASM {
			return nil, errors.New("plugin.yaml: a plugin in Rust is a guest: say `runtimes: [wasm]`")
		}
		return rustLang{}, nil
	case exists(filepath.Join(src, "pyproject.toml")):
		if len(m.Runtimes) != 1 || m.Runtimes[0] != registry.RuntimeProcess || m.Interpreter != registry.InterpreterPython {
			return nil, errors.New("plugin.yaml: a plugin in Python needs `runtimes: [process]` and `interpreter: python3`")
		}
		return pythonLang{src}, nil
	case m.Interpreter != "":
		return nil, errors.New("plugin.yaml names an interpreter, but there is no pyproject.toml")
	}
	return goLang{}, nil // its go.mod may lie further up
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// helper returns a program that is installed beside this one, or on the PATH.
func helper(name string) (string, error) {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), name); exists(beside) {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is needed to run a guest, and lies neither beside picket nor on the PATH", name)
	}
	return path, nil
}

// needs says what is missing when the tools of a language are not there.
func needs(program, what string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("this plugin needs %s, and there is no %s on the PATH", what, program)
	}
	return nil
}
