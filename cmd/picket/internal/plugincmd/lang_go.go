package plugincmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/picketwatch/picket/cmd/picket/internal/sdkbundle"
	"github.com/picketwatch/picket/registry"
)

// goLang builds plugins with the Go tools.
type goLang struct{}

func (goLang) name() string { return "go" }

// goTags leave out what gRPC has for a page that no plugin serves: its templates call methods by name, for which the linker
// would keep a fifth of the program that nothing else uses, and a program lies in memory as a whole.
const goTags = "-tags=grpcnotrace"

func (goLang) compile(ctx context.Context, b *builder, t *target) error {
	args := []string{"build", goTags, "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", t.path}
	if b.debug { // with paths, so that the debugger finds the source
		args = []string{"build", goTags, "-trimpath=false", "-buildvcs=false", "-gcflags=all=-N -l", "-o", t.path}
	}
	if t.Runtime == registry.RuntimeWASM {
		args = append(args, "-buildmode=c-shared")
	}
	main := "./cmd"
	if t.packDir(b) != "" {
		main = t.plugin.manifest.Pack // Go refuses one outside of the plugin's module or workspace
	}
	cmd, err := goCommand(ctx, b.env, t.plugin.src, append(args, main)...)
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
	return goCommand(context.Background(), nil, p.src, "test", "./...")
}

// goCommand runs the Go tools so that they find the SDK that this program carries. env is all that they see; nil: what this
// program does.
func goCommand(ctx context.Context, env []string, dir string, args ...string) (*exec.Cmd, error) {
	if err := needs("go", "the Go tools (1.26 or newer)"); err != nil {
		return nil, err
	}
	if env == nil {
		env = os.Environ()
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, slices.Clip(env)
	if outsideWorkspace(ctx, dir) {
		cmd.Env = append(cmd.Env, "GOWORK=off")
	}
	b, err := sdkbundle.Open()
	if errors.Is(err, sdkbundle.ErrNone) {
		return cmd, nil // the module may know another way, such as a replace
	}
	if err != nil {
		return nil, err
	}
	settings, err := b.GoEnv(env)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, settings...)
	return cmd, nil
}

// outsideWorkspace reports whether a go.work further up knows nothing of the module in dir: Go then refuses to build it,
// although it needs nothing of that workspace.
func outsideWorkspace(ctx context.Context, dir string) bool {
	ask := func(args ...string) []byte {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return nil // what is wrong shows when Go builds
		}
		return out
	}
	var env struct{ GOWORK, GOMOD string }
	if json.Unmarshal(ask("env", "-json", "GOWORK", "GOMOD"), &env) != nil ||
		env.GOWORK == "" || env.GOWORK == "off" || env.GOMOD == "" || env.GOMOD == os.DevNull {
		return false
	}
	var work struct{ Use []struct{ DiskPath string } }
	if json.Unmarshal(ask("work", "edit", "-json"), &work) != nil {
		return false
	}
	for _, use := range work.Use {
		path := use.DiskPath
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(env.GOWORK), path)
		}
		if sameFolder(path, filepath.Dir(env.GOMOD)) {
			return false
		}
	}
	return true
}

func sameFolder(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
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
	drop := ""
	if bytes.Contains(out, []byte("replacement directory")) { // a copy of something that had the SDK beside it
		drop = " -dropreplace=" + sdkbundle.GoModule
	}
	// Not `go get`: that looks up the version first which stands there now, and which nobody may have.
	return "\nThis picket carries the SDK " + b.GoVersion + ". To use it: eval \"$(picket sdk env)\" && go mod edit" + drop +
		" -require=" + sdkbundle.GoModule + "@" + b.GoVersion + " && go mod tidy"
}
