// Package traffic takes captures in and has them analysed. In goes an uploaded file; it is stored under its hash and
// becomes a job. A job starts the worker picket-traffic, which alone parses packets, passes the flows that come back to
// the detectors and delivers their findings. Out come findings and the state of each job.
//
// A capture is hostile input: the worker that reads it may die, hang or write nonsense. That ends the job with an
// error which names the packet; nothing else is disturbed. Jobs run one at a time, because a detector instance holds
// the state of one capture.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// State of a capture job.
type State string

const (
	Queued  State = "queued"
	Running State = "running"
	Stopped State = "stopped" // by somebody, who may have it resumed
	Done    State = "done"
	Failed  State = "failed"
)

// Capture is a stored capture and its job.
type Capture struct {
	ID     string
	Tenant string // whose it is
	Name   string // what the uploader called it
	By     string // who uploaded it
	SHA256 string
	Size   int64
	State  State
	Order  int64 // in the queue: the lowest comes first

	Progress   float64 // 0 to 1
	Packets    uint64
	Bytes      uint64 // on the wire
	Flows      uint64
	Undecoded  uint64 // packets that no decoder understood
	Evicted    uint64 // flows that were closed early to stay within memory
	Truncated  bool   // the file is damaged: reading stopped early
	Damage     string // where and why
	Findings   int
	First      time.Time
	Last       time.Time
	Error      string
	ErrorAfter uint64   // the packet at which the worker gave up or died
	Notes      []string // what the verdict did not see
	Services   []ServedPort
	Quality    *Quality // nil before it is done
	Created    time.Time
	Started    time.Time
	Finished   time.Time
}

// ServedPort is a port at which hosts of a capture answered, and how many did.
type ServedPort struct {
	Proto uint8  `json:"proto"`
	Port  uint16 `json:"port"`
	Hosts int    `json:"hosts"`
}

// Bounds on what the worker says of one capture.
const (
	maxServices = 64
	maxHosts    = 4096 // of one port
)

// Store keeps captures. It is implemented by the composition root.
type Store interface {
	AddCapture(ctx context.Context, c Capture) error
	SaveCapture(ctx context.Context, c Capture) error
	// DeleteCapture forgets a capture and says whether another one has the same bytes.
	DeleteCapture(ctx context.Context, c Capture) (shared bool, err error)
	// Room is an error when a tenant may not have so many bytes of captures more.
	Room(ctx context.Context, tenant string, bytes int64) error
	// Unfinished returns captures that are queued, or that were running when the program ended; in their
	// Order, and by age.
	Unfinished(ctx context.Context) ([]Capture, error)
}

// Analysis receives what one capture holds, and is done with a parcel once it called its Done. Close must be called exactly once.
type Analysis interface {
	Wanted() Wanted
	Frame(ctx context.Context, flows records.Parcel) error
	Facts(ctx context.Context, kind string, facts records.Parcel) error
	Packets(ctx context.Context, subscription int, frame []byte) error
	// Close ends it; complete says that the capture was read to its end, or to where it is damaged.
	Close(ctx context.Context, complete bool) Outcome
}

// Outcome is what an analysis found.
type Outcome struct {
	Findings []sdk.Finding
	Notes    []string // detectors whose verdict is incomplete, and why
	Retry    bool     // a detector was only temporarily gone; analysing again may complete the verdict
}

// Config is what the service needs. The numbers and Log may be left zero.
type Config struct {
	Dir      string        // where captures lie; created with mode 0700
	MaxBytes int64         // bound of one upload, 2 GiB when zero
	Attempts int           // how often a capture is analysed while detectors are temporarily gone, 3 when zero
	Stall    time.Duration // how long a worker may be silent, 2 minutes when zero
	MaxTime  time.Duration // how long a job may take in all, 6 hours when zero
	Store    Store
	// Worker returns the command picket-traffic, not started, without files, that hands out what is wanted.
	Worker func(Wanted) *exec.Cmd
	// Carver returns the same command for a run that takes packets out of a capture, with these arguments.
	Carver  func(args []string) *exec.Cmd
	Analyse func(ctx context.Context, c Capture) Analysis
	// Deliver stores the findings of a capture; the job is done when it has returned.
	Deliver func(ctx context.Context, c Capture, findings []sdk.Finding) error
	// Changed tells watchers of every new state.
	Changed func(Capture)
	Now     func() time.Time
	Log     *slog.Logger
}

const (
	defaultMaxBytes = 2 << 30
	defaultAttempts = 3
	defaultStall    = 2 * time.Minute
	defaultMaxTime  = 6 * time.Hour
	exitGrace       = 5 * time.Second
	retryPause      = 2 * time.Second
	progressEvery   = 500 * time.Millisecond
	// maxWaiting bounds the jobs that wait; an upload beyond it is refused rather than forgotten.
	maxWaiting = 1000
)

// Service owns the jobs. Create it with New, start its loop with Run.
type Service struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	waiting []Capture
	current *job // the one that runs

	carvers chan struct{} // one for each worker that takes packets out of a capture

	files sync.Mutex // held while a stored file gets or loses its last capture
}

// job is a capture that is being analysed.
type job struct {
	id      string
	deleted bool
	cancel  context.CancelCauseFunc // nil before it begins
	done    chan struct{}
	// life is the worker's and ends when somebody stops the job. What the worker said until then is still worked on.
	life context.Context
	stop context.CancelFunc
}

// errDeleted ends a job whose capture was deleted.
var errDeleted = errors.New("the capture was deleted")

