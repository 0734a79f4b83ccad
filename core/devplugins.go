package core

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/collect"
	"github.com/picketwatch/picket/core/services/discover"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// Bounds of what authors try here.
const (
	maxTrials     = 8
	keptBuilds    = 3 // the one that runs, the one before, for a way back, and one that is on its way
	trialQueue    = 256
	trialPoll     = 200 * time.Millisecond
	shownRounds   = 2 // of a build, sample by sample; later ones are summed up
	shownSamples  = 10
	summedUpEvery = 10 * time.Second
	collectTrial  = 5 * time.Second
	discoverTrial = 30 * time.Second
	thisMachine   = "127.0.0.1/32"
)

// bench holds the plugins that authors try on this server: unsigned, only with --dev and never in a release build, kept
// in memory, gone with the command that brought them. It is asked for bytes before the registry is.
type bench struct {
	c      *Core
	signed pluginhost.Verifier

	mu     sync.Mutex // guards all below
	trials map[string]*trial
	serial int
	closed bool
}

// trial is one plugin under development.
type trial struct {
	session string
	scope   sdk.Scope
	events  chan adminsock.Event
	current catalogue.Unsigned
	builds  []build // the newest last

	shown   int // rounds of the newest build
	inRound int // samples of the round that is going on
	summed  time.Time
	dropped uint64
}

// build is one state of its source.
type build struct {
	descriptor *registry.Descriptor
	locked     registry.Locked
	files      map[string]*os.File // by runtime
	models     []trialModel
}

// trialModel is a file in the place of a model that a plugin requires.
type trialModel struct {
	client.Artifact // File is sealed; others open it anew
}

func newBench(c *Core, signed pluginhost.Verifier) *bench {
	return &bench{c: c, signed: signed, trials: map[string]*trial{}}
}

// takesTrials reports whether this server runs what nobody signed.
func (c *Core) takesTrials() bool { return c.cfg.Dev && !config.IsRelease() }

// OpenVerified gives the newest build of a plugin under development, of any other what the registry vouches for.
func (b *bench) OpenVerified(ctx context.Context, id, runtime string) (*client.Artifact, error) {
	if a, ok, err := b.open(id, "", runtime); ok {
		return a, err
	}
	return b.signed.OpenVerified(ctx, id, runtime)
}

// OpenRelease is OpenVerified for one version.
func (b *bench) OpenRelease(ctx context.Context, id, version, runtime string) (*client.Artifact, error) {
	if runtime == registry.RuntimeFile {
		if a, ok, err := b.openModel(id, version); ok {
			return a, err
		}
	}
	if a, ok, err := b.open(id, version, runtime); ok {
		return a, err
	}
	if shelf, ok := b.signed.(pluginhost.Releases); ok {
		return shelf.OpenRelease(ctx, id, version, runtime)
	}
	return b.signed.OpenVerified(ctx, id, runtime)
}

func (b *bench) open(id, version, runtime string) (*client.Artifact, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[id]
	if t == nil {
		return nil, false, nil
	}
	for _, x := range slices.Backward(t.builds) {
		if version != "" && x.descriptor.Manifest.Version != version {
			continue
		}
		a, ok := x.descriptor.Artifact(runtime, goruntime.GOOS, goruntime.GOARCH)
		if !ok || x.files[runtime] == nil {
			return nil, true, &registry.Refusal{Plugin: id, Version: version, Reason: registry.NoArtifact, Err: fmt.Errorf("its author's build has no %s artifact for this machine", runtime)}
		}
		f, err := client.Reopen(x.files[runtime])
		if err != nil {
			return nil, true, err
		}
		return &client.Artifact{ID: id, Version: x.descriptor.Manifest.Version, Runtime: runtime, Digest: a.SHA256, Size: a.Size, File: f,
			Descriptor: x.descriptor, Locked: x.locked}, true, nil
	}
	return nil, false, nil
}

