package process

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/process") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/process"), sdktest.Options{})
}

type clock struct {
	sdk.Host
	now time.Time
}

func (c *clock) Now() time.Time { return c.now }

// recorder gathers samples by "metric{name,state}" or "metric{name}".
type recorder map[string]sdk.Sample

func (r recorder) Sample(s sdk.Sample) error {
	key := s.Metric + "{" + s.Labels["process.executable.name"]
	if pid := s.Labels["process.pid"]; pid != "" {
		key += "," + pid
	}
	if s.Metric == "system.process.count" {
		key += s.Labels["process.state"]
	}
	if _, twice := r[key+"}"]; twice {
		return fmt.Errorf("%s was emitted twice", key)
	}
	r[key+"}"] = s
	return nil
}

// world is a table of processes that a test writes.
type world struct {
	t       *testing.T
	c       *Collector
	clk     *clock
	now     float64
	running []process
}

func newWorld(t *testing.T, config string, first ...process) *world {
	t.Helper()
	c := New()
	plugintest.Configure(t, c, config)
	w := &world{t: t, c: c, clk: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, now: 1000, running: first}
	c.now = w.clk.Now
	c.watched = make([]watch, len(c.config.Watched))
	c.room = float64(2 * c.config.Top)
	w.c.learn(t.Context(), w.table())
	return w
}

func (w *world) table() table {
	return table{now: w.now, cpus: 2, created: 77, processes: slices.Clone(w.running)}
}

// after lets seconds pass and collects.
func (w *world) after(seconds float64) recorder {
	w.t.Helper()
	w.now += seconds
	w.clk.now = w.clk.now.Add(time.Duration(seconds * float64(time.Second)))
	tab := w.table()
	w.c.learn(w.t.Context(), tab)
	w.c.list(tab)
	got := recorder{}
	out := emitter{sink: got, now: w.clk.now}
	w.c.emitCounts(tab, &out)
	w.c.emitListed(w.t.Context(), tab, &out)
	w.c.emitWatched(tab, &out)
	if out.err != nil {
		w.t.Fatal(out.err)
	}
	return got
}

func (r recorder) want(t *testing.T, key string, value float64) {
	t.Helper()
	if s, ok := r[key]; !ok || math.Abs(s.Value-value) > 1e-9 {
		t.Errorf("%s = %v (there: %v), want %v", key, s.Value, ok, value)
	}
}

func (r recorder) lacks(t *testing.T, key string) {
	t.Helper()
	if s, ok := r[key]; ok {
		t.Errorf("%s = %v, want none", key, s.Value)
	}
}

func TestListed(t *testing.T) {
	busy := process{pid: 1 << 30, started: 10, name: "busy", state: "running", memory: 100}
	large := process{pid: 1<<30 + 1, started: 10, name: "large", state: "sleeping", memory: 9000}
	idle := process{pid: 1<<30 + 2, started: 10, name: "idle", state: "defunct", memory: 50}
	w := newWorld(t, `{"top": 1}`, busy, large, idle)
	w.running[0].cpu += 10
	got := w.after(10)
	got.want(t, "process.cpu.utilization{busy,1073741824}", 0.5) // one of two processors
	got.want(t, "process.memory.usage{large,1073741825}", 9000)
	got.want(t, "process.uptime{large,1073741825}", 1000)
	got.lacks(t, "process.memory.usage{idle,1073741826}")
	got.want(t, "system.process.count{running}", 1)
	got.want(t, "system.process.count{defunct}", 1)
	got.want(t, "system.process.count{stopped}", 0)
	got.want(t, "system.process.created{}", 77)
	if s := got["process.uptime{busy,1073741824}"]; s.Labels["process.state"] != "running" {
		t.Errorf("%+v", s)
	}
}

