//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// readers are people at pages: what each page asks for.
type readers struct {
	mu     sync.Mutex
	times  map[string]*latencies
	failed atomic.Uint64
}

// pages are requests by the name they have in the report; %s is an agent's id.
var pages = map[string]string{
	"overview":                    "/api/v1/overview",
	"machines, a page of 100":     "/api/v1/agents?limit=100",
	"one machine":                 "/api/v1/agents/%s",
	"a chart of one machine":      "/api/v1/series?metric=load.metric.m00&agent=%s",
	"PromQL: one machine, 1 h":    "/prometheus/api/v1/query_range?query=%s",
	"PromQL: mean of all, now":    "/prometheus/api/v1/query?query=" + url.QueryEscape("avg(load_metric_m00_ratio)"),
	"PromQL: ten highest, now":    "/prometheus/api/v1/query?query=" + url.QueryEscape("topk(10, load_metric_m01_ratio)"),
	"alerts":                      "/api/v1/alerts?limit=50",
	"metrics that there are":      "/api/v1/metrics/names",
	"the server's own, to scrape": "/metrics",
}

func (r *readers) look(ctx context.Context, s *server, fleet []*agent) {
	client := &http.Client{Timeout: 30 * time.Second}
	names := make([]string, 0, len(pages))
	for name := range pages {
		names = append(names, name)
	}
	for sleep(ctx, 500*time.Millisecond+rand.N(time.Second)) {
		name := names[rand.IntN(len(names))]
		path, id := pages[name], fleet[rand.IntN(len(fleet))].id
		switch name {
		case "one machine", "a chart of one machine":
			path = fmt.Sprintf(path, id)
		case "PromQL: one machine, 1 h":
			now := time.Now()
			path = "/prometheus/api/v1/query_range?" + url.Values{"query": {`load_metric_m00_ratio{agent_id="` + id + `"}`}, "step": {"60"},
				"start": {fmt.Sprint(now.Add(-time.Hour).Unix())}, "end": {fmt.Sprint(now.Unix())}}.Encode()
		}
		began := time.Now()
		var out any
		var found struct{ Data struct{ Result []any } }
		if strings.HasPrefix(name, "PromQL") {
			out = &found
		}
		err := s.call(ctx, client, http.MethodGet, path, nil, out)
		if err == nil && out != nil && len(found.Data.Result) == 0 {
			err = errors.New("nothing was found")
		}
		if err != nil && name != "the server's own, to scrape" {
			if ctx.Err() == nil {
				r.failed.Add(1)
			}
			continue
		}
		r.of(name).add(time.Since(began))
	}
}

func (r *readers) of(name string) *latencies {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times[name] == nil {
		r.times[name] = &latencies{}
	}
	return r.times[name]
}

func run(ctx context.Context, o options) (*report, error) {
	if o.Agents <= 0 || o.Agents > 60_000 || o.Series <= 0 || o.Every < time.Second || o.Factor <= 0 {
		return nil, errors.New("there must be 1 to 60,000 agents with a series at least, a second or more between batches, and a positive factor")
	}
	if o.Soak > 0 && (o.Soak < 2*soakSettles || o.Kills > 0) {
		return nil, fmt.Errorf("a soak takes %s or more and nobody is killed in it", 2*soakSettles)
	}
	if err := raiseDescriptors(); err != nil {
		return nil, err
	}
	data := o.Keep
	if data == "" {
		dir, err := os.MkdirTemp("", "picket-load-")
		if err != nil {
			return nil, err
		}
		data = dir
		defer func() {
			_ = os.RemoveAll(dir)
			_ = os.RemoveAll(dir + "-keys")
			_ = os.Remove(dir + ".log")
		}()
	}
	s, err := newServer(ctx, data)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.signal(syscall.SIGKILL) }()
	r := &report{Options: o}
	began := time.Now()
	fleet, err := enrol(ctx, s, o)
	if err != nil {
		return nil, err
	}
	r.Enrolled = time.Since(began)
	err = live(ctx, o, s, fleet, r)
	if stopErr := s.signal(syscall.SIGINT); err == nil {
		err = stopErr
	}
	if err != nil {
		return r, err
	}
	if r.Stored, err = count(context.WithoutCancel(ctx), data, fleet); err != nil {
		return r, err
	}
	if r.Stored.Wrong > 0 {
		return r, fmt.Errorf("samples of %d agents were lost or doubled", r.Stored.Wrong)
	}
	if r.Soak != nil {
		return r, r.Soak.judge()
	}
	return r, nil
}

func enrol(ctx context.Context, s *server, o options) ([]*agent, error) {
	fleet := make([]*agent, o.Agents)
	admin := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range fleet {
		g.Go(func() (err error) {
			fleet[i], err = newAgent(ctx, s, admin, i, o.Series)
			return err
		})
	}
	return fleet, g.Wait()
}

