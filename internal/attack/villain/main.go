// Command villain is a plugin that tries what no plugin may do, for the tests of package attack. Each attack is tried by
// every means that we could think of, and what became of each is told as a sample. Called with "naked ATTACK ARGUMENTS"
// it does the same as a program like any other, with nothing around it, which shows that the attack works at all.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/serve"
)

// attempt is one means and what became of it.
type attempt struct {
	Means string `json:"means"`
	OK    bool   `json:"ok"`
	Value string `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

// job is an attack at work.
type job struct {
	args map[string]string
	host sdk.Host // nil when naked
	sink func(sdk.Sample) error

	mu       sync.Mutex // guards attempts
	attempts []attempt
}

// try notes what became of one means. A means that does not come back in time is stopped.
func (j *job) try(means string, do func() (string, error)) { j.within(patience, means, do) }

// work is try for a means that takes the processor: with nothing around it, it is waited for however busy the machine is.
func (j *job) work(means string, do func() (string, error)) {
	if j.host == nil {
		j.within(time.Minute, means, do)
		return
	}
	j.try(means, do)
}

func (j *job) within(limit time.Duration, means string, do func() (string, error)) {
	type outcome struct {
		value string
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := do()
		done <- outcome{value, err}
	}()
	a := attempt{Means: means}
	select {
	case o := <-done:
		a.OK, a.Value = o.err == nil, o.value
		if o.err != nil {
			a.Error = o.err.Error()
		}
	case <-time.After(limit):
		a.Error = "nothing happened"
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.attempts = append(j.attempts, a)
}

// noHost stands for the host that a traffic worker does not have: nothing can be asked of it.
type noHost struct{ sdk.Host }

// asHost tries something that only a plugin can ask.
func (j *job) asHost(means string, do func(sdk.Host) (string, error)) {
	if _, none := j.host.(noHost); j.host != nil && !none {
		j.try("host: "+means, func() (string, error) { return do(j.host) })
	}
}

func (j *job) number(name string) int {
	var n int
	if _, err := fmt.Sscan(j.args[name], &n); err != nil {
		return 0
	}
	return n
}

const patience = 1500 * time.Millisecond

// attacks by name; each file adds its own.
var attacks = map[string]func(*job){}

func add(list map[string]func(*job)) {
	for name, do := range list {
		attacks[name] = do
	}
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "naked" {
		naked(os.Args[2], strings.Join(os.Args[3:], ""))
		return
	}
	if runtime.GOOS == "wasip1" {
		serve.Main()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "--capture-fd" {
		go beWorker()
	} else {
		begin()
		go serve.Main()
	}
	for do := range onMainThread {
		do()
	}
}

// onMainThread takes what must be done by the first thread of the process: some of what the kernel keeps is of a thread.
var onMainThread = make(chan func())

func init() { runtime.LockOSThread() }

func naked(name, args string) {
	j := &job{sink: func(sdk.Sample) error { return nil }}
	if args != "" {
		if err := json.Unmarshal([]byte(args), &j.args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	do, ok := attacks[name]
	if !ok {
		fmt.Fprintln(os.Stderr, "no attack", name)
		os.Exit(2)
	}
	do(j)
	for _, a := range j.attempts {
		line, _ := json.Marshal(a) // strings and a bool
		fmt.Println(string(line))
	}
}

func init() {
	sdk.Register(sdk.Plugin{ID: "attack/villain", Kind: sdk.KindCollector, Summary: "Attacks.", New: func() sdk.Instance { return &villain{} }})
	sdk.Register(sdk.Plugin{ID: "attack/villain-detector", Kind: sdk.KindDetector, Summary: "Attacks.",
		Subscription: sdk.Subscription{Flows: true},
		Rules:        []sdk.Rule{{ID: "any", Purpose: "Nothing.", Severity: sdk.SeverityInfo}},
		New:          func() sdk.Instance { return &detector{} }})
	sdk.Register(sdk.Plugin{ID: "attack/neighbour", Kind: sdk.KindCollector, Summary: "Works.", New: func() sdk.Instance { return &neighbour{} }})
}

type settings struct {
	Attack string `json:"attack" doc:"What to try."`
	Args   string `json:"args" doc:"Its arguments, a JSON object of strings."`
}

// job makes one from the settings.
func (c settings) job(h sdk.Host, sink func(sdk.Sample) error) (*job, error) {
	j := &job{host: h, sink: sink}
	if c.Args != "" {
		if err := json.Unmarshal([]byte(c.Args), &j.args); err != nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "args: %w", err)
		}
	}
	return j, nil
}

// villain does its attack at Collect, unless the name says otherwise.
type villain struct {
	cfg  settings
	host sdk.Host
}

func (v *villain) Config() any { return &v.cfg }

func (v *villain) Start(_ context.Context, h sdk.Host) error {
	v.host = h
	return nil
}

func (v *villain) Stop(context.Context) error {
	if v.cfg.Attack == "loop-stop" {
		loop()
	}
	if v.cfg.Attack == "ignore-sigterm" {
		select {}
	}
	return nil
}

func (v *villain) Collect(_ context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	do, ok := attacks[v.cfg.Attack]
	if !ok {
		return sdk.Errorf(sdk.Unsupported, "no attack %q", v.cfg.Attack)
	}
	j, err := v.cfg.job(v.host, sink.Sample)
	if err != nil {
		return err
	}
	do(j)
	for _, a := range j.attempts {
		s := sdk.Sample{Metric: "attack.attempt", Type: sdk.Gauge, Time: time.Now(), Labels: map[string]string{"means": a.Means, "value": short(a.Value), "error": short(a.Error)}}
		if a.OK {
			s.Value = 1
		}
		if err := sink.Sample(s); err != nil {
			return err
		}
	}
	return nil
}

// short makes a text fit for a label.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 120)]
}

// detector attacks with what it answers.
type detector struct {
	cfg  settings
	kept int
}

func (d *detector) Config() any { return &d.cfg }

func (d *detector) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	if d.cfg.Attack == "loop-inspect" {
		loop()
	}
	if d.cfg.Attack == "oversized-answer" {
		answerByHand()
	}
	d.kept += len(b.Flows)
	f := sdk.Finding{Rule: "any", Detector: "picket/trusted", Severity: sdk.SeverityInfo, Summary: "I am somebody else."}
	n := 1
	if d.cfg.Attack == "oversized-result" {
		n, f.Summary = 200, strings.Repeat("x", 1<<20)
	}
	for range n {
		if err := sink.Finding(f); err != nil {
			return err
		}
	}
	return nil
}

func (d *detector) Flush(context.Context, sdk.FindingSink) error { return nil }

// neighbour is honest: it does a little work and counts.
type neighbour struct {
	cfg   settings
	count int
}

func (n *neighbour) Config() any { return &n.cfg }

func (n *neighbour) Collect(_ context.Context, r sdk.CollectRequest, sink sdk.SampleSink) error {
	n.count++
	work := slices.Repeat([]int{n.count}, 1000)
	slices.Sort(work)
	return sink.Sample(sdk.Sample{Metric: "neighbour.count", Type: sdk.Counter, Time: r.Time, Value: float64(work[0])})
}

func loop() {
	for n := uint64(1); n != 0; n += 2 { // never 0
	}
}