func TestNewNameIsNoNewSeries(t *testing.T) {
	w := newWorld(t, `{}`,
		process{pid: 1 << 30, started: 10, name: "kworker/0:1-mm", memory: 100},
		process{pid: 1<<30 + 1, started: 10, name: "waits", memory: 100})
	for _, names := range [][2]string{{"kworker/0:1-mm", "waits"}, {"kworker/0:1+fs", "works"}} {
		w.running[0].name, w.running[1].name = names[0], names[1]
		got := w.after(10)
		got.want(t, "process.memory.usage{kworker,1073741824}", 100)
		got.want(t, "process.memory.usage{waits,1073741825}", 100)
	}
	kept := w.running
	w.running = nil
	w.after(10)
	w.running = kept
	w.after(10).want(t, "process.memory.usage{works,1073741825}", 100)
}

func TestListChangesSlowly(t *testing.T) {
	w := newWorld(t, `{"top": 2}`)
	add := func(pid int, memory float64) {
		w.running = append(w.running, process{pid: 1<<30 + pid, started: w.now, name: "job", memory: memory})
	}
	add(0, 10)
	if got := w.after(30); len(got) != 5 {
		t.Errorf("one that is half a minute old is listed: %v", got)
	}
	w.after(31).want(t, "process.memory.usage{job,1073741824}", 10)
	// Crowds that come: of each, no more than two a minute are new, beyond the room that was there.
	all := map[string]bool{}
	const minutes = 30
	for minute := range minutes {
		w.running = w.running[:1]
		for i := range 5 {
			add(10*minute+i+1, float64(1000*minute+i))
			w.running[len(w.running)-1].started = w.now - 100
		}
		for key := range w.after(60) {
			all[key] = strings.HasPrefix(key, "process.memory.usage")
		}
	}
	listed := 0
	for _, process := range all {
		if process {
			listed++
		}
	}
	if listed < minutes || listed > newcomers*minutes+4 {
		t.Errorf("%d processes were listed in %d minutes", listed, minutes)
	}
}

func TestListedStaysNearTheTop(t *testing.T) {
	one, two := process{pid: 1 << 30, name: "one", memory: 100}, process{pid: 1<<30 + 1, name: "two", memory: 99}
	w := newWorld(t, `{"top": 1}`, one, two)
	w.after(10).want(t, "process.memory.usage{one,1073741824}", 100)
	w.running[1].memory = 101 // a little more than the listed one
	got := w.after(10)
	got.want(t, "process.memory.usage{one,1073741824}", 100)
}

func TestWatched(t *testing.T) {
	web := process{pid: 1 << 30, started: 10, name: "web", state: "sleeping", memory: 5}
	worker := process{pid: 1<<30 + 1, started: 20, name: "web", state: "sleeping", memory: 7}
	w := newWorld(t, `{"top": 0, "watched": ["web", "absent"]}`, web, worker)
	got := w.after(10)
	got.want(t, "process.watched.count{web}", 2)
	got.want(t, "process.watched.memory.usage{web}", 12)
	got.want(t, "process.watched.uptime{web}", 1000)
	got.want(t, "process.watched.restarts{web}", 0)
	got.want(t, "process.watched.count{absent}", 0)
	got.want(t, "process.watched.restarts{absent}", 0)
	got.lacks(t, "process.watched.uptime{absent}")

	w.running[1].started, w.running[1].pid = w.now, 1<<30+2 // a worker is replaced
	w.after(10).want(t, "process.watched.restarts{web}", 0)

	w.running = []process{{pid: 1 << 30, started: w.now + 1, name: "web"}} // the whole program, within one interval, under the same number
	got = w.after(10)
	got.want(t, "process.watched.restarts{web}", 1)
	got.want(t, "process.watched.count{web}", 1)

	w.running = nil
	got = w.after(10)
	got.want(t, "process.watched.count{web}", 0)
	got.want(t, "process.watched.restarts{web}", 1)
	got.lacks(t, "process.watched.memory.usage{web}")

	w.running = []process{{pid: 1 << 30, started: w.now + 1, name: "web"}, {pid: 1<<30 + 5, started: 1, name: "web", state: "defunct"}}
	got = w.after(10)
	got.want(t, "process.watched.restarts{web}", 2)
	got.want(t, "process.watched.count{web}", 1)
}

