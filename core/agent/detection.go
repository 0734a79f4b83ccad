package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/findingbatch"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/core/services/discover"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	// detectionLook is how often it is asked who wants to see what; what changed must have stayed so for two looks.
	detectionLook = time.Second
	// detectionTurn is how long detectors remember at most: then they say what they hold and begin anew. It is as long as
	// the longest time within which one of ours counts.
	detectionTurn = 6 * time.Hour
)

// detection shows what one interface carries to the instances of detectors and observers that are its own.
type detection struct {
	readers func() ([]detect.Detector, []detect.Observer)
	share   detect.Share
	found   func(traffic.Run, sdk.Finding) error
	prove   func(run, id string, f sdk.Finding) // has the packets sent that a finding rests on
	sighted detect.Sighted
	renew   func() // the worker must be asked for something else
	agent   string // its id
	log     *slog.Logger
	ctx     context.Context // of the readers, which say what they hold after the capture has ended
	give    context.CancelFunc

	mu      sync.Mutex // guards what follows
	worker  traffic.Run
	run     *detect.Run // nil between two workers
	began   time.Time
	plan    string // of run
	next    string // what was seen at the last look
	wanted  traffic.Wanted
	last    chan struct{}             // is closed when the run before is over
	ending  []*detect.Run             // runs that are not quite over
	before  map[string]detect.Figures // of runs that are over
	closing sync.WaitGroup
}

// newDetection makes the detection of the live capture with this number.
func (a *Agent) newDetection(capture int, live *traffic.Live) *detection {
	d := &detection{
		readers: func() ([]detect.Detector, []detect.Observer) {
			return granted[detect.Detector](judgesOf(a.plugins, capture, a.host.Detectors())),
				granted[detect.Observer](judgesOf(a.plugins, capture, a.host.Observers()))
		},
		share: a.host.Share, found: a.outbox.finding, renew: live.Renew,
		prove: func(run, id string, f sdk.Finding) { a.evidence.found(live, run, id, f) }, agent: a.id.AgentID, log: a.log, before: map[string]detect.Figures{},
		sighted: func(ctx context.Context, plugin string, list []sdk.Sighting) error {
			for i := range list { // the server has no such capture
				list[i].Capture, list[i].Packet = "", 0
			}
			return a.outbox.sightings(ctx, discover.Batch{Plugin: plugin, Sightings: list})
		},
	}
	d.ctx, d.give = context.WithCancel(context.Background())
	return d
}

// granted returns those that were granted something of what they want to see.
func granted[I any, T interface{ Subscription() sdk.Subscription }](list []T) []I {
	var out []I
	for _, v := range list {
		if !v.Subscription().Empty() {
			out = append(out, any(v).(I))
		}
	}
	return out
}

// config is what a run of the readers of this moment needs, and plan says whether two are the same.
func (d *detection) config() (cfg detect.LiveConfig, plan string) {
	cfg.Detectors, cfg.Observers = d.readers()
	var text []byte
	for _, r := range cfg.Detectors {
		text = appendPlan(text, r.Instance(), r.Plugin(), r.Subscription())
	}
	for _, r := range cfg.Observers {
		text = appendPlan(text, r.Instance(), r.Plugin(), r.Subscription())
	}
	return cfg, string(text)
}

func appendPlan(text []byte, words ...any) []byte {
	list, _ := json.Marshal(words) // of strings, numbers and lists of them
	return append(text, list...)
}

func wantedBy(cfg detect.LiveConfig) traffic.Wanted {
	packets, facts, first, _ := cfg.Wanted()
	w := traffic.Wanted{Packets: packets, Facts: facts, Without: cfg.Without(), Features: true}
	w.WantFirst(first...)
	w.WantFirst(traffic.RecordedFacts...)
	return w
}

// recordedWanted is what goes to the server, whoever else wants it.
func recordedWanted() traffic.Wanted {
	w := traffic.Wanted{Features: true}
	w.WantFirst(traffic.RecordedFacts...)
	return w
}

// begin starts the run of a worker and says what it is to be asked for.
func (d *detection) begin(r traffic.Run) traffic.Wanted {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.worker = r
	d.start()
	return d.wanted
}

func (d *detection) start() {
	cfg, plan := d.config()
	worker := d.worker
	cfg.Capture, cfg.Share, cfg.Sighted, cfg.After = worker.ID, d.share, d.sighted, d.last
	cfg.Found = func(f sdk.Finding) error {
		if err := d.found(worker, f); err != nil {
			return err
		}
		d.prove(worker.ID, detect.LiveFindingID(d.agent, worker.ID, f), f)
		return nil
	}
	cfg.KeptAs = func(f sdk.Finding) string { return detect.LiveFindingID(d.agent, worker.ID, f) }
	d.plan, d.next, d.wanted, d.began = plan, plan, wantedBy(cfg), time.Now()
	d.run = detect.StartLive(d.ctx, cfg)
}

