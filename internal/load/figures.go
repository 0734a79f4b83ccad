//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// latencies are times of answers, all of them.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	l.all = append(l.all, d)
	l.mu.Unlock()
}

func (l *latencies) reset() {
	l.mu.Lock()
	l.all = l.all[:0]
	l.mu.Unlock()
}

// spread is the middle and the far end of some times.
type spread struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	Most  float64 `json:"max_ms"`
}

func (l *latencies) spread() spread {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return spread{}
	}
	slices.Sort(l.all)
	at := func(share float64) float64 {
		return float64(l.all[min(len(l.all)-1, int(share*float64(len(l.all))))].Microseconds()) / 1000
	}
	return spread{len(l.all), at(0.5), at(0.95), at(1)}
}

// phase is what was seen in one stretch of time.
type phase struct {
	Name     string            `json:"name"`
	Seconds  float64           `json:"seconds"`
	Batches  uint64            `json:"batches"`
	Samples  float64           `json:"samples_per_second"`
	Refused  uint64            `json:"refused"` // 429 and 503
	Failed   uint64            `json:"failed"`
	Requests float64           `json:"requests_per_second"` // of agents
	Acks     spread            `json:"acknowledgements"`
	Pages    map[string]spread `json:"pages"`
	Unseen   uint64            `json:"pages_failed"`
	CPU      float64           `json:"cores"` // of the server
	OwnCPU   float64           `json:"own_cores"`
	Resident float64           `json:"resident_mb"`
	Peak     float64           `json:"peak_mb"`
	Open     int               `json:"descriptors"`
}

// report is all of it.
type report struct {
	Options  options       `json:"options"`
	Enrolled time.Duration `json:"enrolled_ns"`
	Phases   []phase       `json:"phases"`
	Kills    int           `json:"kills"`
	Soak     *soak         `json:"soak,omitempty"`
	Stored   stored        `json:"stored"`
}

func (r *report) print(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format, args...) }
	p("%d agents, %d series each, every %s; enrolled in %s\n", r.Options.Agents, r.Options.Series, r.Options.Every, r.Enrolled.Round(time.Second))
	for _, x := range r.Phases {
		p("\n%s, %.0f s\n", x.Name, x.Seconds)
		p("  samples acknowledged            %10.0f /s in %d batches\n", x.Samples, x.Batches)
		p("  requests of agents              %10.0f /s, %d refused for now, %d failed\n", x.Requests, x.Refused, x.Failed)
		p("  acknowledgement                 %10.1f ms p50, %.1f p95, %.1f at most\n", x.Acks.P50, x.Acks.P95, x.Acks.Most)
		for _, name := range sorted(x.Pages) {
			s := x.Pages[name]
			p("  %-32s%10.1f ms p50, %.1f p95, %.1f at most (%d)\n", name, s.P50, s.P95, s.Most, s.Count)
		}
		if x.Unseen > 0 {
			p("  pages that failed or were empty %10d\n", x.Unseen)
		}
		p("  picketd                         %10.2f cores, %.0f MB resident, %.0f at most, %d descriptors\n", x.CPU, x.Resident, x.Peak, x.Open)
		p("  this program                    %10.2f cores\n", x.OwnCPU)
	}
	if r.Soak != nil {
		p("\n")
		r.Soak.print(w)
	}
	s := r.Stored
	p("\nstored: %d samples, %d were acknowledged; %.2f bytes each; %d agents with lost or doubled ones\n", s.Samples, s.Acknowledged,
		float64(s.Bytes)/float64(max(1, s.Samples)), s.Wrong)
	for _, problem := range s.Problems {
		p("  %s\n", problem)
	}
}

func sorted(m map[string]spread) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
