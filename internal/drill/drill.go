//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

type options struct {
	Runs     int      `json:"runs"`
	Seed     uint64   `json:"seed"`
	Parallel int      `json:"parallel"`
	Programs string   `json:"-"`
	Tools    []string `json:"tools"`
}

// run is what came of one attack.
type run struct {
	Tool      string     `json:"tool"`
	Number    int        `json:"number"`
	What      []string   `json:"what"`
	Network   string     `json:"network"`
	Deadline  float64    `json:"deadline_seconds"`
	Finding   float64    `json:"finding_seconds,omitempty"`  // from the beginning of the attack to the alert on the server; 0 is never
	Incident  float64    `json:"incident_seconds,omitempty"` // to the incident that has it
	Delay     float64    `json:"delay_seconds,omitempty"`    // from the packet that the first finding ends with to the alert
	Replayed  bool       `json:"replayed"`                   // picket replay finds the same again on the agent's machine
	Quick     bool       `json:"quick,omitempty"`
	Incidents []incident `json:"incidents"` // all that name its network, at the end
	Problem   string     `json:"problem,omitempty"`
	Said      []string   `json:"said,omitempty"` // by the programs of a run in which nothing was found
}

type incident struct {
	ID, Title string
	Severity  string
	Alerts    []alert
	Entities  []struct{ Host string } `json:"entities"`
}

type alert struct {
	ID, Detector, Rule, Severity, Src, Dst string
	LastSeen                               time.Time `json:"last_seen"`
	Title                                  string    `json:"title"`
}

// report is what all runs came to.
type report struct {
	Options options    `json:"options"`
	Machine string     `json:"machine"`
	Seconds float64    `json:"seconds"`
	Tools   []line     `json:"by_tool"`
	Runs    []run      `json:"runs"`
	Strays  []string   `json:"strays,omitempty"` // incidents that belong to no run
	Dropped uint64     `json:"packets_dropped"`
	Missed  uint64     `json:"records_not_shown"`
	Delay   [3]float64 `json:"packet_to_alert_seconds"`
}

// line of the table: of one tool, seconds as median, of 95 in 100, most.
type line struct {
	Tool     string     `json:"tool"`
	Runs     int        `json:"runs"`
	Detected int        `json:"detected"`
	InTime   int        `json:"in_time"`
	One      int        `json:"one_incident"`
	Replayed int        `json:"replayed"`
	Wrong    int        `json:"wrong_incidents"`
	Finding  [3]float64 `json:"finding_seconds"`
	Incident [3]float64 `json:"incident_seconds"`
}

// drill plays everything.
func drill(ctx context.Context, o options) (*report, error) {
	for _, name := range []string{"picketd", "picket-agent"} {
		if _, err := os.Stat(filepath.Join(o.Programs, name)); err != nil {
			return nil, fmt.Errorf("%w: run make build, or name the folder with -programs", err)
		}
	}
	fmt.Printf("seed %d\n", o.Seed)
	began := time.Now()
	s, err := newSite(ctx, o.Programs)
	if s != nil {
		defer s.close()
	}
	if err != nil {
		return nil, err
	}
	fmt.Printf("ready after %.0f s\n", time.Since(began).Seconds())
	watching, stop := context.WithCancel(ctx)
	w := &watch{site: s, seen: map[string]time.Time{}}
	w.look() // what the server has by itself is of no run
	w.alerts, w.incidents = nil, nil
	var watcher sync.WaitGroup
	watcher.Go(func() { w.run(watching) })
	r := &report{Options: o, Machine: machine()}
	r.Runs = play(ctx, o, s, w)
	r.Seconds = time.Since(began).Seconds()
	stop()
	watcher.Wait()
	return r, r.settle(s, w)
}

// play lets the runs go on in an order by chance, some at a time.
func play(ctx context.Context, o options, s *site, w *watch) []run {
	order := rand.New(rand.NewPCG(o.Seed, 0)) //nolint:gosec // the same seed gives the same runs
	var queue []string
	for range o.Runs {
		queue = append(queue, o.Tools...)
	}
	order.Shuffle(len(queue), func(i, k int) { queue[i], queue[k] = queue[k], queue[i] })
	var (
		done  []run
		mu    sync.Mutex // guards done
		all   sync.WaitGroup
		alone [lanes]sync.Mutex
		free  = make(chan struct{}, o.Parallel)
	)
	for i, name := range queue {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-free }()
			if find(name).alone {
				alone[i%lanes].Lock()
				defer alone[i%lanes].Unlock()
			}
			one := s.play(ctx, find(name), i, rand.New(rand.NewPCG(o.Seed, uint64(i+1))), w) //nolint:gosec // see above
			if ctx.Err() != nil {
				return // it was not played to its end
			}
			mu.Lock()
			defer mu.Unlock()
			done = append(done, one)
			fmt.Println(one)
		})
	}
	all.Wait()
	slices.SortFunc(done, func(a, b run) int { return a.Number - b.Number })
	return done
}

