package plugincmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/picketwatch/picket/cmd/picket/internal/sdkbundle"
)

// rustLang builds guests with cargo.
type rustLang struct{}

const (
	rustTarget = "wasm32-unknown-unknown"
	// rustSDK is where a plugin's Cargo.toml finds the SDK. Inside of the plugin's folder its path stays out of the bytes.
	rustSDK = ".picket/picket-sdk"
)

func (rustLang) name() string { return "rust" }

func (rustLang) compile(ctx context.Context, b *builder, t *target) error {
	if err := needs("cargo", "Rust's tools"); err != nil {
		return err
	}
	if err := placeRustSDK(t.plugin.src); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "cargo", "build", "--release", "--lib", "--target", rustTarget, "--message-format=json-render-diagnostics")
	cmd.Dir = t.plugin.src
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+filepath.Join(b.out, ".cargo", filepath.Base(t.plugin.dir)), "CARGO_INCREMENTAL=0")
	if home, err := cargoHome(); err == nil {
		// Paths of this machine stay out of the messages of crates.
		flags := []string{"--remap-path-prefix=" + t.plugin.src + "=/plugin", "--remap-path-prefix=" + home + "=/cargo"}
		if root, err := exec.Command("rustc", "--print", "sysroot").Output(); err == nil {
			flags = append(flags, "--remap-path-prefix="+strings.TrimSpace(string(root))+"=/rust")
		}
		cmd.Env = append(cmd.Env, "CARGO_ENCODED_RUSTFLAGS="+strings.Join(flags, "\x1f"))
	}
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w\n%s%s", err, bytes.TrimSpace(problem.Bytes()), rustHint(problem.String()))
	}
	built, err := guestOf(out.Bytes())
	if err != nil {
		return err
	}
	data, err := os.ReadFile(built)
	if err != nil {
		return err
	}
	origin, err := rustOrigin(ctx, cmd.Env, t.plugin.src)
	if err != nil {
		return fmt.Errorf("say what the guest was built from: %w", err)
	}
	return os.WriteFile(t.path, append(data, origin...), 0o644)
}

// rustHint says how to get the target, which is not part of every installation.
func rustHint(problem string) string {
	if !strings.Contains(problem, "can't find crate for `core`") && !strings.Contains(problem, "can't find crate for `std`") {
		return ""
	}
	return "\nThe target " + rustTarget + " is missing. With rustup: rustup target add " + rustTarget +
		". On Debian: apt-get install rustc libstd-rust-dev-wasm32."
}

// guestOf reads from cargo's messages where the guest is.
func guestOf(messages []byte) (string, error) {
	guest := ""
	lines := bufio.NewScanner(bytes.NewReader(messages))
	lines.Buffer(nil, len(messages)+1)
	for lines.Scan() {
		var m struct {
			Reason    string   `json:"reason"`
			Filenames []string `json:"filenames"`
		}
		if json.Unmarshal(lines.Bytes(), &m) != nil || m.Reason != "compiler-artifact" {
			continue
		}
		for _, f := range m.Filenames {
			if strings.HasSuffix(f, ".wasm") {
				guest = f // the last one: what everything else was built for
			}
		}
	}
	if guest == "" {
		return "", errors.New("cargo made no guest: Cargo.toml needs [lib] with crate-type = [\"cdylib\"]")
	}
	return guest, nil
}

func cargoHome() (string, error) {
	if home := os.Getenv("CARGO_HOME"); home != "" {
		return home, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".cargo"), err
}

// placeRustSDK puts the crate of this picket into the plugin's folder when its Cargo.toml asks for it there.
func placeRustSDK(src string) error {
	text, err := os.ReadFile(filepath.Join(src, "Cargo.toml"))
	if err != nil || !bytes.Contains(text, []byte(rustSDK)) {
		return err
	}
	b, err := sdkbundle.Open()
	if err != nil {
		return err
	}
	dir := filepath.Join(src, filepath.FromSlash(rustSDK))
	mark := filepath.Join(filepath.Dir(dir), "sdk-version")
	if have, err := os.ReadFile(mark); err == nil && string(have) == b.Version && exists(dir) {
		return nil
	}
	cache, err := b.Path()
	if err != nil {
		return err
	}
	crate, err := sdkbundle.Crate(cache)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Dir(dir), 0o755)); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(crate)); err != nil {
		return fmt.Errorf("copy the SDK into the plugin's folder: %w", err)
	}
	return os.WriteFile(mark, []byte(b.Version), 0o644)
}

func (rustLang) command(*target) ([]string, error) { return nil, nil }

func (rustLang) environ() []string { return nil }

func (rustLang) ownTests(p *plugin) (*exec.Cmd, error) {
	if err := needs("cargo", "Rust's tools"); err != nil {
		return nil, err
	}
	if err := placeRustSDK(p.src); err != nil {
		return nil, err
	}
	cmd := exec.Command("cargo", "test", "--quiet")
	cmd.Dir = p.src
	return cmd, nil
}
