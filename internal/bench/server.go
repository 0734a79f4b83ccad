package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var signIn = regexp.MustCompile(`(http://[0-9.:]+)/signin#token=([A-Za-z0-9_.-]+)`)

// server is a picketd as `make run` starts it, and a client that is signed in.
type server struct {
	*http.Client
	base string
	csrf string // what a changing request must carry
	cmd  *exec.Cmd
	data string
}

// startServer starts one with a policy, when there is one to be kept to.
func startServer(ctx context.Context, policy ...string) (*server, error) {
	program, err := filepath.Abs("bin/picketd")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, errNotBuilt
	}
	if err := forgetPages(filepath.Dir(program)); err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp("", "picket-bench-")
	if err != nil {
		return nil, err
	}
	for _, text := range policy {
		if err := os.WriteFile(filepath.Join(data, "policy.yaml"), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	s := &server{data: data, cmd: exec.CommandContext(ctx, program, "--dev", "--data", data, "--listen", "127.0.0.1:0")}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGINT) }
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = s.cmd.Stdout
	if err := s.cmd.Start(); err != nil {
		_ = os.RemoveAll(data)
		return nil, err
	}
	if err := s.signIn(out); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// forgetPages has the system forget what it holds of the programs in a folder. A linker leaves them in pages of 2 MB, which are
// mapped whole and count as memory of who uses a part of one; where a program was installed, or the machine started anew, they
// lie in small ones.
func forgetPages(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		err = errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

// signIn follows the link that the server prints.
func (s *server) signIn(out io.Reader) error {
	base, token, err := awaitLink(out)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	s.base, s.Client = base, &http.Client{Jar: jar, Timeout: 30 * time.Second}
	resp, err := s.Post(base+"/api/v1/signin", "application/json", bytes.NewBufferString(`{"token":"`+token+`"}`))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var me struct {
		CSRF string `json:"csrf"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&me); err != nil || me.CSRF == "" {
		return fmt.Errorf("sign in: %s: %w", resp.Status, err)
	}
	s.csrf = me.CSRF
	return nil
}

func awaitLink(out io.Reader) (base, token string, err error) {
	for s := bufio.NewScanner(out); s.Scan(); {
		if m := signIn.FindStringSubmatch(s.Text()); m != nil {
			return m[1], m[2], nil
		}
	}
	return "", "", fmt.Errorf("picketd ended before it printed a sign-in link")
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.data)
	_ = os.RemoveAll(s.data + "-keys") // the key of the secrets at rest lies beside the data
}
