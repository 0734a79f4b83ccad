// Package intake takes releases in over the wire. An author's archive goes in, and is a job from then on: it is read,
// checked by the gates, and published under the registry's online keys, or refused with a reason. What the author signed
// is checked before anything else is read, so strangers cost next to nothing.
package intake

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/submission"
)

// Config says what takes releases in.
type Config struct {
	// Dir is where jobs and what is not published yet lie; never a folder that is served.
	Dir string
	// Registry is where releases go: a publish.Keeper with the online keys. It is free between two uses, so that people
	// can work on it.
	Registry Registry
	Gates    gates.Config
	// Published hears of each release; nil: nobody does.
	Published func(id, version string)
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: nowhere
}

// Registry is a registry that can be looked at and changed, one at a time. An error is that of the function, unless
// that was not called.
type Registry interface {
	Read(ctx context.Context, do func(publish.Reading) error) error
	Change(ctx context.Context, do func(*publish.Publisher) error) error
}

// The bounds of what is taken in at one time.
const (
	maxUploads     = 4  // that are being read
	maxWaiting     = 16 // for the gates
	maxWaitingEach = 4  // of one namespace, so that others have their turn and a place on the disk
	jobTimeout     = 30 * time.Minute

	strangersAtOnce = 20 // for whom the registry is read; then one a second
)

// ErrBusy says that others come first.
var ErrBusy = errors.New("the registry is busy with other releases; try again in a few minutes")

// RefusedError says that an archive is not what this registry takes, and why.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// Intake takes releases in until Close.
type Intake struct {
	cfg     Config
	jobs    *jobs
	uploads chan struct{}
	waiting chan task
	stop    context.CancelFunc
	done    sync.WaitGroup

	strangers *rate.Limiter
	mu        sync.Mutex // guards what follows
	root      string
	known     map[string][]ed25519.PublicKey // by namespace, of those who were here before
}

// task is an upload that has been read.
type task struct {
	job    Job
	dir    string // with its artifacts
	upload publish.Upload
}

// Open starts to take in. Jobs that a crash interrupted are settled first: published, if that had happened, else refused.
func Open(ctx context.Context, cfg Config) (*Intake, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	i := &Intake{cfg: cfg, uploads: make(chan struct{}, maxUploads), waiting: make(chan task, maxWaiting),
		strangers: rate.NewLimiter(1, strangersAtOnce), known: map[string][]ed25519.PublicKey{}}
	if err := os.RemoveAll(i.incoming()); err != nil {
		return nil, fmt.Errorf("take in releases: %w", err)
	}
	if err := os.MkdirAll(i.incoming(), 0o700); err != nil {
		return nil, fmt.Errorf("take in releases: %w", err)
	}
	var err error
	if i.jobs, err = openJobs(filepath.Join(cfg.Dir, "jobs"), cfg.Now); err != nil {
		return nil, fmt.Errorf("take in releases: %w", err)
	}
	if err := i.settle(ctx); err != nil {
		return nil, fmt.Errorf("take in releases: %w", err)
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	i.stop = stop
	i.done.Go(func() { i.work(work) })
	return i, nil
}

// Close ends the job at hand and waits for it. What had not been published is refused at the next Open.
func (i *Intake) Close() {
	i.stop()
	i.done.Wait()
}

func (i *Intake) incoming() string { return filepath.Join(i.cfg.Dir, "incoming") }

// Job returns a job by its id.
func (i *Intake) Job(id string) (Job, bool) { return i.jobs.get(id) }

// Wait returns a job once it is published or refused.
func (i *Intake) Wait(ctx context.Context, id string) (Job, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		job, ok := i.jobs.get(id)
		if !ok {
			return Job{}, fmt.Errorf("job %s is not known", id)
		}
		if job.State != StateChecking {
			return job, nil
		}
		select {
		case <-ctx.Done():
			return Job{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// Submit reads an archive. The error is a *RefusedError when the archive is at fault, and ErrBusy when nobody is.
func (i *Intake) Submit(ctx context.Context, archive io.Reader) (Job, error) {
	dir, err := os.MkdirTemp(i.incoming(), "release-")
	if err != nil {
		return Job{}, fmt.Errorf("take in a release: %w", err)
	}
	t, err := i.take(ctx, archive, dir)
	if err != nil {
		return Job{}, errors.Join(err, os.RemoveAll(dir))
	}
	select {
	case i.waiting <- t:
		return t.job, nil
	default:
		i.jobs.drop(t.job.ID)
		return Job{}, errors.Join(ErrBusy, os.RemoveAll(dir))
	}
}

func (i *Intake) take(ctx context.Context, archive io.Reader, dir string) (task, error) {
	held := false
	defer func() {
		if held {
			<-i.uploads
		}
	}()
	up, err := submission.Read(ctx, archive, dir, func(s *submission.SignedIntent) error {
		if err := i.trust(ctx, s); err != nil {
			return err
		}
		if i.jobs.checking(s.Intent.Namespace) >= maxWaitingEach {
			return ErrBusy
		}
		select { // only now: strangers take no author's place
		case i.uploads <- struct{}{}:
			held = true
			return nil
		default:
			return ErrBusy
		}
	})
	if errors.Is(err, ErrBusy) {
		return task{}, ErrBusy
	}
	if err == nil {
		err = i.read(ctx, func(r publish.Reading) error { return r.CheckUpload(up) })
	}
	var ours *unavailableError
	if errors.As(err, &ours) {
		return task{}, err
	}
	if err != nil {
		return task{}, &RefusedError{err}
	}
	d := up.Releases[0].Descriptor
	data, err := d.Encode()
	if err != nil {
		return task{}, &RefusedError{err}
	}
	job := Job{ID: newID(), Plugin: d.Manifest.ID, Version: d.Manifest.Version, Descriptor: registry.Digest(data), State: StateChecking}
	if err := i.jobs.put(job); err != nil {
		return task{}, err
	}
	return task{job, dir, up}, nil
}

// newID makes a name that nobody guesses: whoever has it may see the job.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// trust lets only the owners of a namespace go on. To read the registry costs much and keeps others from it, so the keys
// of those who were here before are remembered, and strangers have it read now and then only. Who had a key once gets no
// further for that: what was handed in is held against the registry as it is.
func (i *Intake) trust(ctx context.Context, s *submission.SignedIntent) error {
	i.mu.Lock()
	before, root := i.known[s.Intent.Namespace], i.root
	i.mu.Unlock()
	if before != nil && s.Verify(root, before, i.cfg.Now()) == nil {
		return nil
	}
	if !i.strangers.Allow() {
		return ErrBusy
	}
	return i.read(ctx, func(r publish.Reading) error {
		keys, err := r.NamespaceKeys(s.Intent.Namespace)
		if err == nil {
			err = s.Verify(r.RootSHA256(), keys, i.cfg.Now())
		}
		if err != nil {
			return err
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.known[s.Intent.Namespace], i.root = keys, r.RootSHA256()
		return nil
	})
}

// unavailableError is no fault of the author's, and its text not theirs to read.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// read asks the registry something. That it cannot be asked is an *unavailableError.
func (i *Intake) read(ctx context.Context, do func(publish.Reading) error) error {
	asked := false
	err := i.cfg.Registry.Read(ctx, func(r publish.Reading) error {
		asked = true
		return do(r)
	})
	if err != nil && !asked {
		return &unavailableError{err}
	}
	return err
}

// work does one job after another: gates are dear, and publishing is for one at a time anyway.
func (i *Intake) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-i.waiting:
			i.do(ctx, t)
		}
	}
}

func (i *Intake) do(ctx context.Context, t task) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	job := t.job
	err := i.publish(ctx, t, &job)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return // the next Open settles it
	}
	job.State = StatePublished
	if err != nil {
		job.State, job.Problem = StateRefused, err.Error()
	}
	var ours *unavailableError
	if errors.As(err, &ours) {
		job.Problem = "the registry could not publish it, its log says why; hand it in again later"
	}
	i.cfg.Log.Info("a release was handed in", "plugin", job.Plugin, "version", job.Version, "state", job.State, "error", err)
	if err := i.jobs.put(job); err != nil { // the next Open finds out by itself
		i.jobs.show(job)
		i.cfg.Log.Error("the outcome of a release could not be written down", "plugin", job.Plugin, "version", job.Version, "error", err)
	}
	if err := os.RemoveAll(t.dir); err != nil {
		i.cfg.Log.Warn("what a release came in with could not be removed", "dir", t.dir, "error", err)
	}
	if job.State == StatePublished && i.cfg.Published != nil {
		i.cfg.Published(job.Plugin, job.Version)
	}
}

