package plugincmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/picketwatch/picket/cmd/picket/internal/sdkbundle"
	"github.com/picketwatch/picket/registry"
)

// goLang builds plugins with the Go tools.
type goLang struct{}

func (goLang) name() string { return "go" }

func (goLang) compile(ctx context.Context, b *builder, t *target) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", t.path}
	if b.debug { // with paths, so that the debugger finds the source
		args = []string{"build", "-trimpath=false", "-buildvcs=false", "-gcflags=all=-N -l", "-o", t.path}
	}
	if t.Runtime == registry.RuntimeWASM {
		args = append(args, "-buildmode=c-shared")
	}
	cmd, err := goCommand(ctx, t.plugin.src, append(args, "./cmd")...)
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, "GOOS="+t.OS, "GOARCH="+t.Arch, "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s%s", err, bytes.TrimSpace(out), goHint(out))
	}
	return nil
}

func (goLang) command(t *target) ([]string, error) { return []string{t.path}, nil }

func (goLang) environ() []string { return nil }

func (goLang) ownTests(p *plugin) (*exec.Cmd, error) {
	return goCommand(context.Background(), p.src, "test", "./...")
}

// goCommand runs the Go tools so that they find the SDK that this program carries.
func goCommand(ctx context.Context, dir string, args ...string) (*exec.Cmd, error) {
	if err := needs("go", "the Go tools (1.26 or newer)"); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, os.Environ()
	b, err := sdkbundle.Open()
	if errors.Is(err, sdkbundle.ErrNone) {
		return cmd, nil // the module may know another way, such as a replace
	}
	if err != nil {
		return nil, err
	}
	settings, err := b.GoEnv(os.Environ())
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, settings...)
	return cmd, nil
}

// goHint says what to do about an SDK that was not found.
func goHint(out []byte) string {
	if !bytes.Contains(out, []byte(sdkbundle.GoModule+"@")) && !bytes.Contains(out, []byte("missing go.sum entry")) {
		return ""
	}
	b, err := sdkbundle.Open()
	if err != nil {
		return "\n" + err.Error()
	}
	return "\nThis picket carries the SDK " + b.GoVersion + ". To use it: eval \"$(picket sdk env)\" && go get " +
		sdkbundle.GoModule + "@" + b.GoVersion + " && go mod tidy"
}
