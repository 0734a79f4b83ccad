package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/reach"
)

// supervisor owns one instance. Its goroutine walks through steps; each step returns the next one, nil ends it.
type supervisor struct {
	host  *Host
	name  string
	log   *logRing
	store *reach.Store // the instance's key-value store, for one process after the other
	acct  account
	calls callBook // refused by the kernel's filter
	last  lastCall
	found foundInput

	ctx  context.Context // ends when the host no longer waits
	kill context.CancelFunc
	wake chan struct{} // something below changed

	turn    chan struct{} // holds a token while nobody calls the plugin
	journal journal       // of a detector; belongs to whoever has the turn
	between chan struct{} // a capture has ended

	saving    sync.Mutex // one writes to the memory at a time; guards forgotten
	forgotten bool

	mu         sync.Mutex // guards all below
	want       *Assignment
	lastWanted Assignment // want, when it is not wanted any more
	changed    bool       // what should run differs from what was taken last
	orders     order
	state      Status // what status() builds on; Ledger, LogTail and History are filled in there
	cur        *run   // nil while nothing can be called
	generation uint64
	epoch      uint64           // rises when the instance forgot what it was shown
	keeps      bool             // the detector can be given back what it forgot
	waiting    []chan struct{}  // closed at the next change of state
	says       host.Description // what the process in charge says of itself
	history    []Transition
	crashes    crashes
	own        crashes              // ends of a shared process that were its fault
	unclear    crashes              // ends of a shared process that were nobody's
	held       map[string]heldModel // by the model's id
	quarantine string               // why it rests there, also over a restart of the host
	pin        string               // the version that runs whatever the assignment says, "" when there is none
	previous   string               // the version to go back to
	before     *Assignment          // what the previous version ran with, as long as this host knows
	back       string               // why pin leads back to the version before
	changing   bool                 // an exchange is under way
	probation  *probation
	trying     *Assignment // what is to run as a shadow
	shadow     *shadow
	shadowing  bool                    // a shadow is being started or ended
	callOff    context.CancelCauseFunc // ends the start of a shadow; nil when there is none
	shadowErr  error
	broker     *broker.Broker
	brokered   []sdk.Permission // the grants that broker knows

	// Only the supervisor's goroutine touches these.
	assignment Assignment
	troubles   int // starts in a row that failed for no fault of the plugin
}

type step func() step

// order is a set of requests from outside.
type order uint8

const (
	orderRestart order = 1 << iota
	orderRelease
	orderRecheck
	orderJudge  // a probation may be over
	orderShadow // a shadow is to start or to end
)

func newSupervisor(h *Host, a Assignment) *supervisor {
	s := &supervisor{
		host: h, name: a.Instance,
		log:     newLogRing(h.cfg.Now, h.cfg.Log.With("instance", a.Instance, "plugin", a.Plugin)),
		wake:    make(chan struct{}, 1),
		turn:    make(chan struct{}, 1),
		between: make(chan struct{}, 1),
		crashes: crashes{window: h.cfg.CrashWindow},
		own:     crashes{window: h.cfg.CrashWindow},
		unclear: crashes{window: h.cfg.CrashWindow},
	}
	s.store = reach.OpenStore(s.stateDir(inCharge))
	s.turn <- struct{}{}
	s.ctx, s.kill = context.WithCancel(context.Background())
	s.state = Status{Instance: a.Instance, Plugin: a.Plugin, Version: a.Version, Runtime: a.Runtime, State: Staged, Since: h.cfg.Now()}
	s.recall(a)
	return s
}

func (s *supervisor) run() {
	defer s.kill()
	for next := s.begin(); next != nil; {
		next = next()
	}
}

// begin starts the instance, unless an earlier host put it into quarantine and nobody changed anything since.
func (s *supervisor) begin() step {
	if s.quarantine == "" || !s.take() {
		return s.start
	}
	s.set(Quarantined, s.quarantine)
	return s.hold
}

