package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/sdk/records"
)

// LiveConfig is what a live capture needs. Programs, Socket and Record are needed.
type LiveConfig struct {
	Programs string // the folder with picket-traffic and picket-launch
	Socket   packetsocket.Config
	Keep     int64 // bytes of memory for the newest packets; 0 keeps none
	// Record opens what keeps the records of one run; each worker is a run of its own, because its flows are numbered from 1.
	Record func(ctx context.Context, r Run) (LiveRecorder, error)
	Open   func(packetsocket.Config) (*packetsocket.Socket, error) // default packetsocket.Open
	Log    *slog.Logger
	Now    func() time.Time
}

// LiveRecorder keeps what one worker of a live capture sees. It must not wait: packets that come meanwhile are lost.
type LiveRecorder interface {
	Recorder
	// Wanted is what the worker is asked for, besides the flows. It is asked once, and others are wanted from the next
	// worker on: see Live.Renew.
	Wanted() Wanted
	// Packets takes a frame of packets of one of the subscriptions that are wanted.
	Packets(ctx context.Context, subscription int, frame []byte) error
}

// Run is one worker's part of a live capture.
type Run struct {
	ID        string // unlike any other's
	Interface string
	Filter    string
	Started   time.Time
}

// Live captures on one interface until its context ends: it opens the socket, has a confined worker read it, and starts
// another when that one dies. The socket stays open meanwhile, and the next worker finds in it what arrived.
type Live struct {
	cfg      LiveConfig
	memories memories
	renew    chan struct{} // the worker should end for another

	mu      sync.Mutex // guards what follows
	figures LiveFigures
	closed  packetsocket.Counts // of sockets before this one
	before  progressMessage     // of workers before this one
	now     progressMessage     // of this worker
	rows    uint64              // flows of this worker that were recorded
	heard   bool                // this worker has said something
	asked   bool                // this worker was asked to end for another
}

// NewLive checks the configuration.
func NewLive(cfg LiveConfig) (*Live, error) {
	if err := packetsocket.Check(cfg.Socket); err != nil {
		return nil, err
	}
	if err := CheckKeep(cfg.Keep); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Open == nil {
		cfg.Open = packetsocket.Open
	}
	return &Live{cfg: cfg, renew: make(chan struct{}, 1), figures: LiveFigures{Interface: cfg.Socket.Interface, Filter: cfg.Socket.Filter, Since: cfg.Now().UTC()}}, nil
}

// Renew lets the next worker take over, which is asked for what is wanted then. Flows that are open are closed and recorded.
func (l *Live) Renew() {
	select {
	case l.renew <- struct{}{}:
	default:
	}
}

// How long to wait before the next try. A worker that dies is replaced at once: packets are waiting.
const (
	liveFirstPause = 50 * time.Millisecond
	liveLastPause  = 10 * time.Second
	liveSteady     = time.Minute // a worker that lived as long is not the same problem again
	liveSoon       = 5 * time.Second
	liveStall      = 30 * time.Second
	liveLook       = time.Second // how often the kernel is asked
)

// Run captures until ctx ends, when all flows are closed and recorded.
func (l *Live) Run(ctx context.Context) {
	for pause := liveFirstPause; ctx.Err() == nil; {
		began := time.Now()
		socket, err := l.cfg.Open(l.cfg.Socket)
		if err == nil {
			err = l.capture(ctx, socket)
		}
		if ctx.Err() != nil {
			return
		}
		l.trouble(err)
		if time.Since(began) > liveSteady {
			pause = liveFirstPause
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, liveLastPause)
	}
}

// capture reads a socket until ctx ends or its interface is gone.
func (l *Live) capture(ctx context.Context, socket *packetsocket.Socket) error {
	defer l.leave(socket)
	early := 0 // workers that died soon, one after the other
	for pause := liveFirstPause; ; {
		began := time.Now()
		// What a worker was reading when it died is read again, unless the next one dies there too.
		err := l.work(ctx, socket, early > 1)
		if ctx.Err() != nil {
			return nil
		}
		gone := socket.Gone()
		if err == nil && !gone && l.renewed() {
			continue
		}
		l.died(err)
		if gone {
			return fmt.Errorf("the interface %s is gone", l.cfg.Socket.Interface)
		}
		l.trouble(err)
		if early++; time.Since(began) > liveSoon {
			early = 0
		}
		if time.Since(began) > liveSteady {
			pause = liveFirstPause
		}
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, liveLastPause)
	}
}