// unsigned is what the catalogue shows and runs.
func (b *bench) unsigned() []catalogue.Unsigned {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]catalogue.Unsigned, 0, len(b.trials))
	for _, id := range slices.Sorted(maps.Keys(b.trials)) {
		out = append(out, b.trials[id].current)
	}
	return out
}

// run tries a plugin until ctx ends.
func (b *bench) run(ctx context.Context, r adminsock.Trial, artifacts io.Reader, uid int, emit func(adminsock.Event) error) (err error) {
	actor := fmt.Sprintf("system:uid %d", uid)
	changes := b.c.events.Subscribe("trial", 0)
	defer changes.Close()
	t := &trial{session: rand.Text(), events: make(chan adminsock.Event, trialQueue)}
	id, err := b.put(t, r, artifacts, actor)
	b.c.complain("audit", b.c.audit.Record(ctx, trialEntry(actor, id, r, err)))
	if err != nil {
		return err
	}
	defer b.remove(id, t)
	if err := emit(adminsock.Event{Type: "session", Session: t.session, Version: t.current.Descriptor.Manifest.Version, Page: b.c.publicURL() + "/plugins/" + id}); err != nil {
		return err
	}
	if err := b.c.catalogue.Reload(ctx, id); err != nil {
		return err
	}
	look := newTrialLook(b.c.host, t.current.Assignment.Instance)
	tick := time.NewTicker(trialPoll)
	defer tick.Stop()
	for {
		var news []adminsock.Event
		select {
		case <-ctx.Done():
			return nil
		case s := <-changes.C():
			if s.Instance == look.instance {
				news = append(look.logs(s), look.state(s)...)
			}
		case e := <-t.events:
			news = []adminsock.Event{e}
		case <-tick.C:
			if s, ok := b.c.host.Instance(look.instance); ok {
				news = append(look.logs(s), look.upgrade(s)...)
			}
		}
		for _, e := range news {
			if err := emit(e); err != nil {
				return err
			}
		}
	}
}

func trialEntry(actor, id string, r adminsock.Trial, err error) audit.Entry {
	e := audit.Entry{Actor: actor, Action: "plugin.try", Object: "plugin:" + id, Detail: "unsigned, by admin.sock"}
	if r.Debug {
		e.Detail += ", unconfined for a debugger"
	}
	if err != nil {
		e.Outcome, e.Detail = audit.Refused, err.Error()
	}
	return e
}

// put takes a build in and makes it the one that should run. A new trial is entered; one that is known is changed.
func (b *bench) put(t *trial, r adminsock.Trial, artifacts io.Reader, by string) (id string, err error) {
	x, err := b.receive(r, artifacts)
	if err != nil {
		return "", err
	}
	id = x.descriptor.Manifest.ID
	row, err := b.c.catalogue.Try(x.descriptor, catalogue.Wish{Runtime: r.Runtime, Config: r.Config, Secrets: r.Secrets, GrantAll: r.GrantAll,
		Grants: r.Grants, Interval: trialInterval(x.descriptor.Manifest.Kind, r.Interval), By: by})
	var bad *catalogue.InvalidError
	if errors.As(err, &bad) {
		err = fmt.Errorf("%s cannot run like this: %w", id, wrongSettings(bad))
	}
	if err != nil {
		x.close()
		return id, err
	}
	scope, err := scopeOfTrial(r.Scope)
	if err != nil {
		x.close()
		return id, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch known := b.trials[id]; {
	case b.closed:
		err = errors.New("picketd is stopping")
	case known != nil && known != t:
		err = fmt.Errorf("%s is being tried already by another `picket plugin run`", id)
	case known == nil && len(b.trials) >= maxTrials:
		err = fmt.Errorf("%d plugins are being tried already, which is the most", maxTrials)
	case known == nil && len(t.builds) > 0:
		err = fmt.Errorf("the plugin was %s and is %s now: end this run and start another", t.current.Descriptor.Manifest.ID, id)
	}
	if err != nil {
		x.close()
		return id, err
	}
	t.current = catalogue.Unsigned{Descriptor: x.descriptor, Readme: r.Readme, Assignment: row, Debug: r.Debug,
		Interpreter: r.Interpreter}
	t.builds = append(t.builds, x)
	if len(t.builds) > keptBuilds {
		t.builds[0].close()
		t.builds = slices.Delete(t.builds, 0, 1)
	}
	t.scope, t.shown = scope, 0
	b.trials[id] = t
	return id, nil
}

// wrongSettings says of each setting that is wrong how `picket plugin run` gives it.
func wrongSettings(bad *catalogue.InvalidError) error {
	texts := make([]string, len(bad.Fields))
	hint := ""
	for i, f := range bad.Fields {
		texts[i] = f.Message
		if strings.HasPrefix(f.Location, "body.config") && hint == "" {
			hint = " (--config NAME=VALUE gives a setting, --config FILE all of them)"
		}
	}
	return errors.New(strings.Join(texts, "; ") + hint)
}

func trialInterval(kind sdk.Kind, wanted time.Duration) time.Duration {
	switch {
	case wanted != 0:
		return wanted
	case kind == sdk.KindCollector:
		return collectTrial
	case kind == sdk.KindDiscovery:
		return discoverTrial
	}
	return 0
}

// scopeOfTrial is where a discovery under development may look: nowhere but at this machine if its author does not say.
func scopeOfTrial(text string) (sdk.Scope, error) {
	if text == "" {
		text = thisMachine
	}
	var s sdk.Scope
	for part := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil {
			return s, fmt.Errorf("scope %q: want ranges such as 192.0.2.0/24", part)
		}
		s.Prefixes = append(s.Prefixes, p.Masked())
	}
	return s, nil
}

