// Package pysdk tests the Python SDK against the real host, and finds the interpreter for whoever runs plugins in Python.
package pysdk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Env names an interpreter that has the requirements already.
const Env = "PICKET_PYTHON"

// ErrNoPython means that this machine has no Python.
var ErrNoPython = errors.New("no python3 on this machine; install python3 and python3-venv, or set " + Env)

// requirements are the dependencies of the SDK, what its tests need, and what the example needs.
var requirements = []string{"cryptography>=42", "grpcio>=1.62", "numpy>=1.26", "protobuf>=4.25", "pytest>=8", "scikit-learn>=1.4",
	"skops>=0.11"}

// Interpreter returns a Python that has the SDK's dependencies: that of PICKET_PYTHON, or one of a virtual environment in
// the user's cache, which is made when it is missing.
func Interpreter(ctx context.Context) (string, error) {
	if path := os.Getenv(Env); path != "" {
		return path, nil
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", ErrNoPython
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache: %w", err)
	}
	version, err := exec.CommandContext(ctx, python, "-c", "import sys; print(sys.version, sys.prefix)").Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", python, err)
	}
	sum := sha256.Sum256([]byte(string(version) + strings.Join(requirements, "\n")))
	dir := filepath.Join(cache, "picket", "python-"+hex.EncodeToString(sum[:6]))
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	interpreter, done := filepath.Join(dir, "bin", "python3"), filepath.Join(dir, "done")
	if _, err := os.Stat(done); err == nil {
		return interpreter, nil
	}
	if err := run(ctx, python, "-m", "venv", "--clear", dir); err != nil {
		return "", err
	}
	install := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"}, requirements...)
	if err := run(ctx, interpreter, install...); err != nil {
		return "", err
	}
	return interpreter, os.WriteFile(done, nil, 0o644)
}

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// lock keeps two test programs from making the same environment.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