// leave closes a socket and keeps its counts.
func (l *Live) leave(socket *packetsocket.Socket) {
	l.count(socket)
	counts, _ := socket.Counts() // those of the last time when the kernel does not answer
	l.mu.Lock()
	l.closed.Packets += counts.Packets
	l.closed.Dropped += counts.Dropped
	l.mu.Unlock()
	if err := socket.Close(); err != nil {
		l.cfg.Log.Warn("close a capture", "interface", l.cfg.Socket.Interface, "problem", err)
	}
}

func (l *Live) trouble(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	l.mu.Lock()
	changed := l.figures.Problem != text
	l.figures.Problem = text
	l.mu.Unlock()
	if changed && err != nil {
		l.cfg.Log.Warn("cannot capture", "interface", l.cfg.Socket.Interface, "problem", text)
	}
}

// work lets one worker read until it ends, or ctx does.
func (l *Live) work(ctx context.Context, socket *packetsocket.Socket, skip bool) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	run := Run{ID: id.String(), Interface: l.cfg.Socket.Interface, Filter: l.cfg.Socket.Filter, Started: l.cfg.Now().UTC()}
	// What was seen is recorded also when the capture is ended: the worker is asked to come to its end.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	select { // what was asked for until now, Record knows
	case <-l.renew:
	default:
	}
	recorder, err := l.cfg.Record(life, run)
	if err != nil {
		return fmt.Errorf("record flows: %w", err)
	}
	ring, wake := socket.Files()
	wanted := recorder.Wanted()
	files := []*os.File{wake}
	if memory := l.memory(run); memory != nil {
		files = append(files, memory)
	}
	w, err := startWorker(life, liveCommand(l.cfg.Programs, socket.Geometry(), skip, len(files) > 1, wanted.Args()), ring, files...)
	if err != nil {
		return errors.Join(fmt.Errorf("start the traffic worker: %w", err), recorder.Close(life, false))
	}
	l.mu.Lock()
	l.figures.Run, l.figures.Problem = run.ID, ""
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		terminate(w.cmd.Process)
		time.AfterFunc(exitGrace, end)
	})
	unwatched := l.watch(life, socket, w)
	err = l.follow(life, w.out, recorder, wanted)
	stop() // from here on its number may become another process's
	unwatched()
	if err != nil {
		end()
	}
	grace := time.AfterFunc(exitGrace, end)
	defer grace.Stop()
	exit := w.wait()
	if closing := recorder.Close(context.WithoutCancel(ctx), err == nil); closing != nil {
		l.cfg.Log.Warn("close the record of a capture", "interface", run.Interface, "problem", closing)
	}
	return verdict(err, exit, Capture{Packets: l.read()}, w.stderr.String())
}

// memory is where the worker of a run keeps the newest packets, nil for nowhere. A capture goes on without it.
func (l *Live) memory(run Run) *os.File {
	if !l.Keeps() {
		return nil
	}
	f, err := l.memories.begin(run.ID, l.cfg.Keep)
	if err != nil {
		l.cfg.Log.Warn("no packets are kept for what is found", "interface", run.Interface, "problem", err)
		return nil
	}
	return f
}

// watch looks after a worker until stop is called, which returns when the socket and the worker are no longer looked at.
func (l *Live) watch(ctx context.Context, socket *packetsocket.Socket, w *worker) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.look(ctx, socket, w)
	}()
	return func() {
		cancel()
		<-done
	}
}

// look asks the kernel how the ring is, and ends a worker whose interface is gone or that is to be renewed.
func (l *Live) look(ctx context.Context, socket *packetsocket.Socket, w *worker) {
	for last, at := l.read(), time.Now(); sleep(ctx, liveLook); {
		l.count(socket)
		if l.renewNow() {
			terminate(w.cmd.Process)
		}
		now := l.read()
		l.mu.Lock()
		l.figures.PerSecond = float64(now-min(last, now)) / time.Since(at).Seconds()
		l.mu.Unlock()
		last, at = now, time.Now()
		if socket.Gone() {
			terminate(w.cmd.Process)
			return
		}
	}
}

