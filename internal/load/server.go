//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is a picketd with its defaults, no plugin and an administrator's token. It can be killed and started again.
type server struct {
	program, data, address, token string

	mu  sync.Mutex // guards cmd
	cmd *exec.Cmd
	log *os.File
}

func newServer(ctx context.Context, data string) (*server, error) {
	program, err := filepath.Abs("bin/picketd")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, errors.New("bin/picketd is not there: run make build first")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0") // the same address after a kill
	if err != nil {
		return nil, err
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return nil, err
	}
	s := &server{program: program, data: data, address: address}
	if s.log, err = os.Create(data + ".log"); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	create := exec.CommandContext(ctx, filepath.Join(filepath.Dir(program), "picket"), "token", "create", "--data", data, "--role", "ADM")
	create.Stderr = os.Stderr
	secret, err := create.Output()
	if err != nil {
		return nil, fmt.Errorf("picket token create: %w", err)
	}
	s.token = strings.TrimSpace(string(secret))
	return s, nil
}

func (s *server) start(ctx context.Context) error {
	cmd := exec.Command(s.program, "--data", s.data, "--listen", s.address)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.cmd = cmd
	s.mu.Unlock()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		resp, err := http.Get("http://" + s.address + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("picketd does not become ready; its log is %s", s.log.Name())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	cmd := s.cmd
	s.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil && sig == syscall.SIGINT {
		return fmt.Errorf("picketd: %w; its log is %s", err, s.log.Name())
	}
	s.mu.Lock()
	s.cmd = nil
	s.mu.Unlock()
	return nil
}

func (s *server) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// call asks as the administrator; in and out may be nil.
func (s *server) call(ctx context.Context, client *http.Client, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode > 299 {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, data)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// usage is what the process has used and holds.
type usage struct {
	CPU         time.Duration
	Resident    int64
	Descriptors int
	at          time.Time
}

func usageOf(pid int) (usage, error) {
	u := usage{at: time.Now()}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, i := range []int{11, 12} { // utime, stime in hundredths of a second
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(n) * 10 * time.Millisecond
	}
	pages, err := strconv.ParseInt(fields[21], 10, 64)
	if err != nil {
		return u, err
	}
	u.Resident = pages * int64(os.Getpagesize())
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.Descriptors = len(open)
	return u, err
}