// publish runs the gates and, if they let it pass, puts the release into the registry.
func (i *Intake) publish(ctx context.Context, t task, job *Job) error {
	sub := &t.upload.Releases[0]
	models, err := i.models(ctx, sub.Descriptor.Manifest.Requires)
	if err != nil {
		return err
	}
	found, err := gates.Check(ctx, gates.Release{
		Descriptor: sub.Descriptor, Files: sub.Artifacts, Readme: sub.Readme, Changelog: sub.Changelog, Plan: sub.Plan, Models: models,
	}, i.cfg.Gates, func(g registry.Gate) { i.seen(job, g) })
	if err != nil {
		return err
	}
	if err := found.Refused(); err != nil {
		return err
	}
	sub.Card, sub.Evidence = found.Card, found.Evidence
	var unfit error
	err = i.cfg.Registry.Change(ctx, func(p *publish.Publisher) error {
		if unfit = p.CheckUpload(t.upload); unfit != nil { // the registry went on meanwhile
			return unfit
		}
		return p.Accept(ctx, t.upload)
	})
	if err != nil && unfit == nil {
		return &unavailableError{err}
	}
	return err
}

// models finds the files that a release would be given to open. What this registry does not have is left out: the gates say
// that they lack it.
func (i *Intake) models(ctx context.Context, needs []registry.Requirement) (map[string]string, error) {
	if len(needs) == 0 {
		return nil, nil
	}
	files := map[string]string{}
	err := i.read(ctx, func(r publish.Reading) error {
		for _, need := range needs {
			if file, err := r.Required(need); err == nil {
				files[need.Plugin] = file
			}
		}
		return nil
	})
	return files, err
}

// seen shows the author each gate as it is done. That need not survive a crash.
func (i *Intake) seen(job *Job, g registry.Gate) {
	job.Gates = append(job.Gates, g)
	i.jobs.show(*job)
}

// settle ends the jobs that were at hand when the last process went away.
func (i *Intake) settle(ctx context.Context) error {
	for _, job := range i.jobs.unfinished() {
		err := i.read(ctx, func(r publish.Reading) error {
			digest, err := r.Published(job.Plugin, job.Version)
			job.State = StatePublished
			if err != nil || digest != job.Descriptor {
				job.State, job.Problem = StateRefused, "the registry was restarted before it came to this release; hand it in again"
			}
			return nil
		})
		if err == nil {
			err = i.jobs.put(job)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
