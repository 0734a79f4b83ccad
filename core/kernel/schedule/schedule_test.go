package schedule

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// world is a list of jobs that a test changes while a Set runs it.
type world struct {
	mu    sync.Mutex
	jobs  []Job
	began map[string][]time.Duration // after the start
	start time.Time
}

func newWorld() *world { return &world{began: map[string][]time.Duration{}, start: time.Now()} }

func (w *world) source() []Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Job(nil), w.jobs...)
}

func (w *world) set(jobs ...Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = jobs
}

// job notes when its rounds begin and lasts for took.
func (w *world) job(name string, every, took time.Duration, err error) Job {
	return Job{Name: name, Every: every, Run: func(ctx context.Context, _ time.Time) error {
		w.mu.Lock()
		w.began[name] = append(w.began[name], time.Since(w.start))
		w.mu.Unlock()
		select {
		case <-time.After(took):
		case <-ctx.Done():
		}
		return err
	}}
}

func (w *world) times(name string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Duration(nil), w.began[name]...)
}

// running gives the Set the fake clock of synctest.
func running(t *testing.T, w *world, test func(s *Set)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		*w = *newWorld()
		ctx, cancel := context.WithCancel(t.Context())
		s := New(w.source, func() float64 { return 0 })
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		test(s)
		cancel()
		<-done
	})
}

func TestEachJobAtItsOwnInterval(t *testing.T) {
	var w world
	running(t, &w, func(s *Set) {
		w.set(w.job("fast", 2*time.Second, 0, nil), w.job("slow", 5*time.Second, time.Second, nil))
		time.Sleep(11 * time.Second)
		if f, sl := len(w.times("fast")), len(w.times("slow")); f != 6 || sl != 3 {
			t.Errorf("fast ran %d times and slow %d within 11 s, want 6 and 3", f, sl)
		}
	})
}

func TestARoundIsSkippedWhileTheOneBeforeRuns(t *testing.T) {
	var w world
	running(t, &w, func(s *Set) {
		w.set(w.job("long", time.Second, 2500*time.Millisecond, errors.New("too much")))
		time.Sleep(9*time.Second + 400*time.Millisecond)
		st := s.Stats()[0]
		if st.Rounds != 3 || st.Skipped != 6 || st.Failed != 3 || st.Error != "too much" {
			t.Errorf("got %+v, want 3 rounds, 6 skipped, 3 failed", st)
		}
	})
}

func TestATemporaryFailureIsTriedAgainSoon(t *testing.T) {
	var w world
	running(t, &w, func(s *Set) {
		rounds := 0
		w.set(Job{Name: "starting", Every: 5 * time.Minute, Run: func(context.Context, time.Time) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.began["starting"] = append(w.began["starting"], time.Since(w.start))
			if rounds++; rounds <= 4 {
				return sdk.Errorf(sdk.Temporary, "is starting")
			}
			return nil
		}}, w.job("broken", 5*time.Minute, 0, sdk.Errorf(sdk.Downstream, "refused")))
		time.Sleep(time.Minute)
		var waits []time.Duration
		times := w.times("starting")
		for i := 1; i < len(times); i++ {
			waits = append(waits, times[i]-times[i-1])
		}
		if want := []time.Duration{1e9, 2e9, 4e9, 8e9}; !slices.Equal(waits, want) {
			t.Errorf("waits %v, want %v", waits, want)
		}
		if n := len(w.times("broken")); n != 1 {
			t.Errorf("a failure of another class was tried %d times", n)
		}
	})
}

func TestJobsComeGoAndChange(t *testing.T) {
	var w world
	running(t, &w, func(s *Set) {
		w.set(w.job("a", time.Second, 0, nil))
		time.Sleep(3500 * time.Millisecond)
		w.set(w.job("a", time.Minute, 0, nil), w.job("b", time.Second, 0, nil))
		time.Sleep(3500 * time.Millisecond)
		a := len(w.times("a"))
		w.set()
		time.Sleep(time.Second)
		b := len(w.times("b"))
		time.Sleep(time.Hour)
		if len(w.times("a")) != a || len(w.times("b")) != b || a > 5 || b < 3 {
			t.Errorf("a ran at %v, b at %v", w.times("a"), w.times("b"))
		}
		if len(s.Stats()) != 0 {
			t.Errorf("stats of jobs that are gone: %+v", s.Stats())
		}
	})
}

func TestNow(t *testing.T) {
	var w world
	running(t, &w, func(s *Set) {
		w.set(w.job("good", time.Hour, time.Second, nil), w.job("bad", time.Hour, 0, errors.New("no")))
		time.Sleep(10 * time.Second)
		if err := s.Now(context.Background(), "good"); err != nil {
			t.Error(err)
		}
		if n := len(w.times("good")); n != 2 {
			t.Errorf("ran %d times, want 2", n)
		}
		if err := s.Now(context.Background(), ""); err == nil || err.Error() != "no" {
			t.Errorf("got %v, want the error of the bad one", err)
		}
		if err := s.Now(context.Background(), "absent"); err == nil {
			t.Error("an absent job ran")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if err := s.Now(ctx, "good"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v from an impatient caller", err)
		}
	})
}

func TestRunWaitsForRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := false
		s := New(func() []Job {
			return []Job{{Name: "stubborn", Every: time.Second, Run: func(ctx context.Context, _ time.Time) error {
				<-ctx.Done()
				time.Sleep(3 * time.Second)
				ended = true
				return nil
			}}}
		}, nil)
		go func() {
			time.Sleep(5 * time.Second)
			cancel()
		}()
		s.Run(ctx)
		if !ended {
			t.Error("Run returned before the round did")
		}
	})
}