// renewNow reports whether the worker is to end for another. It can be told once it has said something: it listens by then.
func (l *Live) renewNow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard {
		select {
		case <-l.renew:
			l.asked = true
		default:
		}
	}
	return l.asked
}

// follow reads what the worker says until it is done.
func (l *Live) follow(ctx context.Context, out *os.File, to LiveRecorder, wanted Wanted) error {
	in := newMessages(out, liveStall)
	var features message // of the next frame
	for {
		m, err := in.next()
		if err != nil {
			return err
		}
		switch m.kind {
		case msgFeatures:
			if !wanted.Features {
				return errors.New("the traffic worker sent features, which nobody asked for")
			}
			features = m
		case msgFrame:
			l.flows(ctx, m.parcel(features), to)
			features = message{}
		case msgFacts:
			err = l.facts(ctx, m.parcel(message{}), to, wanted)
		case msgPackets:
			err = livePackets(ctx, m.body, to, wanted)
		case msgProgress:
			err = l.progress(m.body)
		case msgDone:
			return nil
		case msgError:
			return decodeError(m.body)
		default:
			err = fmt.Errorf("the traffic worker sent a message of kind %d, which was not asked for", m.kind)
		}
		if err != nil {
			return err
		}
	}
}

// flows records a frame. One that cannot be recorded is lost, and the capture goes on.
func (l *Live) flows(ctx context.Context, flows records.Parcel, to Recorder) {
	rows := uint64(records.Count(flows.Frame))
	err := to.Flows(ctx, flows)
	if err != nil {
		l.cfg.Log.Error("flows could not be recorded", "interface", l.cfg.Socket.Interface, "flows", rows, "problem", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows += rows
	if err != nil {
		l.figures.LostFlows += rows
	} else {
		l.figures.Flows += rows
	}
}

func (l *Live) facts(ctx context.Context, facts records.Parcel, to Recorder, wanted Wanted) error {
	kind, err := wanted.kindOf(facts.Frame)
	if err != nil {
		return err
	}
	if err := to.Facts(ctx, kind, facts); err != nil {
		l.cfg.Log.Error("facts could not be recorded", "interface", l.cfg.Socket.Interface, "problem", err)
	}
	return nil
}

func livePackets(ctx context.Context, body []byte, to LiveRecorder, wanted Wanted) error {
	if len(body) < 2 || int(binary.LittleEndian.Uint16(body)) >= len(wanted.Packets) {
		return errors.New("the traffic worker sent packets that nobody asked for")
	}
	return to.Packets(ctx, int(binary.LittleEndian.Uint16(body)), body[2:])
}

// liveCommand is picket-traffic for the two descriptors of a ring, 3 and 5, its messages, 4, and the memory for the newest packets, 6.
func liveCommand(programs string, g packetsocket.Geometry, skip, keep bool, args []string) *exec.Cmd {
	list := []string{"--live-fd", "3", "--wake-fd", "5", "--out-fd", "4", "--live-ring", g.String()}
	if skip {
		list = append(list, "--live-skip")
	}
	descriptors := []int{3, 4, 5}
	if keep {
		descriptors = append(descriptors, 6)
		list = append(list, "--keep-fd", "6")
	}
	spec := launch.Spec{
		Parent: os.Getpid(), Keep: descriptors, Name: "picket-traffic",
		Limits:  []launch.Limit{{Resource: launch.OpenFiles, Value: 64}, {Resource: launch.AddressSpace, Value: 8 << 30}, {Resource: launch.FileSize, Value: 0}},
		Program: filepath.Join(programs, "picket-traffic"),
		Args:    append(list, args...),
	}
	cmd := exec.Command(filepath.Join(programs, "picket-launch"), spec.CommandLine()...)
	cmd.Env = []string{"GOMEMLIMIT=1GiB"}
	return cmd
}