// receive reads a build. Each gets a version of its own, so that one can take over from the other.
func (b *bench) receive(r adminsock.Trial, artifacts io.Reader) (x build, err error) {
	d, err := registry.ParseDescriptor(r.Descriptor)
	if err != nil {
		return x, err
	}
	x = build{files: map[string]*os.File{}, locked: registry.Locked{ID: d.Manifest.ID, Descriptor: registry.Digest(r.Descriptor), Role: adminsock.UnsignedRole, Artifacts: d.Artifacts}}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	for _, digest := range r.Artifacts {
		i := slices.IndexFunc(d.Artifacts, func(a registry.Artifact) bool { return a.SHA256 == digest })
		if i < 0 || x.files[d.Artifacts[i].Runtime] != nil {
			return x, fmt.Errorf("the artifact %q is not one that release.json names, or comes twice", digest)
		}
		a := d.Artifacts[i]
		f, err := client.SealUnsigned(io.LimitReader(artifacts, a.Size), a)
		if err != nil {
			return x, fmt.Errorf("take the %s artifact: %w", a.Runtime, err)
		}
		x.files[a.Runtime] = f
	}
	if x.models, err = receiveModels(d, r.Models, artifacts); err != nil {
		return x, err
	}
	// Only a server that has read a request to its end notices that whoever made it has gone.
	if n, err := io.Copy(io.Discard, io.LimitReader(artifacts, 1)); err != nil || n > 0 {
		return x, errors.New("after the artifacts comes more than was announced, or the connection broke")
	}
	b.mu.Lock()
	b.serial++
	d.Manifest.Version = developmentVersion(d.Manifest.Version, b.serial)
	b.mu.Unlock()
	x.descriptor, x.locked.Version = d, d.Manifest.Version
	return x, nil
}

// developmentVersion is a pre-release of what the manifest says.
func developmentVersion(version string, n int) string {
	version, _, _ = strings.Cut(version, "+")
	if strings.Contains(version, "-") {
		return version + ".dev." + strconv.Itoa(n)
	}
	return version + "-dev." + strconv.Itoa(n)
}

func (x *build) close() {
	for _, m := range x.models {
		m.Close()
	}
	for _, f := range x.files {
		f.Close()
	}
}