// end ends a run without waiting for what its readers have yet to say; those of the next one wait for that.
func (d *detection) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop()
}

func (d *detection) stop() {
	run, done := d.run, make(chan struct{})
	d.run, d.last, d.ending = nil, done, append(d.ending, run)
	d.closing.Go(func() {
		defer close(done)
		d.over(run)
	})
}

func (d *detection) over(run *detect.Run) {
	res := run.Close()
	for instance, n := range res.Dropped {
		d.log.Warn("a detector found more than is believed", "instance", instance, "left_out", n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ending = slices.DeleteFunc(d.ending, func(r *detect.Run) bool { return r == run })
	add(d.before, run)
}

// add adds the figures of a run to sums, by instance.
func add(sums map[string]detect.Figures, run *detect.Run) {
	for _, f := range run.Figures() {
		sum := sums[f.Instance]
		sum.Add(f)
		sums[f.Instance] = sum
	}
}

// look begins anew with other readers when there are others, and with the same ones after a while.
func (d *detection) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run == nil {
		return
	}
	cfg, plan := d.config()
	settled := plan == d.next
	d.next = plan
	switch {
	case !settled, plan == d.plan && time.Since(d.began) < detectionTurn:
	case reflect.DeepEqual(wantedBy(cfg), d.wanted):
		d.stop()
		d.start()
	default:
		d.renew()
	}
}

// watch looks until ctx ends.
func (d *detection) watch(ctx context.Context) {
	for sleep(ctx, detectionLook) {
		d.look()
	}
}

// finish waits for what readers have yet to say, but not for ever: those that hang lose it.
func (d *detection) finish() {
	limit := time.AfterFunc(drainTime, d.give)
	defer limit.Stop()
	d.closing.Wait()
	d.give()
}

// hand shows the run something; nobody waits.
func (d *detection) hand(show func(*detect.Run) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run == nil {
		return nil
	}
	return show(d.run)
}

// figures are those of all readers since the agent was started, ordered by instance.
func (d *detection) figures() []detect.Figures {
	d.mu.Lock()
	defer d.mu.Unlock()
	sums := maps.Clone(d.before)
	for _, run := range d.ending {
		add(sums, run)
	}
	if d.run != nil {
		add(sums, d.run)
	}
	out := []detect.Figures{}
	for _, instance := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, sums[instance])
	}
	return out
}

// liveRecord is what becomes of the records of one worker: they go to the server, and to those on this machine who judge them.
type liveRecord struct {
	*flowQueue
	wanted    traffic.Wanted
	detection *detection // nil where nobody judges
}

// Wanted implements traffic.LiveRecorder.
func (r *liveRecord) Wanted() traffic.Wanted { return r.wanted }

// Flows implements traffic.Recorder. The detectors see what could not be queued, too.
func (r *liveRecord) Flows(ctx context.Context, flows records.Parcel) error {
	err := r.flowQueue.Flows(ctx, flows)
	r.show(func(run *detect.Run) error { return run.Frame(ctx, flows) })
	return err
}

// Facts implements traffic.Recorder.
func (r *liveRecord) Facts(ctx context.Context, kind string, facts records.Parcel) error {
	var err error
	if slices.Contains(traffic.RecordedFacts, kind) {
		err = r.flowQueue.Facts(ctx, kind, facts)
	}
	r.show(func(run *detect.Run) error { return run.Facts(ctx, kind, facts) })
	return err
}

// Packets implements traffic.LiveRecorder. They stay on this machine.
func (r *liveRecord) Packets(ctx context.Context, subscription int, frame []byte) error {
	r.show(func(run *detect.Run) error { return run.Packets(ctx, subscription, frame) })
	return nil
}

func (r *liveRecord) show(what func(*detect.Run) error) {
	if r.detection == nil {
		return
	}
	if err := r.detection.hand(what); err != nil {
		r.detection.log.Warn("a frame could not be shown to the detectors", "problem", err)
	}
}

// Close implements traffic.Recorder.
func (r *liveRecord) Close(ctx context.Context, complete bool) error {
	if r.detection != nil {
		r.detection.end()
	}
	return r.flowQueue.Close(ctx, complete)
}

// finding queues one finding at once.
func (o *outbox) finding(r traffic.Run, f sdk.Finding) error {
	b := findingbatch.Found{Run: r.ID, Interface: r.Interface, Findings: []sdk.Finding{f}}
	if err := b.Check(); err != nil {
		o.log.Warn("a finding that the server would not take", "detector", f.Detector, "problem", err)
		return nil
	}
	return o.put(kindFindings, 1, b)
}
