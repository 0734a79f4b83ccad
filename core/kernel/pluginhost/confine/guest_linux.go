package confine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// Guest names a guest and where its machine code is kept.
type Guest struct {
	File    *os.File // the verified bytes
	Digest  string   // their SHA-256 in hexadecimal
	Cache   string   // the folder of all compiled guests
	Key     []byte   // vouches for what lies there
	Helpers string   // the folder with picket-launch and picket-wasm
	Ceiling *policy.Ceiling

	Most     Level // both as in Request
	AnyLevel bool
}

// compileLimits bound a compilation: what is compiled comes from elsewhere.
var compileLimits = Limits{Memory: 2 << 30, CPU: 2, OpenFiles: 64, Tasks: 64}

// CacheDir is the folder to give to picket-wasm as its cache. Code of another version, made another way or for another
// processor, or that another key vouches for, lies elsewhere: it would be of no use.
func (g Guest) CacheDir() string {
	key := sha256.Sum256(g.Key)
	return filepath.Join(g.Cache, config.Version+"-"+launch.GuestCode+"-"+hex.EncodeToString(key[:4])+"-"+processor())
}

// processor stands for what this machine's processor can do: code for one that can do more is not run, and would have to
// be made anew at each start.
var processor = sync.OnceValue(func() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "any"
	}
	return features(string(text))
})

// features reads the first processor's.
func features(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		name, list, _ := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); name == "flags" || name == "Features" { // as x86 and ARM call them
			sum := sha256.Sum256([]byte(strings.Join(strings.Fields(list), " ")))
			return hex.EncodeToString(sum[:4])
		}
	}
	return "any"
}

// Entry is the folder with the guest's machine code: what a process that runs it sees, and cannot write.
func (g Guest) Entry() string { return filepath.Join(g.CacheDir(), g.Digest) }

// Compile makes sure that the guest's machine code is in the cache. It is compiled in a confined process that can write
// one empty folder and nothing else; the host moves the result to its place. No process that runs a guest can write what
// another one executes.
func (g Guest) Compile(ctx context.Context) error {
	if len(g.Digest) != 2*sha256.Size {
		return fmt.Errorf("%q is no digest of a guest", g.Digest)
	}
	if _, err := os.Stat(g.Entry()); err == nil {
		return nil
	}
	if err := os.MkdirAll(g.CacheDir(), 0o700); err != nil {
		return err
	}
	work, err := os.MkdirTemp(g.CacheDir(), "compile-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := g.compileIn(ctx, work); err != nil {
		return fmt.Errorf("compile the guest: %w", err)
	}
	made := filepath.Join(work, g.Digest)
	if _, err := os.Stat(made); err != nil {
		return fmt.Errorf("compile the guest: its bytes do not have the digest %s", g.Digest)
	}
	if err := adopt(made); err != nil {
		return fmt.Errorf("keep the compiled guest: %w", err)
	}
	if err := os.Rename(made, g.Entry()); err != nil && !errors.Is(err, fs.ErrExist) { // another start was faster
		return fmt.Errorf("keep the compiled guest: %w", err)
	}
	return nil
}

func (g Guest) compileIn(ctx context.Context, work string) error {
	plan, err := New(Request{
		Instance: "compile " + g.Digest[:12], Kind: sdk.KindDetector, Runtime: registry.RuntimeProcess, Limits: compileLimits,
		Binds: []Bind{{Path: work, Write: true}}, Ceiling: g.Ceiling, Most: g.Most, AnyLevel: g.AnyLevel,
	})
	if err != nil {
		return err
	}
	defer plan.Close()
	if err := plan.Prepare(); err != nil {
		return err
	}
	if plan.UID() != 0 {
		if err := os.Chown(work, plan.UID(), plan.UID()); err != nil {
			return err
		}
	}
	key, give, err := os.Pipe()
	if err != nil {
		return err
	}
	defer key.Close()
	_, err = give.Write(g.Key) // a pipe takes that much at once
	if err := errors.Join(err, give.Close()); err != nil {
		return err
	}
	spec := launch.Spec{
		Parent: os.Getpid(), Keep: []int{3, 4}, Name: "picket-wasm compile", Program: filepath.Join(g.Helpers, "picket-wasm"),
		Args: []string{"compile", "--cache", work, "--cache-key-fd", "4", "--guest-fd", "3"},
	}
	cmd, err := plan.Command(filepath.Join(g.Helpers, "picket-launch"), spec, []*os.File{g.File, key})
	if err != nil {
		return err
	}
	cmd.Env = []string{}
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go watchFolder(ctx, end, work)
	runtime.LockOSThread() // the process dies with the thread that starts it
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = plan.Kill(); _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		words := bytes.TrimSpace(out.last)
		words = words[:min(len(words), 500)]
		if cmd.ProcessState.ExitCode() == launch.ExitNoGuest {
			return fmt.Errorf("%w: %s", ErrNoGuest, words[bytes.LastIndexByte(words, '\n')+1:])
		}
		return errors.Join(fmt.Errorf("%w: %s", err, words), context.Cause(ctx))
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ last []byte }

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p[max(0, len(p)-tailSize):]...)
	t.last = append(t.last[:0], t.last[max(0, len(t.last)-tailSize):]...)
	return len(p), nil
}

// What the compiler may leave in its folder: far more than the code of any guest that is taken.
const (
	workBytes = 1 << 30
	workFiles = 64
	workLook  = 100 * time.Millisecond
)

// watchFolder ends the compilation when it writes too much: the folder lies on the host's disk.
func watchFolder(ctx context.Context, end context.CancelCauseFunc, dir string) {
	tick := time.NewTicker(workLook)
	defer tick.Stop()
	for {
		if err := checkFolder(dir, workBytes, workFiles); err != nil {
			end(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkFolder counts until it is too much. What disappears meanwhile counts nothing.
func checkFolder(dir string, mostBytes int64, mostFiles int) error {
	size, files := int64(0), 0
	return filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is gone, or closed to us, and then the next look sees it
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		if files++; files > mostFiles || size > mostBytes {
			return fmt.Errorf("the compiler wrote more than %d files or %d MiB", mostFiles, mostBytes>>20)
		}
		return nil
	})
}

// adopt makes what the process left ours: readable by everybody who can come there, writable by nobody else. What is
// neither file nor folder goes.
func adopt(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		switch {
		case d.IsDir():
			mode = 0o755
		case !d.Type().IsRegular():
			return os.Remove(path)
		}
		if err := os.Lchown(path, os.Geteuid(), os.Getegid()); err != nil {
			return err
		}
		return os.Chmod(path, mode)
	})
}
