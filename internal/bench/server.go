package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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

func startServer(ctx context.Context) (*server, error) {
	program, err := filepath.Abs("bin/picketd")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, errNotBuilt
	}
	data, err := os.MkdirTemp("", "picket-bench-")
	if err != nil {
		return nil, err
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