// --- steps ---

// start tries to bring the wanted assignment up.
func (s *supervisor) start() step {
	if !s.take() {
		return s.leave
	}
	s.mu.Lock()
	s.quarantine = ""
	s.mu.Unlock()
	s.set(Starting, "")
	r, err := s.launch()
	var no *refusal
	switch {
	case err == nil:
		return s.adopt(r)
	case errors.Is(err, errInterrupted):
		return s.start
	case errors.As(err, &no):
		return s.refuse(no.state, no)
	case errors.As(err, new(*trouble)):
		s.troubles++
		return s.wait(s.troubles, err.Error())
	case dragged(err):
		return s.dragged(err.Error())
	}
	return s.crashed("could not start: " + err.Error())
}

// refuse rests until something changes: the assignment, the registry, or the operator's mind.
func (s *supervisor) refuse(state State, err error) step {
	var no *registry.Refusal
	s.mu.Lock()
	if errors.As(err, &no) {
		s.state.Refusal = no.Reason
	}
	if u := s.state.Upgrade; s.probation != nil && u != nil { // what must not run is not tried any more
		s.probation = nil
		u.State, u.Reason, u.Ended = UpgradeFailed, s.log.blank(err.Error()), s.host.cfg.Now().UTC()
	}
	s.mu.Unlock()
	s.host.cfg.Log.Warn("plugin refused", "instance", s.name, "plugin", s.assignment.Plugin, "reason", s.log.blank(err.Error()))
	s.set(state, err.Error())
	return s.hold
}

// adopt takes over a process that is up and configured.
func (s *supervisor) adopt(r *run) step {
	s.troubles = 0
	s.acct.open(r.proc.PID())
	<-s.turn // nobody is calling, but somebody may just be done with the process before
	s.journal.belongsTo(r.assignment.Plugin)
	s.journal.probed(r, s.probe(r))
	if !s.journal.keeps {
		s.lostSight(s.journal.inside || s.epochOf() == 0)
		s.journal.forget()
	}
	s.takeOver(r)
	s.turn <- struct{}{}
	s.set(Ready, "")
	s.signal() // for what was asked for meanwhile
	return func() step { return s.watch(r) }
}