// swap puts a newer build in the place of the one that a session runs.
func (b *bench) swap(ctx context.Context, session string, r adminsock.Trial, artifacts io.Reader, uid int) error {
	t := b.bySession(session)
	if t == nil {
		return errors.New("this run has ended")
	}
	id, err := b.put(t, r, artifacts, fmt.Sprintf("system:uid %d", uid))
	if err != nil {
		return err
	}
	b.mu.Lock()
	row := t.current.Assignment
	b.mu.Unlock()
	if err := b.c.catalogue.Reload(ctx, id); err != nil {
		return err
	}
	b.settled(ctx, row)
	return nil
}

// settled waits until a build works or is known not to: what its author does next should meet the new one.
func (b *bench) settled(ctx context.Context, row store.Assignment) {
	ctx, cancel := context.WithTimeout(ctx, detectorsReady)
	defer cancel()
	for sleep(ctx, trialPoll/4) {
		s, ok := b.c.host.Instance(row.Instance)
		switch {
		case !ok:
			return
		case s.Version == row.Version && s.State != pluginhost.Staged && s.State != pluginhost.Starting && s.State != pluginhost.Draining:
			return
		case s.Upgrade != nil && s.Upgrade.To == row.Version && s.Upgrade.State == pluginhost.UpgradeFailed:
			return
		}
	}
}

func (b *bench) bySession(session string) *trial {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.trials {
		if t.session == session {
			return t
		}
	}
	return nil
}

// capture analyses a capture, so that a detector under development has something to see.
func (b *bench) capture(ctx context.Context, session, name string, r io.Reader) error {
	t := b.bySession(session)
	if t == nil {
		return errors.New("this run has ended")
	}
	_, err := b.c.traffic.Receive(ctx, b.c.tenant, name, "picket plugin run", r)
	return err
}

// notice sends a test notice through a notifier under development.
func (b *bench) notice(ctx context.Context, session string) (string, error) {
	t := b.bySession(session)
	if t == nil {
		return "", errors.New("this run has ended")
	}
	b.mu.Lock()
	instance, kind := t.current.Assignment.Instance, t.current.Descriptor.Manifest.Kind
	b.mu.Unlock()
	if kind != sdk.KindNotifier {
		return "", fmt.Errorf("a %s is sent no notices", kind)
	}
	if !b.up(ctx, instance) {
		return "", errors.New("it is not ready, so nothing was sent")
	}
	receipt, err := b.c.testNotice(ctx, instance, sdk.Notice{ID: rand.Text(), Time: b.c.cfg.Now().UTC(), Event: "test", Severity: sdk.SeverityInfo,
		Title: "Test notice from Picket", Text: "Its author tries a notifier.", URL: b.c.publicURL()})
	if err != nil {
		return "", err
	}
	text := "the test notice was delivered"
	if receipt.ForeignID != "" {
		text += " as " + receipt.ForeignID
	}
	if receipt.URL != "" {
		text += " (" + receipt.URL + ")"
	}
	return text, nil
}

// up waits until an instance works, or is known not to.
func (b *bench) up(ctx context.Context, instance string) bool {
	ctx, cancel := context.WithTimeout(ctx, detectorsReady)
	defer cancel()
	for {
		switch s, _ := b.c.host.Instance(instance); s.State {
		case pluginhost.Ready, pluginhost.Degraded:
			return true
		case pluginhost.Refused, pluginhost.Quarantined, pluginhost.Revoked:
			return false
		}
		if !sleep(ctx, trialPoll/4) {
			return false
		}
	}
}

// remove ends a trial. Nothing of it stays.
func (b *bench) remove(id string, t *trial) {
	b.mu.Lock()
	delete(b.trials, id)
	closed := b.closed
	b.mu.Unlock()
	if !closed { // else everything stops anyway
		ctx, cancel := context.WithTimeout(context.Background(), drainPlugins)
		defer cancel()
		b.c.complain("end the trial of "+id, b.c.catalogue.Reload(ctx, id))
	}
	for i := range t.builds {
		t.builds[i].close()
	}
}

// close lets no further trial in; the server stops.
func (b *bench) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// --- what it does, for its author's terminal ---