// settleTime is how long is waited for more incidents once an attack is over and found: longer than flows wait for stragglers.
const settleTime = 12 * time.Second

// play is one run: a network, perhaps somebody at work in it, the attack, and what comes of it.
func (s *site) play(ctx context.Context, t *tool, number int, random *rand.Rand, w *watch) (r run) {
	r = run{Tool: t.name, Number: number}
	n, err := s.network(number, random)
	if n != nil {
		defer n.clear()
	}
	if err == nil {
		r.Network = strings.TrimSuffix(n.addr("gateway"), ".1")
		if random.IntN(2) == 0 && !t.alone {
			if err = n.ordinary(); err == nil {
				n.note("others at work")
			}
		}
	}
	if err == nil {
		err = t.play(n)
	}
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	over := time.Now()
	r.What, r.Quick = n.what, n.quick
	r.Deadline = n.due.Sub(n.began).Seconds()
	late := n.due.Add(30 * time.Second) // what comes too late is told apart from what never comes
	for time.Now().Before(late) || time.Since(over) < settleTime {
		if a := w.first(n); a != nil && r.Finding == 0 {
			r.Finding = a.at.Sub(n.began).Seconds()
			r.Delay = a.at.Sub(a.LastSeen).Seconds()
		}
		if at := w.incident(n); !at.IsZero() && r.Incident == 0 {
			r.Incident = at.Sub(n.began).Seconds()
		}
		if r.Incident > 0 && time.Since(over) > settleTime || !pause(ctx, 250*time.Millisecond) {
			break
		}
	}
	r.Incidents = w.of(n)
	if a := w.first(n); a != nil {
		r.Replayed = s.replayed(a.ID)
	}
	if r.Finding == 0 {
		for _, p := range n.started {
			r.Said = append(r.Said, p.said())
		}
	}
	return r
}

// ok reports whether the attack was found in time as one incident.
func (r run) ok() bool { return r.Problem == "" && r.inTime() && len(r.Incidents) == 1 }

func (r run) inTime() bool { return r.Finding > 0 && r.Finding <= r.Deadline }

func (r run) String() string {
	mark := "ok  "
	if !r.ok() {
		mark = "FAIL"
	}
	text := fmt.Sprintf("%s %-9s %3d %-10s found %5.1f s (of %.0f), incident %5.1f s; %s %s", mark, r.Tool, r.Number, r.Network, r.Finding, r.Deadline, r.Incident,
		strings.Join(r.What, "; "), r.Problem)
	if len(r.Incidents) != 1 {
		for _, i := range r.Incidents {
			text += "\n       " + i.String()
		}
	}
	return text
}

func (i incident) String() string {
	text := i.Severity + ": " + i.Title
	for _, a := range i.Alerts {
		text += fmt.Sprintf("\n           %s/%s %s %s -> %s: %s", a.Detector, a.Rule, a.Severity, a.Src, a.Dst, a.Title)
	}
	return text
}

// watch notes when alerts and incidents are there.
type watch struct {
	*site
	mu        sync.Mutex // guards what follows
	seen      map[string]time.Time
	alerts    []seenAlert
	incidents []incident
}

type seenAlert struct {
	alert
	at time.Time
}

const watchEvery = 250 * time.Millisecond

func (w *watch) run(ctx context.Context) {
	for pause(ctx, watchEvery) {
		w.look()
	}
}

// look asks for what is new. Two hundred alerts and incidents are more than come between two looks.
func (w *watch) look() {
	var alerts struct{ Items []alert }
	var incidents struct{ Items []incident }
	if w.get("/api/v1/alerts?limit=200", &alerts) != nil {
		return // the next look tells
	}
	at := time.Now()
	if w.get("/api/v1/incidents?limit=200", &incidents) != nil {
		return
	}
	then := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range alerts.Items {
		if w.seen[a.ID].IsZero() {
			w.seen[a.ID] = at
			w.alerts = append(w.alerts, seenAlert{alert: a, at: at})
		}
	}
	for _, i := range incidents.Items {
		if w.seen[i.ID].IsZero() {
			w.seen[i.ID] = then
			w.incidents = append(w.incidents, i)
		}
	}
}

// first is the first alert of those that a run must raise.
func (w *watch) first(n *network) *seenAlert {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, a := range w.alerts {
		if !a.at.Before(n.began) && slices.Contains(n.find, strings.TrimPrefix(a.Detector, "picket/")) && (n.mine(a.Src) || n.mine(a.Dst)) {
			return &w.alerts[i]
		}
	}
	return nil
}