// live lets the fleet and the readers work through the phases.
func live(ctx context.Context, o options, s *server, fleet []*agent, r *report) error {
	work, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var f figures
	var pace atomic.Int64
	pace.Store(1)
	for _, a := range fleet {
		wg.Go(func() { a.work(work, o, &f, &pace) })
	}
	seen := &readers{times: map[string]*latencies{}}
	for range o.Readers {
		wg.Go(func() { seen.look(work, s, fleet) })
	}
	progress("%d agents at work, measured in %s", o.Agents, o.Warm)
	if !sleep(ctx, o.Warm) {
		return ctx.Err()
	}
	m := meter{o: o, s: s, f: &f, seen: seen}
	name := "steady"
	if o.Kills > 0 {
		name = fmt.Sprintf("killed %d times", o.Kills)
	}
	span := o.Duration
	measured, done := context.WithCancel(ctx)
	var watcher errgroup.Group
	if o.Soak > 0 {
		name, span = "soak", o.Soak
		watcher.Go(func() (err error) {
			r.Soak, err = watch(measured, s)
			return err
		})
	}
	x, err := m.measure(ctx, name, span, o.Kills)
	done()
	if err = errors.Join(err, watcher.Wait()); err != nil {
		return err
	}
	r.Kills = o.Kills
	r.Phases = append(r.Phases, x)
	if o.Overload > 0 {
		pace.Store(int64(o.Factor))
		if x, err = m.measure(ctx, fmt.Sprintf("overload, %d ×", o.Factor), o.Overload, 0); err != nil {
			return err
		}
		r.Phases = append(r.Phases, x)
		pace.Store(1)
		if !sleep(ctx, o.Every) {
			return ctx.Err()
		}
		if x, err = m.measure(ctx, "after the overload", o.Duration/2, 0); err != nil {
			return err
		}
		r.Phases = append(r.Phases, x)
	}
	return nil
}

// meter takes the figures of one phase after the other.
type meter struct {
	o    options
	s    *server
	f    *figures
	seen *readers
}

func (m *meter) measure(ctx context.Context, name string, span time.Duration, kills int) (phase, error) {
	m.f.acks.reset()
	for page := range pages {
		m.seen.of(page).reset()
	}
	unseen := m.seen.failed.Load()
	acked, refused, failed := m.f.acked.Load(), m.f.refused.Load(), m.f.failed.Load()
	asked := m.requests()
	before, err := usageOf(m.s.pid())
	if err != nil {
		return phase{}, err
	}
	own, err := usageOf(os.Getpid())
	if err != nil {
		return phase{}, err
	}
	var peak int64
	began := time.Now()
	for killed := 0; time.Since(began) < span; {
		if !sleep(ctx, time.Second) {
			return phase{}, ctx.Err()
		}
		u, err := usageOf(m.s.pid())
		if err != nil {
			return phase{}, fmt.Errorf("picketd has ended; its log is %s", m.s.log.Name())
		}
		peak = max(peak, u.Resident)
		if killed < kills && time.Since(began) > span*time.Duration(killed+1)/time.Duration(kills+1)+rand.N(time.Second) {
			killed++
			_ = m.s.signal(syscall.SIGKILL)
			if err := m.s.start(ctx); err != nil {
				return phase{}, err
			}
			before, _ = usageOf(m.s.pid()) // what a killed one used is lost
		}
		progress("%s: %s of %s, %d batches acknowledged", name, time.Since(began).Round(time.Second), span, m.f.acked.Load()-acked)
	}
	after, err := usageOf(m.s.pid())
	if err != nil {
		return phase{}, err
	}
	self, err := usageOf(os.Getpid())
	if err != nil {
		return phase{}, err
	}
	seconds := time.Since(began).Seconds()
	x := phase{Name: name, Seconds: seconds, Batches: m.f.acked.Load() - acked, Refused: m.f.refused.Load() - refused, Failed: m.f.failed.Load() - failed,
		Acks: m.f.acks.spread(), Pages: map[string]spread{}, Unseen: m.seen.failed.Load() - unseen, CPU: (after.CPU - before.CPU).Seconds() / after.at.Sub(before.at).Seconds(),
		OwnCPU: (self.CPU - own.CPU).Seconds() / seconds, Resident: float64(after.Resident) / 1e6, Peak: float64(peak) / 1e6, Open: after.Descriptors}
	x.Samples = float64(x.Batches) * float64(m.o.Series) / seconds
	x.Requests = float64(m.requests()-asked) / seconds
	for page := range pages {
		if s := m.seen.of(page).spread(); s.Count > 0 {
			x.Pages[page] = s
		}
	}
	return x, nil
}

func (m *meter) requests() uint64 {
	return m.f.acked.Load() + m.f.repeated.Load() + m.f.polls.Load() + m.f.reports.Load()
}

// raiseDescriptors lets this program and the server it starts have a connection for each agent's poll and batch.
func raiseDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	const enough = 100_000
	limit.Cur = max(limit.Max, enough)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit.Cur, Max: limit.Cur}); err == nil {
		return nil
	}
	limit.Cur = limit.Max // only root may raise that
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

func progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}
