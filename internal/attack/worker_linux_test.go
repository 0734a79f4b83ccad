package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// The traffic worker parses what anybody sent. Here it has a hole in a parser (villain/hole_linux.go), and a capture comes
// that knows of it: the code that it brings runs in the worker, which the service started as it starts every worker.

// holeRuntime is the column of these attacks among the results.
const holeRuntime = "worker"

// hole is an attack by way of a packet.
type hole struct {
	attack  string
	args    map[string]string // beside those of the scene
	rootful bool              // with nothing around it only root can do it
	hears   bool              // the scene hears of it when it succeeds
	// lets are means that succeed in a confined worker too, because they do no harm there. Each says why.
	lets map[string]string
	// ends says that the attack ends the worker, where it is confined.
	ends bool
	then func(t *testing.T, s *scene, b *workbench)
}

func (h hole) run(t *testing.T) {
	t.Helper()
	levels(t, strings.TrimPrefix(nameOf(t), "Worker"), holeRuntime, func(t *testing.T, level confine.Level) {
		t.Helper()
		if !h.rootful || os.Geteuid() == 0 {
			h.naked(t)
		}
		s := newScene(t)
		victim := s.victim()
		b := newWorkbench(t, traffic.Command(filepath.Join(programs, "worker"), nil))
		told, job := b.attack(t, h.attack, s.with(victim, b.files(t, h.args)))
		if h.ends {
			if job.State != traffic.Failed || job.ErrorAfter != 0 {
				t.Errorf("the job is %s: %s", job.State, job.Error)
			}
		} else if job.State != traffic.Done || len(told) == 0 {
			t.Fatalf("the job is %s (%s), %d means were tried", job.State, job.Error, len(told))
		}
		for _, x := range told {
			if x.OK && h.lets[x.Means] == "" {
				t.Errorf("level %s does not stop %q: %s", level, x.Means, x.Value)
			}
			t.Logf("%s: %v %s %s", x.Means, x.OK, x.Value, x.Error)
		}
		if n := s.heard.Load(); n > 0 {
			t.Errorf("%d connections or datagrams came", n)
		}
		if !alive(victim) {
			t.Error("another process died of it")
		}
		b.whole(t)
		if h.then != nil {
			h.then(t, s, b)
		}
	})
}

// naked shows that the same packet does harm to a worker with nothing around it.
func (h hole) naked(t *testing.T) {
	t.Helper()
	s := newScene(t)
	b := newWorkbench(t, exec.Command(filepath.Join(programs, "worker", "picket-traffic"), "--capture-fd", "3", "--out-fd", "4"))
	args := s.with(s.victim(), b.files(t, h.args))
	args["naked"] = "yes"
	told, job := b.attack(t, h.attack, args)
	if h.ends {
		if job.State != traffic.Done {
			t.Fatalf("with nothing around it the attack ends the worker too, so the test shows nothing: %s", job.Error)
		}
	}
	for _, x := range told {
		if x.OK && h.lets[x.Means] == "" && (!h.hears || s.heard.Load() > 0) {
			return
		}
	}
	t.Fatalf("with nothing around it the attack fails too, so the test shows nothing: %s %+v", job.Error, told)
}

// workbench is the traffic service of a server, with what a server keeps beside it.
type workbench struct {
	*traffic.Service
	folder string
	mu     sync.Mutex // guards what follows
	rows   map[string]traffic.Capture
	told   [][]byte
}

func newWorkbench(t *testing.T, worker *exec.Cmd) *workbench {
	t.Helper()
	b := &workbench{folder: t.TempDir(), rows: map[string]traffic.Capture{}}
	command := func([]string) *exec.Cmd {
		again := *worker
		return &again
	}
	var err error
	b.Service, err = traffic.New(t.Context(), traffic.Config{
		Dir: filepath.Join(b.folder, "captures"), Store: b, Now: time.Now, Changed: func(traffic.Capture) {}, Stall: time.Minute,
		Worker:  func(traffic.Wanted) *exec.Cmd { return command(nil) },
		Carver:  command,
		Analyse: func(context.Context, traffic.Capture) traffic.Analysis { return b },
		Deliver: func(context.Context, traffic.Capture, []sdk.Finding) error { return nil },
	})
	must(t, err)
	return b
}

// files writes what a server keeps, and tells the attack where it lies.
func (b *workbench) files(t *testing.T, more map[string]string) map[string]string {
	t.Helper()
	args := map[string]string{}
	var list []string
	for name, text := range map[string]string{"control.db": "rows", "keys/command.key": "a key", "secret.key": "another key"} {
		path := filepath.Join(b.folder, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755)) //nolint:gosec // so that only the confinement is in the way
		must(t, os.WriteFile(path, []byte(text), 0o600))
		must(t, os.Chmod(path, 0o666)) //nolint:gosec // as above
		list = append(list, path)
	}
	args["files"] = strings.Join(list, ":")
	for k, v := range more {
		args[k] = v
	}
	return args
}

// attack hands a capture in whose only packet brings the attack, and works until its job has ended.
func (b *workbench) attack(t *testing.T, attack string, args map[string]string) ([]attempt, traffic.Capture) {
	t.Helper()
	c, err := b.Receive(t.Context(), "default", "evil.pcap", "user:eve", bytes.NewReader(evilCapture(t, attack, args)))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		b.mu.Lock()
		c = b.rows[c.ID]
		b.mu.Unlock()
		if c.State == traffic.Done || c.State == traffic.Failed {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the job does not end: %+v", c)
		}
	}
	cancel()
	<-done
	var told []attempt
	for _, text := range b.told {
		var some []attempt
		must(t, json.Unmarshal(text, &some))
		told = append(told, some...)
	}
	return told, c
}

