package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// maxExecutable bounds a program that an order runs.
const maxExecutable = 256 << 20

const defaultExecTime = time.Minute

// exec runs a program that this machine's owner named in policy.yaml, with exactly those arguments and exactly those bytes.
// There is no shell: an argument is never looked at.
func (a *Agent) exec(ctx context.Context, _ string, raw json.RawMessage, out io.Writer) error {
	var args struct {
		Path    string   `json:"path"`
		Args    []string `json:"args"`
		Timeout int      `json:"timeout"` // seconds
	}
	if err := understand(raw, &args); err != nil {
		return err
	}
	allowed, ok := a.ceiling.Exec(args.Path, args.Args)
	if !ok {
		return refusedf("the owner of this machine does not allow %q with these arguments: commands.exec in %s names what may run", args.Path, a.ceiling.Source())
	}
	program, err := a.verifiedCopy(args.Path, allowed.SHA256)
	if err != nil {
		return err
	}
	defer os.Remove(program)
	limit := defaultExecTime
	if args.Timeout > 0 {
		limit = min(time.Duration(args.Timeout)*time.Second, maxOrder)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args.Args...)
	cmd.Args[0] = args.Path
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/"}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, 2*time.Second
	inOwnGroup(cmd)
	err = cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s was stopped after %s", args.Path, limit)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", args.Path, err)
	}
	return nil
}

// copiesNamed is what the copies of programs are called, in the folder run.
const copiesNamed = "exec-*"

// sweepCopies removes what an agent that was killed has left of programs that it ran.
func sweepCopies(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "run", copiesNamed))
	for _, f := range left {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// verifiedCopy copies a program while it is hashed, so that what runs is what was hashed.
func (a *Agent) verifiedCopy(path, digest string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", refusedf("%s cannot be read: %v", path, plain(err))
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxExecutable {
		return "", refusedf("%s is not a regular file of at most %d bytes", path, maxExecutable)
	}
	dir := filepath.Join(a.cfg.Dir, "run")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	out, err := os.CreateTemp(dir, copiesNamed)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, maxExecutable))
	err = errors.Join(err, out.Chmod(0o500), out.Close())
	if got := hex.EncodeToString(sum.Sum(nil)); err == nil && got != digest {
		err = refusedf("%s is not the program that the owner of this machine allowed: its SHA-256 is %s", path, got)
	}
	if err != nil {
		os.Remove(out.Name())
		return "", err
	}
	return out.Name(), nil
}
