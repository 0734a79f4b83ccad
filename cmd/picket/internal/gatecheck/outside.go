package gatecheck

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
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/sdk"
)

// rebuild has this program build a release again, as `picket plugin rebuild` does.
func (o *Options) rebuild(ctx context.Context, r gates.Release) (digests []string, err error) {
	args := []string{"plugin", "rebuild"}
	if o.sources != "" {
		args = append(args, "--sources", o.sources)
	}
	if o.clone {
		args = append(args, "--clone")
	}
	if o.Own {
		args = append(args, "--own")
	}
	if o.buildCache != "" {
		args = append(args, "--build-cache", o.buildCache)
	}
	out, err := self(ctx, r, nil, args...)
	if err != nil {
		return nil, err
	}
	return digests, json.Unmarshal(out, &digests)
}

// test has this program run the conformance kit over a release of somebody else's, in namespaces of its own.
func test(ctx context.Context, r gates.Release) ([]byte, error) {
	out, err := self(ctx, r, apart, "plugin", "test-release")
	if len(out) > 0 && json.Valid(out) { // checks that fail are a report too
		return out, nil
	}
	return nil, err
}

// How long one run may take, and how much it may say.
const (
	patience  = 15 * time.Minute
	maxAnswer = 32 << 20
)

// executable is this program. Whoever runs a release must be able to come to it: tests put it where they can.
var executable = os.Executable

// self runs this program over a folder with the release in it and returns what it prints. What it complains about
// becomes the error.
func self(ctx context.Context, r gates.Release, prepare func(*exec.Cmd) error, args ...string) ([]byte, error) {
	program, err := executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "picket-release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := unpack(r, dir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, program, append(args, dir)...)
	cmd.Stdout, cmd.Stderr = &limited{w: &out, left: maxAnswer}, &limited{w: &complaint, left: maxAnswer}
	cmd.WaitDelay = time.Second
	if prepare != nil {
		if err := prepare(cmd); err != nil {
			return nil, err
		}
	}
	if err := cmd.Run(); err != nil {
		if out.Len() > 0 {
			return out.Bytes(), err
		}
		if why := lastLine(complaint.String()); why != "" {
			return nil, errors.New(why)
		}
		return nil, err
	}
	return out.Bytes(), nil
}

// unpack lays a release out as `picket plugin build` does.
func unpack(r gates.Release, dir string) error {
	data, err := r.Descriptor.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "release.json"), data, 0o644); err != nil {
		return err
	}
	if r.Plan != nil {
		testdata := filepath.Join(dir, "testdata")
		if err := errors.Join(os.Mkdir(testdata, 0o755), os.WriteFile(filepath.Join(testdata, "kit.json"), r.Plan, 0o644)); err != nil {
			return err
		}
	}
	for id, path := range r.Models {
		if path == "" { // a program, which is not opened
			continue
		}
		if !sdk.ValidID(id) {
			return fmt.Errorf("%q is no id", id)
		}
		to := filepath.Join(dir, "models", filepath.FromSlash(id))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := copyProgram(to, path); err != nil {
			return err
		}
	}
	for digest, path := range r.Files {
		if !registry.ValidDigest(digest) {
			return fmt.Errorf("%q is no digest", digest)
		}
		if err := copyProgram(filepath.Join(dir, digest), path); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o755) // whoever runs it may be another user
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// limited drops what is said beyond a bound: who talks without end is told nothing by an error.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimPrefix(s[strings.LastIndexByte(s, '\n')+1:], "Error: ")
}