func TestNumberGivenAgain(t *testing.T) {
	w := newWorld(t, `{"top": 1}`, process{pid: 1 << 30, started: 10, name: "old", cpu: 50, memory: 1})
	w.after(10)
	w.running = []process{{pid: 1 << 30, started: 900, name: "new", cpu: 3, memory: 1}}
	got := w.after(10)
	got.lacks(t, "process.cpu.utilization{new,1073741824}") // what it used since when is not known
	got.lacks(t, "process.cpu.utilization{old,1073741824}")
	w.running[0].cpu += 2
	w.after(10).want(t, "process.cpu.utilization{new,1073741824}", 0.1)
	if len(w.c.known) != 1 {
		t.Errorf("%d are remembered", len(w.c.known))
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{"top": 51}`, `{"watched": [""]}`, `{"watched": [" a"]}`, `{"watched": ["a", "a"]}`, `{"watched": ["` + strings.Repeat("a", 201) + `"]}`, `{"commands": true}`,
	} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func TestSinkErrorEndsTheCollection(t *testing.T) {
	w := newWorld(t, `{}`)
	full := errors.New("full")
	out := emitter{sink: refuse{full}}
	w.c.emitCounts(w.table(), &out)
	if !errors.Is(out.err, full) {
		t.Error(out.err)
	}
}

type refuse struct{ err error }

func (r refuse) Sample(sdk.Sample) error { return r.err }

// What is emitted is declared in the manifest and told in the README, with the attributes that the conventions have.
func TestMetricsAreDeclared(t *testing.T) {
	const counts, one, watched = "process.state", "process.executable.name process.pid process.user.id", "process.executable.name"
	conventions := map[string]struct {
		unit, attributes string
		kind             sdk.MetricType
	}{
		"system.process.count":            {"{process}", counts, sdk.Gauge},
		"system.process.created":          {"{process}", "", sdk.Counter},
		"process.cpu.utilization":         {"1", one, sdk.Gauge},
		"process.memory.usage":            {"By", one, sdk.Gauge},
		"process.uptime":                  {"s", one + " " + counts, sdk.Gauge},
		"process.watched.count":           {"{process}", watched, sdk.Gauge},
		"process.watched.cpu.utilization": {"1", watched, sdk.Gauge},
		"process.watched.memory.usage":    {"By", watched, sdk.Gauge},
		"process.watched.uptime":          {"s", watched, sdk.Gauge},
		"process.watched.restarts":        {"{restart}", watched, sdk.Counter},
	}
	declared := plugintest.ReadManifest(t).Metrics
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, `{"watched": ["web"]}`, process{pid: os.Getpid(), started: 10, name: "web", state: "running", memory: 5})
	w.running[0].cpu++
	emitted := map[string]bool{}
	for key, s := range w.after(10) {
		emitted[s.Metric] = true
		var names []string
		for name := range s.Labels {
			if name == "process.owner" { // outside Linux
				name = "process.user.id"
			}
			names = append(names, name)
		}
		slices.Sort(names)
		want := conventions[s.Metric]
		attributes := strings.Fields(want.attributes)
		slices.Sort(attributes)
		if s.Unit != want.unit || s.Type != want.kind || !slices.Equal(names, attributes) {
			t.Errorf("%s: %s, %s, %q; want %+v", key, s.Unit, s.Type, names, want)
		}
		if !slices.Contains(declared, s.Metric) || !strings.Contains(string(readme), "`"+s.Metric+"`") {
			t.Errorf("%s is not in plugin.yaml, or not in README.md", s.Metric)
		}
	}
	if len(emitted) != len(declared) || len(emitted) != len(conventions) {
		t.Errorf("%d emitted, %d declared, %d known", len(emitted), len(declared), len(conventions))
	}
}
