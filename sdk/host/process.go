package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pipeGrace is how long what a process wrote last may be read after its end. A child of the plugin that holds the pipe
// open must not hold up the host.
const pipeGrace = 500 * time.Millisecond

// process runs the command for go-plugin. It differs from go-plugin's own runner in what it does not trust: the end of
// the process is noticed even when its pipes stay open, stdin is empty, and the address must be the plugin's own socket.
type process struct {
	cmd            *exec.Cmd
	name, dir      string
	stdout, stderr *os.File // read ends
	childEnds      []*os.File
	lifeline       *os.File // nothing is ever written; the plugin exits when it is closed
	exited         chan struct{}
	root           func(pid int) string // see Config.SocketRoot; may be nil

	mu     sync.Mutex // guards killed and the start of cmd
	killed bool
}

func newProcess(cfg Config, env []string, dir string) (*process, error) {
	r := &process{cmd: cfg.Cmd, name: cfg.Name, dir: dir, root: cfg.SocketRoot, exited: make(chan struct{})}
	r.cmd.Stdin = nil
	r.cmd.Env = append(slices.Clone(r.cmd.Env), env...)
	if err := r.pipes(); err != nil {
		r.closeAll()
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	return r, nil
}

func (r *process) pipes() error {
	var out, errw *os.File
	var err error
	if r.stdout, out, err = os.Pipe(); err != nil {
		return err
	}
	r.childEnds = append(r.childEnds, out)
	if r.stderr, errw, err = os.Pipe(); err != nil {
		return err
	}
	r.childEnds = append(r.childEnds, errw)
	r.cmd.Stdout, r.cmd.Stderr = out, errw
	if onWindows || slices.ContainsFunc(r.cmd.Env, func(v string) bool { return strings.HasPrefix(v, LifelineEnv+"=") }) {
		return nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	r.childEnds, r.lifeline = append(r.childEnds, read), write
	r.cmd.ExtraFiles = append(r.cmd.ExtraFiles, read)
	r.cmd.Env = append(r.cmd.Env, LifelineEnv+"="+strconv.Itoa(2+len(r.cmd.ExtraFiles)))
	return nil
}

// Start starts the command. The thread that starts it is kept until the process ends when the kernel ties the two
// together (Pdeathsig).
func (r *process) Start(context.Context) error {
	started := make(chan error, 1)
	go func() {
		if tiedToThread(r.cmd) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		err := r.launch()
		closeFiles(r.childEnds)
		started <- err
		if err != nil {
			return
		}
		_ = r.cmd.Wait() // the state it leaves says all
		close(r.exited)
		time.Sleep(pipeGrace)
		r.closeAll()
	}()
	if err := <-started; err != nil {
		r.closeAll()
		return err
	}
	return nil
}

// launch starts the command unless it was killed before.
func (r *process) launch() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return errors.New("killed before it was started")
	}
	return r.cmd.Start()
}

func (r *process) closeAll() {
	closeFiles(r.childEnds)
	closeFiles([]*os.File{r.stdout, r.stderr, r.lifeline})
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

func (r *process) Wait(context.Context) error {
	<-r.exited
	if state := r.cmd.ProcessState; state != nil && !state.Success() {
		return errors.New(state.String())
	}
	return nil
}

func (r *process) Kill(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	if r.cmd.Process == nil {
		return nil
	}
	if err := r.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (r *process) Stdout() io.ReadCloser { return r.stdout }
func (r *process) Stderr() io.ReadCloser { return r.stderr }
func (r *process) Name() string          { return r.name }
func (r *process) ID() string            { return strconv.Itoa(r.pid()) }

// Diagnose adds to the error of a process that did not begin with the handshake.
func (r *process) Diagnose(context.Context) string {
	return "it may be built for another machine, or may not be a plugin"
}

func (r *process) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd.Process == nil {
		return 0
	}
	return r.cmd.Process.Pid
}

func (r *process) exitCode() int {
	select {
	case <-r.exited:
		return r.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// PluginToHost checks the address that the plugin reports: the host connects to nothing but a socket in the folder that
// it made for this process.
func (r *process) PluginToHost(network, address string) (string, string, error) {
	if onWindows {
		host, _, err := net.SplitHostPort(address)
		if err != nil || network != "tcp" || host != "127.0.0.1" {
			return "", "", fmt.Errorf("the plugin reports the address %s %q, which is not on the loopback", network, address)
		}
		return network, address, nil
	}
	if network != "unix" || filepath.Dir(address) != filepath.Clean(r.dir) {
		return "", "", fmt.Errorf("the plugin reports the address %s %q, which is not in its folder", network, address)
	}
	path := address
	if r.root != nil {
		path = r.root(r.pid()) + address
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return "", "", fmt.Errorf("the plugin reports the address %q, which is not a socket", address)
	}
	return network, path, nil
}

// HostToPlugin is not used: the host serves nothing.
func (r *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