// tell passes something on. An author's terminal that is slow loses lines, never holds anything up.
func (t *trial) tell(e adminsock.Event) {
	select {
	case t.events <- e:
	default:
		t.dropped++
	}
}

func (b *bench) tell(id string, events func(t *trial) []adminsock.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[id]
	if t == nil {
		return
	}
	for _, e := range events(t) {
		t.tell(e)
	}
}

// collected shows the first rounds of a build sample by sample, later ones summed up now and then.
func (b *bench) collected(id string, samples []sdk.Sample) {
	all := len(samples)
	samples = slices.DeleteFunc(slices.Clone(samples), func(s sdk.Sample) bool { return strings.HasPrefix(s.Metric, "picket.collect.") })
	last := len(samples) < all // what is known about the collection itself comes at its end
	now := b.c.cfg.Now()
	b.tell(id, func(t *trial) []adminsock.Event {
		t.inRound += len(samples)
		n := t.inRound
		if last {
			t.shown++
			t.inRound = 0
		}
		if t.shown > shownRounds {
			if !last || now.Sub(t.summed) < summedUpEvery {
				return nil
			}
			t.summed = now
			return []adminsock.Event{{Type: "note", Time: now, Text: fmt.Sprintf("round %d: samples: %d", t.shown, n)}}
		}
		t.summed = now
		var out []adminsock.Event
		for i, s := range samples {
			if i == shownSamples {
				out = append(out, adminsock.Event{Type: "note", Time: now, Text: fmt.Sprintf("and %d further samples", len(samples)-i)})
				break
			}
			out = append(out, adminsock.Event{Type: "sample", Time: s.Time, Text: sampleText(s)})
		}
		if last && n == 0 {
			out = []adminsock.Event{{Type: "note", Time: now, Text: "a round without samples"}}
		}
		return out
	})
}

func sampleText(s sdk.Sample) string {
	var b strings.Builder
	b.WriteString(s.Metric)
	for i, name := range slices.Sorted(maps.Keys(s.Labels)) {
		fmt.Fprintf(&b, "%s%s=%q", map[bool]string{true: "{", false: ", "}[i == 0], name, s.Labels[name])
	}
	if len(s.Labels) > 0 {
		b.WriteString("}")
	}
	return strings.TrimSpace(fmt.Sprintf("%s %v %s", b.String(), s.Value, s.Unit))
}

func (b *bench) found(findings []sdk.Finding) {
	for _, f := range findings {
		b.tell(f.Detector, func(*trial) []adminsock.Event {
			return []adminsock.Event{{Type: "finding", Time: f.Start, Level: string(f.Severity), Text: f.Rule + ": " + f.Summary}}
		})
	}
}

func (b *bench) sighted(id string, list []sdk.Sighting) {
	b.tell(id, func(*trial) []adminsock.Event {
		var out []adminsock.Event
		for _, s := range list {
			out = append(out, adminsock.Event{Type: "sighting", Time: s.Time, Text: strings.Join(strings.Fields(s.IP.String()+" "+s.MAC+" "+s.Hostname), " ")})
		}
		return out
	})
}

// trialLook finds out what is new about an instance.
type trialLook struct {
	host     *pluginhost.Host
	instance string
	line     time.Time // of the last line of the log that was passed on
	change   string    // the last upgrade that was told
	pid      int       // of the process that was told to be ready
	last     string    // the last state that was told
}

func newTrialLook(h *pluginhost.Host, instance string) *trialLook {
	return &trialLook{host: h, instance: instance}
}

func (l *trialLook) logs(s pluginhost.Status) []adminsock.Event {
	var out []adminsock.Event
	for _, line := range s.LogTail {
		if line.Time.After(l.line) {
			out = append(out, adminsock.Event{Type: "log", Time: line.Time, Level: line.Level, Text: line.Text})
		}
	}
	if n := len(s.LogTail); n > 0 && s.LogTail[n-1].Time.After(l.line) {
		l.line = s.LogTail[n-1].Time
	}
	return out
}