func (s *supervisor) epochOf() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// takeOver makes r the process that gets the calls. It runs under the turn.
func (s *supervisor) takeOver(r *run) {
	s.log.limit(r.limits.LogLinesPerSecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cur = r
	s.broker, s.brokered = r.broker, r.grants
	s.generation++
	s.epoch = max(s.epoch, 1)
	s.keeps = s.journal.keeps
	s.state.Restarts = int(s.generation - 1)
	s.state.Kind, s.state.Version, s.state.Digest = r.kind, r.version, r.digest
	s.state.Permissions, s.state.Limits = r.grants, limitsShown(r.limits)
	s.says = r.says
	if s.state.PID != 0 { // an exchange: the version and its process are shown together
		s.state.PID = r.proc.PID()
	}
}

// watch stays while the process runs.
func (s *supervisor) watch(r *run) step {
	beats := &pulse{s: s, r: r, pid: r.proc.PID(), every: s.host.cfg.HealthEvery, beat: make(chan struct{}, 1)}
	sight := s.host.lookout.watch(beats.every, beats.look)
	defer s.host.lookout.leave(sight)
	answers := make(chan error, 1)
	asked := false
	for {
		select {
		case <-r.proc.Exited():
			reason := s.bury(r)
			if r.verdict != guilty {
				return s.dragged(reason)
			}
			return s.crashed(reason)
		case <-s.wake:
			if next := s.awoken(r); next != nil {
				return next
			}
		case <-beats.beat:
			s.tellFlood()
			if _, passed := s.trial(); passed {
				s.endTrial()
			}
			if !asked {
				asked = true
				go func() { answers <- s.askHealth(r) }()
			}
		case err := <-answers:
			asked = false
			beats.answered()
			s.healthIs(err)
		}
	}
}

// awoken returns the next step when the running process must go, else nil.
func (s *supervisor) awoken(r *run) step {
	s.ordered(orderRelease) // there is nothing to release
	var moves []move
	if s.ordered(orderRecheck) {
		if err := s.stillTrusted(); err != nil {
			s.drain(r)
			if changed, orders := s.pending(0); changed || orders&orderRestart != 0 {
				return s.start // what is wanted now is asked about there
			}
			return s.refuse(Revoked, err)
		}
		if s.modelRevoked(r) {
			s.drain(r)
			return s.start // which finds another one, or says why there is none
		}
		moves = s.otherModels(r)
	}
	changed, orders := s.pending(0)
	if orders&orderRestart != 0 {
		s.drain(r)
		return s.start
	}
	if changed {
		if next, ok := s.otherVersion(r); ok {
			return func() step { return s.exchange(r, next, nil) }
		}
		if !s.sameAsRunning(r) { // else somebody changed his mind twice
			s.drain(r)
			return s.start
		}
	}
	if len(moves) > 0 {
		s.mu.Lock()
		s.changing = true
		s.mu.Unlock()
		return func() step { return s.exchange(r, r.assignment, moves) }
	}
	if s.ordered(orderJudge) {
		if verdict, passed := s.trial(); verdict != "" {
			return s.takeBack(r, verdict)
		} else if passed {
			s.endTrial()
		}
	}
	if s.ordered(orderShadow) {
		s.changeShadow()
	}
	return nil
}

// drain stops the process in order, or kills it when it takes too long.
func (s *supervisor) drain(r *run) {
	s.let(r)
	s.set(Draining, "")
	ctx, cancel := context.WithTimeout(s.ctx, s.host.cfg.Deadlines.Drain)
	defer cancel()
	r.stop(ctx)
	if ctx.Err() != nil && s.ctx.Err() == nil {
		r.fail(fmt.Sprintf("did not stop within %s", s.host.cfg.Deadlines.Drain))
	}
	s.bury(r)
}

// crashed decides between another try and quarantine.
func (s *supervisor) crashed(reason string) step {
	reason = s.log.blank(reason)
	s.crashIncident(reason)
	s.keepCrash(reason)
	s.acct.crash() // last: the ledger must not be long ahead of the state
	if s.onProbation() {
		s.host.cfg.Log.Warn("a new version crashed", "instance", s.name, "plugin", s.assignment.Plugin, "reason", reason)
		return s.fallBack(reason)
	}
	s.mu.Lock()
	n := s.crashes.add(s.host.cfg.Now())
	s.mu.Unlock()
	s.host.cfg.Log.Warn("plugin crashed", "instance", s.name, "plugin", s.assignment.Plugin, "reason", reason, "crashes", n)
	if n >= s.host.cfg.MaxCrashes {
		why := fmt.Sprintf("crashed %d times within %s; the last time it %s. It stays stopped until it is released or its settings change",
			n, s.host.cfg.CrashWindow, reason)
		s.mu.Lock()
		s.quarantine = why
		s.mu.Unlock()
		s.set(Quarantined, why)
		return s.hold
	}
	return s.wait(n, reason)
}

// dragged comes back after the end of a process that was not its fault.
func (s *supervisor) dragged(reason string) step {
	s.host.cfg.Log.Info("a plugin lost the process that it shared", "instance", s.name, "plugin", s.assignment.Plugin, "reason", s.log.blank(reason))
	return s.wait(1, reason)
}

// alone reports whether the instance is to have a process of its own: one that it shared has ended by its fault lately, or has
// ended twice and nobody knows by whose.
func (s *supervisor) alone() bool {
	now := s.host.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own.within(now) > 0 || s.unclear.within(now) > 1
}

// wait is the backoff after a failure.
func (s *supervisor) wait(failures int, reason string) step {
	delay := s.host.cfg.Backoff.delay(failures, s.host.cfg.Jitter())
	s.set(Backoff, fmt.Sprintf("%s; next try in %s", reason, delay.Round(10*time.Millisecond)))
	return func() step {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		for {
			s.noShadow()
			select {
			case <-timer.C:
				return s.start
			case <-s.wake:
				if changed, orders := s.pending(orderRelease | orderRecheck); changed || orders&orderRestart != 0 {
					return s.start
				}
			}
		}
	}
}

// hold rests in a state that time does not cure.
func (s *supervisor) hold() step {
	s.noShadow()
	for range s.wake {
		s.noShadow()
		changed, orders := s.pending(orderRecheck)
		quarantined := s.status().State == Quarantined
		if changed || orders&orderRestart != 0 {
			s.unpinRevoked()
		}
		switch {
		case s.wanted() == nil: // the quarantine is kept for the next host
			return s.start
		case changed, quarantined && orders&orderRelease != 0:
			s.mu.Lock()
			s.crashes.forget()
			s.mu.Unlock()
			return s.start
		case !quarantined && orders&(orderRestart|orderRecheck) != 0:
			return s.start
		}
	}
	return nil
}

// unpinRevoked lets go of a version that went on because the wanted one could not take over, and was revoked since: it never
// runs again, so that whoever now changes the settings of the wanted version, or restarts it, means that one.
func (s *supervisor) unpinRevoked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.State == Revoked {
		s.pin = ""
	}
}

