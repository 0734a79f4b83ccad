package core

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a program that this server keeps running beside itself.
type child struct {
	path  string
	args  func(ctx context.Context) (args []string, stdin string, err error) // asked before every start
	log   *slog.Logger
	ended chan struct{} // closed when it will not be started again

	mu   sync.Mutex // guards cmd
	cmd  *exec.Cmd  // nil while none runs
	done chan struct{}
}

func newChild(path string, args func(context.Context) ([]string, string, error), log *slog.Logger) *child {
	return &child{path: path, args: args, log: log, ended: make(chan struct{})}
}

const longestPause = 30 * time.Second

// run starts the child, and again when it ends, until ctx does. The last one is left to stop.
func (c *child) run(ctx context.Context) {
	defer close(c.ended)
	pause := time.Second
	for ctx.Err() == nil {
		began := time.Now()
		done, err := c.start(ctx)
		if err != nil {
			c.log.Error("start the local agent", "error", err)
		} else {
			select {
			case <-done:
			case <-ctx.Done():
				return
			}
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// start runs the child in a process group of its own, so that Ctrl-C in a terminal reaches it through us and in order,
// and from a thread that lives as long as it does: the kernel kills the child when that thread ends, so no agent is
// left behind however this process dies.
func (c *child) start(ctx context.Context) (<-chan struct{}, error) {
	args, stdin, err := c.args(ctx)
	if err != nil {
		return nil, err
	}
	// Whatever ends this process closes the pipe too; an agent that outlived the signal would notice.
	lifeline, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(c.path, append(args, "--lifeline-fd", "3")...)
	cmd.ExtraFiles = []*os.File{lifeline}
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = childEnv() // nothing that this process was told
	output := &lines{log: c.log}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer hold.Close()
		err := cmd.Start()
		lifeline.Close()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		c.mu.Lock()
		stopping := c.cmd == nil
		c.cmd = nil
		c.mu.Unlock()
		close(done)
		if !stopping {
			c.log.Warn("the local agent ended", "error", err, "last words", output.last())
		}
	}()
	c.mu.Lock()
	c.cmd, c.done = cmd, done
	c.mu.Unlock()
	if err := <-started; err != nil {
		c.mu.Lock()
		c.cmd = nil
		c.mu.Unlock()
		return nil, err
	}
	return done, nil
}

// childEnv is what a program of ours needs of the environment.
func childEnv() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"TZ", "TMPDIR"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// stop ends the child after run has returned: kindly, and after grace by force.
func (c *child) stop(grace time.Duration) {
	<-c.ended
	c.mu.Lock()
	cmd, done := c.cmd, c.done
	c.cmd = nil
	c.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(grace):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}
}

// lines passes what the child writes to the log and remembers the end of it.
type lines struct {
	log *slog.Logger

	mu   sync.Mutex // guards both
	rest []byte
	tail []string
}

const (
	maxLine = 2048
	maxTail = 5
)

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 && len(l.rest) <= maxLine {
			return len(p), nil
		}
		if i < 0 {
			i = maxLine
		}
		l.line(string(l.rest[:i]))
		l.rest = l.rest[min(i+1, len(l.rest)):]
	}
}

func (l *lines) line(text string) {
	if text = strings.TrimSpace(text); text == "" {
		return
	}
	l.log.Debug("local agent", "line", text)
	if l.tail = append(l.tail, text); len(l.tail) > maxTail {
		l.tail = l.tail[1:]
	}
}

func (l *lines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.tail, " | ")
}