func (l *trialLook) state(s pluginhost.Status) []adminsock.Event {
	now := string(s.State) + s.Reason + strconv.Itoa(s.PID)
	if s.State == pluginhost.Ready && s.PID == l.pid || now == l.last {
		return nil // something else about it changed
	}
	l.pid, l.last = s.PID, now
	e := adminsock.Event{Type: "state", State: string(s.State), Version: s.Version, PID: s.PID, Text: s.Reason}
	if n := len(s.History); n > 0 {
		e.Time = s.History[n-1].Time
	}
	if x, err := l.host.Explain(l.instance); err == nil && x.Confinement != nil {
		e.Level = string(x.Confinement.Level)
	}
	return []adminsock.Event{e}
}

// upgrade tells how a newer build fares: it is no change of state as long as one of them works.
func (l *trialLook) upgrade(s pluginhost.Status) []adminsock.Event {
	u := s.Upgrade
	if u == nil || u.State == pluginhost.UpgradeStarting {
		return nil
	}
	now := u.To + string(u.State)
	if now == l.change {
		return nil
	}
	l.change = now
	e := adminsock.Event{Type: "note", Time: u.Began}
	switch u.State {
	case pluginhost.UpgradeWaiting:
		e.Text = u.To + " waits for the end of the capture that is being analysed"
	case pluginhost.UpgradeProbation:
		return l.state(s)
	case pluginhost.UpgradeFailed, pluginhost.UpgradeRolledBack:
		e.Type, e.Level, e.Text = "note", "warn", fmt.Sprintf("%s goes on, %s does not take over: %s", u.From, u.To, u.Reason)
	default:
		return nil
	}
	return []adminsock.Event{e}
}

// --- collectors and discoveries under development run here, though others run on agents ---

func (c *Core) wireTrials() {
	if !c.takesTrials() {
		return
	}
	epoch := "trial-" + strconv.FormatInt(c.cfg.Now().UnixNano(), 36)
	var mu sync.Mutex // guards both numbers, which must grow in the order in which batches are stored
	var samples, sightings uint64
	c.collect = collect.New(collect.Config{
		Collectors: func() []collect.Collector {
			var out []collect.Collector
			for _, x := range c.host.Collectors() {
				if x.Generation() > 0 {
					out = append(out, x)
				}
			}
			return out
		},
		Store: func(ctx context.Context, b collect.Batch) error {
			mu.Lock()
			samples++
			res, err := c.telemetry.Append(ctx, store.SampleBatch{Tenant: c.tenant, Agent: store.NodeServer, Epoch: epoch, Seq: samples, Samples: b.Samples})
			mu.Unlock()
			c.bench.collected(b.Plugin, b.Samples)
			if err == nil && res.Invalid > 0 {
				c.cfg.Log.Warn("samples of a plugin under development are not stored", "plugin", b.Plugin, "count", res.Invalid, "reason", res.InvalidReason)
			}
			return err
		},
		Now: c.cfg.Now, Log: c.cfg.Log,
	})
	c.discover = discover.New(discover.Config{
		Discoverers: func() []discover.Discoverer {
			var out []discover.Discoverer
			for _, x := range c.host.Discoverers() {
				if x.Generation() > 0 {
					out = append(out, x)
				}
			}
			return out
		},
		Scope: c.bench.scopeOf,
		Store: func(ctx context.Context, b discover.Batch) error {
			rows := make([]store.Sighting, len(b.Sightings))
			for i, s := range b.Sightings {
				rows[i] = store.Sighting{Plugin: b.Plugin, Sighting: s}
			}
			c.bench.sighted(b.Plugin, b.Sightings)
			mu.Lock()
			defer mu.Unlock()
			sightings++
			return newInventory(c).Sightings(ctx, store.SightingBatch{Tenant: c.tenant, Agent: store.NodeServer, Epoch: epoch, Seq: sightings, Sightings: rows})
		},
		Now: c.cfg.Now, Log: c.cfg.Log,
	})
}