// leave ends the supervisor unless the instance was assigned again meanwhile.
func (s *supervisor) leave() step {
	s.endShadow()
	s.noShadow()
	if !s.host.farewell(s) {
		return s.start
	}
	s.set(Stopped, "")
	return nil
}

// --- what the steps use ---

// take makes the wanted assignment the current one and forgets what was asked of the process before. It returns false when the
// instance is no longer wanted.
func (s *supervisor) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed, s.state.Refusal = false, ""
	s.orders &= orderShadow // all that was asked of the process; a shadow is one of its own
	if s.want == nil {
		return false
	}
	next := s.target()
	if s.state.Plugin != next.Plugin || s.state.Runtime != next.Runtime {
		s.state.Kind, s.state.Digest = "", ""
	}
	s.assignment = next
	s.state.Plugin, s.state.Version, s.state.Runtime = next.Plugin, next.Version, next.Runtime
	return true
}

// target is what should run: what is wanted, in the version that a rollback or an order pinned. It runs under s.mu.
func (s *supervisor) target() Assignment {
	next := *s.want
	if s.pin == "" || s.pin == next.Version {
		return next
	}
	if b := s.before; b != nil && b.Version == s.pin && b.Plugin == next.Plugin && b.Runtime == next.Runtime {
		interval := next.Interval
		next = *b // a version is taken back with the settings that it had
		next.Interval = interval
	}
	next.Version = s.pin
	return next
}

// pending tells what woke the supervisor and clears the orders in the mask; a restart outlives a look at it, because
// only take may forget it.
func (s *supervisor) pending(clear order) (changed bool, orders order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	orders = s.orders
	s.orders &^= clear
	return s.changed, orders
}

// ordered reports whether something was asked for, and takes it.
func (s *supervisor) ordered(o order) bool {
	_, orders := s.pending(o)
	return orders&o != 0
}

// let ends the calls to a run: it goes, or is gone.
func (s *supervisor) let(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == r {
		s.cur = nil
	}
}