// whole checks that what the server keeps is as it was: its files, and the capture itself.
func (b *workbench) whole(t *testing.T) {
	t.Helper()
	for _, c := range b.rows {
		data, err := os.ReadFile(filepath.Join(b.folder, "captures", c.SHA256))
		if err != nil || int64(len(data)) != c.Size || binary.LittleEndian.Uint32(data) != 0xa1b2c3d4 {
			t.Errorf("the stored capture was changed: %d bytes, %v", len(data), err)
		}
	}
}

// evilCapture is one UDP packet that knows of the hole.
func evilCapture(t *testing.T, attack string, args map[string]string) []byte {
	t.Helper()
	payload := append([]byte("hole:"), make([]byte, 59)...)
	payload = binary.LittleEndian.AppendUint64(payload, 1) // which code runs next
	payload = append(payload, encode(t, map[string]any{"Attack": attack, "Args": args})...)
	packet := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, make([]byte, 8)...)
	packet = append(packet, payload...)
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	binary.BigEndian.PutUint16(packet[20:], 9)
	binary.BigEndian.PutUint16(packet[22:], 9)
	binary.BigEndian.PutUint16(packet[24:], uint16(len(packet)-20))
	file := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0)
	file = append(file, make([]byte, 8)...) // its time
	file = binary.LittleEndian.AppendUint32(file, uint32(len(packet)))
	return append(binary.LittleEndian.AppendUint32(file, uint32(len(packet))), packet...)
}

// The workbench is the service's store and its only analysis: frames are what the attack tells.

func (b *workbench) AddCapture(ctx context.Context, c traffic.Capture) error {
	return b.SaveCapture(ctx, c)
}

func (b *workbench) SaveCapture(_ context.Context, c traffic.Capture) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows[c.ID] = c
	return nil
}

func (b *workbench) DeleteCapture(context.Context, traffic.Capture) (bool, error) { return false, nil }
func (b *workbench) Room(context.Context, string, int64) error                    { return nil }

func (b *workbench) Unfinished(context.Context) ([]traffic.Capture, error) { return nil, nil }

func (b *workbench) Wanted() traffic.Wanted { return traffic.Wanted{} }

func (b *workbench) Frame(_ context.Context, flows records.Parcel) error {
	b.told = append(b.told, flows.Frame)
	return nil
}

func (b *workbench) Facts(context.Context, string, records.Parcel) error { return nil }

func (b *workbench) Packets(context.Context, int, []byte) error { return nil }

func (b *workbench) Close(context.Context, bool) traffic.Outcome { return traffic.Outcome{} }

func folderIsWhole(t *testing.T, s *scene, _ *workbench) {
	t.Helper()
	sceneIsWhole(&arena{t: t}, s, nil)
}

func TestAttackWorkerServer(t *testing.T)     { hole{attack: "server"}.run(t) }
func TestAttackWorkerReadFile(t *testing.T)   { hole{attack: "read-file"}.run(t) }
func TestAttackWorkerWriteFile(t *testing.T)  { hole{attack: "write-file", then: folderIsWhole}.run(t) }
func TestAttackWorkerTCP(t *testing.T)        { hole{attack: "tcp", hears: true}.run(t) }
func TestAttackWorkerUDP(t *testing.T)        { hole{attack: "udp", hears: true}.run(t) }
func TestAttackWorkerUnixSocket(t *testing.T) { hole{attack: "unix-socket", hears: true}.run(t) }
func TestAttackWorkerRawSocket(t *testing.T)  { hole{attack: "raw"}.run(t) }
func TestAttackWorkerPtrace(t *testing.T)     { hole{attack: "ptrace"}.run(t) }
func TestAttackWorkerReadMemory(t *testing.T) { hole{attack: "memory"}.run(t) }
func TestAttackWorkerEnvironment(t *testing.T) {
	hole{attack: "environment"}.run(t)
}
func TestAttackWorkerExec(t *testing.T)       { hole{attack: "exec"}.run(t) }
func TestAttackWorkerFork(t *testing.T)       { hole{attack: "fork"}.run(t) }
func TestAttackWorkerNamespaces(t *testing.T) { hole{attack: "namespaces", rootful: true}.run(t) }
func TestAttackWorkerOwnFilter(t *testing.T)  { hole{attack: "own-filter"}.run(t) }
func TestAttackWorkerDescriptors(t *testing.T) {
	hole{attack: "descriptors", args: map[string]string{"n": "3000"}}.run(t)
}
func TestAttackWorkerInherited(t *testing.T) {
	hole{attack: "inherited", lets: map[string]string{"read what others wrote to the messages": "nobody but itself writes there"}}.run(t)
}
func TestAttackWorkerThreads(t *testing.T) {
	hole{attack: "threads", args: map[string]string{"n": "2000"}, ends: true}.run(t)
}
func TestAttackWorkerSignal(t *testing.T) {
	hole{attack: "signal", args: map[string]string{"signal": "9"}, lets: map[string]string{"everybody": "alone in its process namespace it finds nobody"}}.run(t)
}
