package traffic

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// worker is one running picket-traffic: the capture is its descriptor 3, its messages come over descriptor 4.
type worker struct {
	out    *os.File
	stderr *tail
	exit   chan error
	cmd    *exec.Cmd // once it runs
}

// Command is picket-traffic with the given arguments, from the folder that holds it and picket-launch: with nothing of our
// environment, no descriptor but its two, bounded memory, and no way to write a file. What starts it confines it too.
func Command(programs string, args []string) *exec.Cmd {
	spec := launch.Spec{
		Parent: os.Getpid(), Keep: []int{3, 4}, Name: "picket-traffic",
		Limits:  []launch.Limit{{Resource: launch.OpenFiles, Value: 64}, {Resource: launch.AddressSpace, Value: 8 << 30}, {Resource: launch.FileSize, Value: 0}},
		Program: filepath.Join(programs, "picket-traffic"),
		Args:    append([]string{"--capture-fd", "3", "--out-fd", "4"}, args...),
	}
	cmd := exec.Command(filepath.Join(programs, "picket-launch"), spec.CommandLine()...)
	cmd.Env = []string{"GOMEMLIMIT=1GiB"}
	return cmd
}

// startWorker starts cmd and kills it when ctx ends. The descriptors of more come behind the two.
func startWorker(ctx context.Context, cmd *exec.Cmd, capture *os.File, more ...*os.File) (*worker, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	widen(out)
	w := &worker{out: out, stderr: &tail{}, exit: make(chan error, 1)}
	cmd, release, err := confined(cmd, append([]*os.File{capture, in}, more...))
	if err != nil {
		out.Close()
		in.Close()
		return nil, err
	}
	cmd.Stderr = w.stderr
	cmd.Dir = "/"
	started := make(chan error, 1)
	go func() {
		// The parent-death signal goes off when the thread that started the child ends, so this one must not end before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		in.Close() // the child has its copy; ours would hide its end
		started <- err
		defer release()
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { kill(cmd.Process) })
		defer stop()
		w.exit <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		out.Close()
		return nil, err
	}
	w.cmd = cmd
	return w, nil
}

// wait returns how the process ended. Closing our end first frees a worker that is blocked on writing.
func (w *worker) wait() error {
	w.out.Close()
	return <-w.exit
}

// tail keeps the first few hundred bytes a worker writes to stderr.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 4096 - t.buf.Len(); room > 0 {
		t.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