// bury closes the books of a process that has ended and returns why it did.
func (s *supervisor) bury(r *run) string {
	s.let(r)
	shared := []string(nil)
	if r.shared() && r.broken() {
		shared = r.others(r)
		r.process.end() // its last lines say whose fault it was
		s.judge(r)
	}
	r.end()
	s.acct.settle(r.proc.PID(), r.cpuTime())
	if why := r.why(); why != "" && r.verdict == guilty {
		s.incident(IncidentKilled, killedText(why))
	}
	epitaph := r.epitaph(s.log)
	if r.verdict != guilty {
		epitaph = "its process, which " + strings.Join(shared, ", ") + " shared, " + epitaph
	}
	if r.dropSecrets != nil {
		r.dropSecrets()
	}
	return epitaph
}

// judge notes what the end of a shared process means for the instance.
func (s *supervisor) judge(r *run) {
	r.verdict = r.judge(r)
	now := s.host.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.verdict {
	case guilty:
		s.own.add(now)
	case unexplained:
		s.unclear.add(now)
	}
}

// askHealth makes one health check. errUnknown means that it says nothing about the work.
func (s *supervisor) askHealth(r *run) error {
	if r.assignment.Debug {
		return errUnknown // it may stand still on purpose
	}
	limit := s.host.cfg.Deadlines.Health
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	began := time.Now()
	busy := !r.idle()
	progress, err := r.inst.Health(ctx)
	if err == nil && r.shared() {
		r.apportion(r.proc.Worked())
	}
	if (err == nil || progress > 0) && r.progress.stuck(time.Now(), progress, busy && !r.idle(), s.patience(r)) {
		r.fail(fmt.Sprintf("answers health checks but does no work: a call has stood still for %s", s.patience(r)))
		return errUnknown
	}
	switch {
	case err == nil:
		return nil
	case late(time.Since(began), limit):
		// A call that came meanwhile explains the silence; its own deadline watches the plugin then.
		if s.ctx.Err() == nil && r.idle() {
			r.process.fail(r.silent(limit), fmt.Sprintf("did not answer a health check within %s", limit))
		}
		return errUnknown
	case died(r, time.Second):
		return errUnknown
	}
	return err
}

// silent is whose fault it is that there was no answer: the instance's, unless a shared process does not answer anybody.
func (r *run) silent(limit time.Duration) *run {
	if !r.shared() {
		return r
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := r.proc.Describe(ctx); err != nil {
		return nil
	}
	return r
}

// patience is how long calls may be at work without any progress. A single call ends at its own deadline; this finds
// what hangs from one call to the next.
func (s *supervisor) patience(r *run) time.Duration {
	d := s.host.cfg.Deadlines
	return 2 * r.deadline(map[sdk.Kind]time.Duration{
		sdk.KindCollector: d.Collect, sdk.KindDiscovery: d.Discover, sdk.KindDetector: max(d.Inspect, d.Flush), sdk.KindNotifier: d.Notify,
	}[r.kind])
}

var errUnknown = errors.New("nothing is known about the health")

// healthIs moves between ready and degraded.
func (s *supervisor) healthIs(err error) {
	state := s.stateNow()
	if err == nil {
		s.passHealth()
	}
	switch {
	case err == nil && state == Degraded:
		s.set(Ready, "")
	case err != nil && !errors.Is(err, errUnknown) && (state == Ready || state == Degraded):
		s.set(Degraded, err.Error())
		s.failTrial("says that it cannot work: " + err.Error())
	}
}

// set moves the state and tells everybody, whatever the plugin wrote into the reason.
func (s *supervisor) set(state State, reason string) {
	reason = s.log.blank(reason)
	s.mu.Lock()
	if s.state.State != state {
		s.state.Since = s.host.cfg.Now()
	}
	same := s.state.State == state && s.state.Reason == reason
	s.state.State, s.state.Reason, s.state.PID = state, reason, 0
	if !same {
		s.enter(reason)
	}
	if s.cur != nil {
		s.state.PID = s.cur.proc.PID()
	}
	s.notify()
	s.mu.Unlock()
	if !same {
		s.host.cfg.Log.Debug("plugin state", "instance", s.name, "state", state, "reason", reason)
		s.remember()
		s.host.cfg.Events.Publish(s.status())
	}
}

// notify wakes those who wait for a change. It runs under s.mu.
func (s *supervisor) notify() {
	for _, w := range s.waiting {
		close(w)
	}
	s.waiting = nil
}

func (s *supervisor) wakeWaiting() {
	s.mu.Lock()
	s.notify()
	s.mu.Unlock()
}

// --- from other goroutines ---

// assign sets what is wanted; nil means that the instance should go.
func (s *supervisor) assign(a *Assignment) {
	s.mu.Lock()
	if a == nil || s.want == nil || !s.want.same(*a) {
		s.changed = true
		if a != nil && s.want != nil && (s.want.Version != a.Version || s.want.Plugin != a.Plugin) {
			s.pin = "" // a new wish about the version ends what was pinned for the old one
		}
	}
	if a == nil && s.want != nil {
		s.lastWanted = *s.want
	}
	s.want = a
	changed := s.changed
	s.mu.Unlock()
	if changed {
		s.signal()
	}
}

func (s *supervisor) wanted() *Assignment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.want
}