func (b *bench) scopeOf(instance string) (sdk.Scope, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.trials {
		if t.current.Assignment.Instance == instance {
			return t.scope, nil
		}
	}
	return sdk.Scope{}, fmt.Errorf("%s is no discovery under development", instance)
}

// runTrials lets collectors and discoveries under development work.
func (c *Core) runTrials(ctx context.Context) {
	if c.collect == nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.collect.Run(ctx) })
	both.Go(func() { c.discover.Run(ctx) })
	both.Wait()
}

func (c *Core) trials() *adminsock.Trials {
	if !c.takesTrials() {
		return nil
	}
	return &adminsock.Trials{Run: c.bench.run, Swap: c.bench.swap, Capture: c.bench.capture, Notice: c.bench.notice}
}

// --- the other questions at the administrators' socket ---

// explainPlugin tells what every instance of a plugin rests on.
func (c *Core) explainPlugin(ctx context.Context, r adminsock.ExplainRequest, _ int) (string, error) {
	p, err := c.catalogue.Get(ctx, r.Plugin)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("this server knows no plugin %s", r.Plugin)
	}
	if err != nil {
		return "", err
	}
	all := []catalogue.Explanation{}
	for _, i := range p.Instances {
		e, err := c.catalogue.Explain(ctx, r.Plugin, i.Instance, i.Node.ID)
		if err != nil {
			return "", err
		}
		all = append(all, e)
	}
	text, err := json.Marshal(all)
	return string(text), err
}

// maxTraced is how many findings of an alert are named.
const maxTraced = 100

// traced is where an alert comes from.
type traced struct {
	Detector string `json:"detector"`
	Rule     string `json:"rule"`
	Title    string `json:"title"`
	Capture  string `json:"capture"` // its name
	File     string `json:"file"`
	// Agent is the id of the one in whose live traffic it was found, as these findings.
	Agent    string   `json:"agent,omitempty"`
	Findings []string `json:"findings,omitempty"`
	// Of a live alert Capture and File are the packets that were kept for the newest finding that has any, if one has.
	Src string `json:"src,omitempty"`
	Dst string `json:"dst,omitempty"`
	// Config is how the detector is set now, without secrets; an alert does not keep how it was.
	Config json.RawMessage `json:"config,omitempty"`
}

func (c *Core) traceAlert(ctx context.Context, r adminsock.TraceRequest, _ int) (string, error) {
	a, err := c.control.AlertByID(ctx, c.tenant, r.Alert)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("this server knows no alert %s", r.Alert)
	}
	if err != nil {
		return "", err
	}
	if a.Detector == store.MetricRules {
		return "", fmt.Errorf("alert %s is of %s, a rule over metrics: it comes from no traffic. Its page says what it holds for", r.Alert, a.Rule)
	}
	if a.CaptureID == "" && a.Agent != "" { // the agent keeps what was found, and why, on its machine
		found, err := c.control.AlertFindings(ctx, c.tenant, a.ID, maxTraced)
		if err != nil {
			return "", err
		}
		from := traced{Detector: a.Detector, Rule: a.Rule, Title: a.Title, Agent: a.Agent}
		for _, f := range found {
			from.Findings = append(from.Findings, f.ID)
		}
		if err := c.traceKept(ctx, a, &from); err != nil {
			return "", err
		}
		text, err := json.Marshal(from)
		return string(text), err
	}
	if a.CaptureID == "" {
		return "", fmt.Errorf("alert %s comes from no capture", r.Alert)
	}
	x, err := c.control.CaptureByID(ctx, c.tenant, a.CaptureID)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("the capture of alert %s was deleted", r.Alert)
	}
	if err != nil {
		return "", err
	}
	from := traced{Detector: a.Detector, Rule: a.Rule, Title: a.Title, Capture: x.Name, File: c.folder.path("captures", x.SHA256)}
	card, err := c.catalogue.Get(ctx, a.Detector)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	for _, i := range card.Instances {
		if i.Node.Type == store.NodeServer {
			from.Config = i.Config
		}
	}
	text, err := json.Marshal(from)
	return string(text), err
}
