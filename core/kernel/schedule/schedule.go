// Package schedule runs jobs again and again, each at its own interval and on its own goroutine. The list of jobs may
// change at any time. A job never overlaps with itself: a round that is due while the one before still runs is skipped
// and counted. After a failure of class Temporary (a plugin that is just starting, a device that is busy) a job does
// not wait for its next turn: it is tried again soon, and then ever more rarely.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Job is something that recurs.
type Job struct {
	Name  string
	Every time.Duration
	// Run does one round. due is when it should have begun.
	Run func(ctx context.Context, due time.Time) error
}

// Stat is how a job has fared.
type Stat struct {
	Name    string        `json:"name"`
	Every   time.Duration `json:"every_ns"`
	Rounds  uint64        `json:"rounds"`
	Failed  uint64        `json:"failed"`
	Skipped uint64        `json:"skipped"` // due while the round before still ran
	Last    time.Time     `json:"last"`    // when the last round began
	Error   string        `json:"error,omitempty"`
}

// lookEvery is how soon a change in the list of jobs is noticed.
const lookEvery = 250 * time.Millisecond

// Set runs the jobs that a source lists.
type Set struct {
	source func() []Job
	jitter func() float64

	mu    sync.Mutex // guards lanes
	lanes map[string]*lane
}

// New returns a Set. source is asked often and must be quick; jitter (nil: random) is between 0 and 1 and spreads the
// first rounds over a tenth of the interval, so that jobs with the same interval do not all run at once.
func New(source func() []Job, jitter func() float64) *Set {
	if jitter == nil {
		jitter = rand.Float64
	}
	return &Set{source: source, jitter: jitter, lanes: map[string]*lane{}}
}

// Run works until ctx ends and returns when every round has.
func (s *Set) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		s.look(ctx, &running)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look brings the lanes in line with the list.
func (s *Set) look(ctx context.Context, running *sync.WaitGroup) {
	jobs := s.source()
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := make(map[string]bool, len(jobs))
	for _, j := range jobs {
		listed[j.Name] = true
		if l, ok := s.lanes[j.Name]; ok {
			l.update(j)
			continue
		}
		laneCtx, stop := context.WithCancel(ctx)
		l := &lane{job: j, stat: Stat{Name: j.Name, Every: j.Every}, stop: stop, changed: make(chan struct{}, 1), asked: make(chan chan error)}
		s.lanes[j.Name] = l
		first := min(time.Duration(s.jitter()*float64(j.Every)/10), time.Second)
		running.Go(func() { l.run(laneCtx, first) })
	}
	for name, l := range s.lanes {
		if !listed[name] {
			l.stop()
			delete(s.lanes, name)
		}
	}
}

// Now runs a job, or all of them when name is empty, without waiting for the next due time, and returns what came of
// it.
func (s *Set) Now(ctx context.Context, name string) error {
	s.mu.Lock()
	var chosen []*lane
	for n, l := range s.lanes {
		if name == "" || n == name {
			chosen = append(chosen, l)
		}
	}
	s.mu.Unlock()
	if name != "" && len(chosen) == 0 {
		return fmt.Errorf("nothing called %q is scheduled here", name)
	}
	results := make([]error, len(chosen))
	var wg sync.WaitGroup
	for i, l := range chosen {
		wg.Go(func() { results[i] = l.now(ctx) })
	}
	wg.Wait()
	return errors.Join(results...)
}

// Stats returns the figures of all jobs, ordered by name.
func (s *Set) Stats() []Stat {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Stat, 0, len(s.lanes))
	for _, l := range s.lanes {
		l.mu.Lock()
		out = append(out, l.stat)
		l.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Stat) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// lane runs one job.
type lane struct {
	stop    context.CancelFunc
	changed chan struct{}
	asked   chan chan error // a round out of turn; the answer goes back

	mu   sync.Mutex // guards job and stat
	job  Job
	stat Stat

	temporary int // failures of that class in a row; only run touches it
}

func (l *lane) run(ctx context.Context, first time.Duration) {
	due := time.Now().Add(first)
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			err := l.round(ctx, due)
			due = l.again(err, l.next(due, time.Now()), time.Now())
		case answer := <-l.asked:
			answer <- l.round(ctx, time.Now())
		case <-l.changed:
			due = l.next(time.Now(), time.Now())
		case <-ctx.Done():
			return
		}
		timer.Reset(time.Until(due))
	}
}

// retryFirst is how soon a round that failed for the moment is tried again; it doubles.
const retryFirst = time.Second

// again brings the next round forward when this one failed for the moment only.
func (l *lane) again(err error, due, now time.Time) time.Time {
	if err == nil || sdk.ClassOf(err) != sdk.Temporary {
		l.temporary = 0
		return due
	}
	retry := now.Add(retryFirst << min(l.temporary, 20))
	l.temporary++
	if retry.Before(due) {
		return retry
	}
	return due
}

// next returns the first due time after now and counts those that have passed.
func (l *lane) next(due, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	every := max(l.job.Every, time.Millisecond)
	due = due.Add(every)
	if late := now.Sub(due); late >= 0 {
		missed := late/every + 1
		l.stat.Skipped += uint64(missed)
		due = due.Add(missed * every)
	}
	return due
}

func (l *lane) round(ctx context.Context, due time.Time) error {
	l.mu.Lock()
	run := l.job.Run
	l.stat.Last = time.Now()
	l.mu.Unlock()
	err := run(ctx, due)
	if ctx.Err() != nil {
		return ctx.Err() // it ends with the set; that is no failure of the job
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stat.Rounds++
	l.stat.Error = ""
	if err != nil {
		l.stat.Failed++
		l.stat.Error = err.Error()
	}
	return err
}

// update takes over a job's new function and interval.
func (l *lane) update(j Job) {
	l.mu.Lock()
	changed := l.job.Every != j.Every
	l.job, l.stat.Every = j, j.Every
	l.mu.Unlock()
	if changed {
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}

func (l *lane) now(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case l.asked <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