// incident says when a run's first incident was there.
func (w *watch) incident(n *network) (at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.incidents {
		if i.names(n) {
			return w.seen[i.ID]
		}
	}
	return at
}

func (i incident) names(n *network) bool {
	return slices.ContainsFunc(i.Entities, func(e struct{ Host string }) bool { return n.mine(e.Host) })
}

// of are the incidents of a run as they are now, with their alerts. Those that became part of another are answered by it.
func (w *watch) of(n *network) []incident {
	w.mu.Lock()
	known := slices.Clone(w.incidents)
	w.mu.Unlock()
	out := []incident{}
	for _, i := range known {
		if !i.names(n) {
			continue
		}
		var now incident
		if err := w.get("/api/v1/incidents/"+url.PathEscape(i.ID), &now); err != nil {
			now = i
		}
		if !slices.ContainsFunc(out, func(o incident) bool { return o.ID == now.ID }) {
			out = append(out, now)
		}
	}
	return out
}

// settle adds up.
func (r *report) settle(s *site, w *watch) error {
	var delays []float64
	for _, name := range r.Options.Tools {
		l := line{Tool: name}
		var finding, incidents []float64
		for _, one := range r.Runs {
			if one.Tool != name {
				continue
			}
			l.Runs++
			if one.Finding > 0 {
				l.Detected++
				finding = append(finding, one.Finding)
			}
			if one.Incident > 0 {
				incidents = append(incidents, one.Incident)
			}
			if one.inTime() {
				l.InTime++
			}
			if one.Finding > 0 && len(one.Incidents) == 1 {
				l.One++
			}
			if one.Replayed {
				l.Replayed++
			}
			l.Wrong += max(0, len(one.Incidents)-1)
			if one.Quick && one.Finding > 0 {
				delays = append(delays, one.Delay)
			}
		}
		l.Finding, l.Incident = spread(finding), spread(incidents)
		r.Tools = append(r.Tools, l)
	}
	r.Delay = spread(delays)
	for _, i := range w.incidents {
		if !slices.ContainsFunc(r.Runs, func(one run) bool {
			return slices.ContainsFunc(one.Incidents, func(known incident) bool { return known.ID == i.ID })
		}) {
			r.Strays = append(r.Strays, i.Severity+": "+i.Title)
		}
	}
	st, err := s.status()
	for _, c := range st.Captures {
		r.Dropped += c.Dropped
	}
	for _, d := range st.Detections {
		r.Missed += d.Missed
	}
	return err
}

// spread is the median, the value that 95 in 100 do not exceed, and the largest.
func spread(values []float64) (s [3]float64) {
	slices.Sort(values)
	if n := len(values); n > 0 {
		s = [3]float64{values[(n-1)/2], values[(n*95+99)/100-1], values[n-1]}
	}
	return s
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%-10s %5s %9s %8s %13s %6s %9s   %-22s %s\n", "tool", "runs", "detected", "in time", "one incident", "wrong", "replayed", "seconds to finding", "to incident (p50 p95 max)")
	for _, l := range r.Tools {
		fmt.Fprintf(w, "%-10s %5d %9d %8d %13d %6d %9d   %6.1f %6.1f %6.1f   %6.1f %6.1f %6.1f\n", l.Tool, l.Runs, l.Detected, l.InTime, l.One, l.Wrong, l.Replayed,
			l.Finding[0], l.Finding[1], l.Finding[2], l.Incident[0], l.Incident[1], l.Incident[2])
	}
	fmt.Fprintf(w, "from a packet to the alert, of rules that need one: p50 %.2f s, p95 %.2f s, most %.2f s\n", r.Delay[0], r.Delay[1], r.Delay[2])
	fmt.Fprintf(w, "%d packets were dropped, %d records not shown to a detector; %.0f s on %s; seed %d\n", r.Dropped, r.Missed, r.Seconds, r.Machine, r.Options.Seed)
	for _, stray := range r.Strays {
		fmt.Fprintf(w, "an incident of no run: %s\n", stray)
	}
}

// verdict is nil when every attack was found in time and became one incident, and nothing else did.
func (r *report) verdict() error {
	var problems []error
	for _, one := range r.Runs {
		if !one.ok() {
			problems = append(problems, fmt.Errorf("run %d, %s", one.Number, one.Tool))
		}
	}
	for _, stray := range r.Strays {
		problems = append(problems, fmt.Errorf("an incident of no run: %s", stray))
	}
	return errors.Join(problems...)
}

// machine names the processor and the kernel.
func machine() string {
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	model, count := "", 0
	for l := range strings.Lines(string(cpu)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
			model, count = strings.TrimSpace(v), count+1
		}
	}
	return fmt.Sprintf("%d × %s, Linux %s", count, model, strings.TrimSpace(string(kernel)))
}