// New prepares the folder and takes over the jobs that an earlier run left unfinished.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = defaultAttempts
	}
	if cfg.Stall == 0 {
		cfg.Stall = defaultStall
	}
	if cfg.MaxTime == 0 {
		cfg.MaxTime = defaultMaxTime
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the folder for captures: %w", err)
	}
	removeIncoming(cfg.Dir)
	left, err := cfg.Store.Unfinished(ctx)
	if err != nil {
		return nil, fmt.Errorf("read unfinished captures: %w", err)
	}
	return &Service{cfg: cfg, wake: make(chan struct{}, 1), waiting: left, carvers: make(chan struct{}, maxCarvers)}, nil
}

// Run works through the jobs until ctx ends. A job that is interrupted stays unfinished and is taken up again by the
// next New.
func (s *Service) Run(ctx context.Context) {
	for {
		next, j := s.next()
		if j == nil {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		s.analyse(ctx, next, j)
		if ctx.Err() != nil {
			return
		}
	}
}

// Waiting is how many jobs have not begun.
func (s *Service) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// next takes the first capture out of the queue; the job is nil when nothing waits.
func (s *Service) next() (Capture, *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return Capture{}, nil
	}
	next := s.waiting[0]
	s.waiting = s.waiting[1:]
	s.current = &job{id: next.ID, done: make(chan struct{})}
	s.current.life, s.current.stop = context.WithCancel(context.Background())
	return next, s.current
}

// begin gives the job a context of its own, which ends with ctx, when the job takes too long, or when its capture is
// deleted. end must be called.
func (s *Service) begin(ctx context.Context, j *job) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	limit := time.AfterFunc(s.cfg.MaxTime, func() {
		cancel(fmt.Errorf("the analysis was stopped because it took longer than the limit of %s", s.cfg.MaxTime))
	})
	unhook := context.AfterFunc(ctx, j.stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.deleted {
		cancel(errDeleted)
	}
	j.cancel = cancel
	return ctx, func() {
		limit.Stop()
		unhook()
		cancel(nil)
		j.stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.current = nil
		close(j.done)
	}
}

// Delete forgets a capture, its job, and its bytes unless another capture has the same. It returns when the job has
// ended. What was found stays.
func (s *Service) Delete(ctx context.Context, c Capture) error {
	s.mu.Lock()
	s.waiting = slices.DeleteFunc(s.waiting, func(w Capture) bool { return w.ID == c.ID })
	running := s.current
	if running != nil && running.id != c.ID {
		running = nil
	}
	if running != nil {
		running.deleted = true
		if running.cancel != nil {
			running.cancel(errDeleted)
		}
	}
	s.mu.Unlock()
	if running != nil {
		select {
		case <-running.done:
		case <-ctx.Done():
			return fmt.Errorf("wait for the job of capture %s: %w", c.ID, ctx.Err())
		}
	}
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.Lock() // it may have been put into the queue again meanwhile
	s.waiting = slices.DeleteFunc(s.waiting, func(w Capture) bool { return w.ID == c.ID })
	s.mu.Unlock()
	shared, err := s.cfg.Store.DeleteCapture(ctx, c)
	if err != nil {
		return err
	}
	if !shared {
		if err := os.Remove(s.path(c.SHA256)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the stored capture: %w", err)
		}
	}
	s.cfg.Changed(c)
	return nil
}

// enqueue makes a stored file a job.
func (s *Service) enqueue(ctx context.Context, tenant, name, by, sum string, size int64) (Capture, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Capture{}, err
	}
	now := s.cfg.Now().UTC()
	c := Capture{ID: id.String(), Tenant: tenant, Name: name, By: by, SHA256: sum, Size: size, State: Queued, Order: now.UnixMicro(), Created: now}
	if err := s.cfg.Store.AddCapture(ctx, c); err != nil {
		return Capture{}, fmt.Errorf("record capture %s: %w", name, err)
	}
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()
	s.cfg.Changed(c)
	s.rouse()
	return c, nil
}

// rouse tells Run that something waits.
func (s *Service) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// analyse runs a job to its end and records it. Only a cancelled ctx leaves it unfinished.
func (s *Service) analyse(stop context.Context, c Capture, j *job) {
	ctx, end := s.begin(stop, j)
	defer end()
	c.State, c.Started = Running, s.cfg.Now().UTC()
	s.save(ctx, c)
	var err, undelivered error
	for attempt := 1; ; attempt++ {
		var out Outcome
		c, out, err = s.attempt(ctx, j.life, reset(c))
		// What was found before a worker died is still true.
		undelivered = s.deliver(unlessDeleted(ctx, stop), &c, out)
		if err == nil {
			err = undelivered
		}
		if err != nil || !out.Retry || attempt >= s.cfg.Attempts || !sleep(j.life, retryPause) {
			break
		}
	}
	c.Finished = s.cfg.Now().UTC()
	switch {
	case stop.Err() != nil, errors.Is(context.Cause(ctx), errDeleted):
		return
	case ctx.Err() != nil:
		err = &PacketError{Packet: c.Packets, Err: context.Cause(ctx)}
	case err != nil && undelivered == nil && j.life.Err() != nil:
		c.halted()
		s.save(ctx, c)
		return
	}
	c.State, c.Progress = Done, 1
	if err != nil {
		c.State, c.Error = Failed, err.Error()
		var at *PacketError
		if errors.As(err, &at) {
			c.ErrorAfter = at.Packet
		}
		s.cfg.Log.Warn("capture failed", "capture", c.ID, "name", c.Name, "error", err)
	}
	s.save(ctx, c)
}
