package traffic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// Bounds of the memory in which a live capture keeps its newest packets.
const (
	DefaultKeep = 64 << 20
	MinKeep     = 1 << 20
	MaxKeep     = 1 << 30
	keepBlock   = 256 << 10 // of which the memory is a multiple, as the worker divides it
)

// CheckKeep reports what is wrong with so much memory for the newest packets; 0 keeps none.
func CheckKeep(n int64) error {
	if n != 0 && (n < MinKeep || n > MaxKeep) {
		return fmt.Errorf("keep %d bytes of packets: none, or between %d and %d", n, MinKeep, MaxKeep)
	}
	return nil
}

// keptCarve bounds the search for packets of one finding.
const keptCarve = 30 * time.Second

// ErrGone says that the packets of a run are kept no more.
var ErrGone = errors.New("the packets of this run are gone")

// keptRun is the memory where the worker of a run keeps the newest packets. The agent maps none of it.
type keptRun struct {
	run  string
	file *os.File
}

// memories are those of the last runs: a detector says what it holds when its worker is gone already.
type memories struct {
	mu   sync.Mutex // guards list
	list []keptRun
}

const memoriesKept = 2

// begin makes the memory of a run, and forgets that of the one before the last.
func (m *memories) begin(run string, size int64) (*os.File, error) {
	f, err := newMemory(size &^ (keepBlock - 1))
	if err != nil {
		return nil, fmt.Errorf("make room for the newest packets: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, keptRun{run, f})
	for len(m.list) > memoriesKept {
		m.list[0].file.Close()
		m.list = slices.Delete(m.list, 0, 1)
	}
	return f, nil
}

// open opens the memory of a run once more, to be read.
func (m *memories) open(run string) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.list {
		if x.run == run {
			return readOnly(x.file)
		}
	}
	return nil, ErrGone
}

func (m *memories) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.list {
		x.file.Close()
	}
	m.list = nil
}

// Keeps reports whether packets are kept at all.
func (l *Live) Keeps() bool { return l.cfg.Keep > 0 }

// Forget gives the memory of the newest packets back. Nobody must ask for packets any more.
func (l *Live) Forget() { l.memories.close() }

// Kept has a confined worker take out what a finding of a run rests on, as far as it is kept still: the packets as a pcap file, which is nil
// when there are none. Both are from a process that parses packets. ErrGone when nothing is left of the run.
func (l *Live) Kept(ctx context.Context, run string, e carved.Evidence) (k carved.Kept, file []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, keptCarve)
	defer cancel()
	mem, err := l.memories.open(run)
	if err != nil {
		return k, nil, err
	}
	defer mem.Close()
	w, err := startWorker(ctx, keptCommand(l.cfg.Programs, e), mem)
	if err != nil {
		return k, nil, fmt.Errorf("start the traffic worker: %w", err)
	}
	k, file, err = readKept(newMessages(w.out, keptCarve))
	cancel()
	exit := w.wait()
	if err != nil {
		return carved.Kept{}, nil, verdict(err, exit, Capture{}, w.stderr.String())
	}
	return k, file, nil
}

func readKept(in *messages) (k carved.Kept, _ []byte, err error) {
	var file bytes.Buffer
	for n := 0; ; {
		m, err := in.next()
		if err != nil {
			return k, nil, err
		}
		switch {
		case m.kind == msgPiece && n == 0:
			n++
			if err := decode(m.body, &k); err != nil {
				return k, nil, err
			}
		case m.kind == msgPiece:
			if file.Len()+len(m.body) > carved.MaxKeptBytes {
				return k, nil, fmt.Errorf("the traffic worker sent more than the %d bytes of packets allowed", carved.MaxKeptBytes)
			}
			file.Write(m.body)
		case m.kind == msgError:
			return k, nil, decodeError(m.body)
		case m.kind == msgDone:
			return k, file.Bytes(), nil
		default:
			return k, nil, fmt.Errorf("the traffic worker sent a message of kind %d, which was not asked for", m.kind)
		}
	}
}

// keptCommand is picket-traffic for the memory of a run, 3, and its messages, 4.
func keptCommand(programs string, e carved.Evidence) *exec.Cmd {
	args := []string{"--keep-fd", "3", "--out-fd", "4"}
	for flag, list := range map[string][]uint64{"--kept-packets": e.Numbers, "--kept-flows": e.Flows} {
		if len(list) > 0 {
			args = append(args, flag, numberList(list))
		}
	}
	spec := launch.Spec{
		Parent: os.Getpid(), Keep: []int{3, 4}, Name: "picket-traffic",
		Limits:  []launch.Limit{{Resource: launch.OpenFiles, Value: 64}, {Resource: launch.AddressSpace, Value: 8 << 30}, {Resource: launch.FileSize, Value: 0}},
		Program: filepath.Join(programs, "picket-traffic"),
		Args:    args,
	}
	cmd := exec.Command(filepath.Join(programs, "picket-launch"), spec.CommandLine()...)
	cmd.Env = []string{"GOMEMLIMIT=256MiB"}
	return cmd
}

func numberList(list []uint64) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.FormatUint(n, 10)
	}
	return strings.Join(words, ",")
}