func (s *supervisor) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look at everything when it wakes
	}
}

func (s *supervisor) poke(o order) {
	s.mu.Lock()
	s.orders |= o
	s.mu.Unlock()
	s.signal()
}

// order passes a request on and waits for what comes of it.
func (s *supervisor) order(ctx context.Context, o order) error {
	s.mu.Lock()
	s.orders |= o
	generation := s.generation
	s.mu.Unlock()
	s.signal()
	return s.await(ctx, func() (bool, error) {
		if s.orders&o != 0 || s.state.State == Starting || s.state.State == Draining {
			return false, nil // not taken yet, or under way
		}
		if s.generation == generation {
			return true, s.problem()
		}
		return s.state.State.settled(), s.problem()
	})
}

func (s *supervisor) awaitReady(ctx context.Context) error {
	return s.await(ctx, func() (bool, error) { return s.state.State.settled(), s.problem() })
}

// await waits for changes of state until done, which runs under s.mu, says so.
func (s *supervisor) await(ctx context.Context, done func() (bool, error)) error {
	for {
		s.mu.Lock()
		ok, err := done()
		if ok {
			s.mu.Unlock()
			return err
		}
		changed := make(chan struct{})
		s.waiting = append(s.waiting, changed)
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", s.name, ctx.Err())
		}
	}
}

// problem turns a state in which the instance does not run into an error, Temporary when the host will try again by
// itself. It runs under s.mu.
func (s *supervisor) problem() error {
	class := sdk.Unsupported
	switch s.state.State {
	case Ready, Degraded:
		return nil
	case Backoff:
		class = sdk.Temporary
	case Refused, Revoked:
		class = sdk.PermissionDenied
	}
	if s.state.Reason == "" {
		return sdk.Errorf(class, "%s is %s", s.name, s.state.State)
	}
	return sdk.Errorf(class, "%s is %s: %s", s.name, s.state.State, s.state.Reason)
}

func (s *supervisor) status() Status {
	s.mu.Lock()
	st := s.state
	r := s.cur
	sh := s.shadow
	st.Previous = s.previous
	st.History = slices.Clone(s.history[max(0, len(s.history)-statusHistory):])
	st.Upgrade = st.Upgrade.copy()
	s.mu.Unlock()
	if sh != nil {
		st.Shadow = sh.summary()
	}
	if r != nil {
		st.Shares = r.others(r)
	}
	if st.History == nil {
		st.History = []Transition{}
	}
	st.Permissions = slices.Clone(st.Permissions)
	if st.Permissions == nil {
		st.Permissions = []sdk.Permission{}
	}
	st.Ledger = s.books(r)
	st.LogTail, st.Ledger.LogDropped = s.log.tail(statusLines)
	return st
}

// statusLines is how much of the log a status carries.
const statusLines = 40
