package pluginhost

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// packed is a host whose plugins are all of one pack.
func packed(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	f := newFixture(t, change)
	f.shelf.pack = "../packs/test"
	return f
}

// pids are the processes of instances that are ready.
func (f *fixture) pids(instances ...string) []int {
	f.t.Helper()
	out := make([]int, 0, len(instances))
	for _, name := range instances {
		out = append(out, f.until(name, "a process", func(s Status) bool { return s.State == Ready && s.PID != 0 }).PID)
	}
	return out
}

func oneOf(pids []int) bool { return len(slices.Compact(slices.Clone(pids))) == 1 }

func TestAPackIsOneProcess(t *testing.T) {
	f := packed(t, nil)
	var list []Assignment
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("c%02d", i))
		list = append(list, moodyAssignment(names[i], ""))
	}
	own := moodyAssignment("dials", "")
	own.Grants = []sdk.Permission{{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"127.0.0.1"}}}}
	f.shelf.perms = own.Grants
	secret := moodyAssignment("secret", "")
	secret.Secrets = map[string]string{"password": "hush-hush-hush"}
	f.apply(append(slices.Clone(list), own, secret)...)
	pids := f.pids(names...)
	if !oneOf(pids) {
		t.Fatalf("20 instances of a pack have the processes %v", slices.Compact(slices.Sorted(slices.Values(pids))))
	}
	if others := f.pids("dials", "secret"); others[0] == pids[0] || others[1] == pids[0] || others[0] == others[1] {
		t.Errorf("an instance that may dial, and one with a secret, have the processes %v; that of the pack is %d", others, pids[0])
	}
	if st, _ := f.Instance("c03"); len(st.Shares) != 19 || slices.Contains(st.Shares, "c03") {
		t.Errorf("c03 shares with %v", st.Shares)
	}
	if st, _ := f.Instance("dials"); len(st.Shares) != 0 {
		t.Errorf("what has a process for itself shares it with %v", st.Shares)
	}
	if e, err := f.Explain("c03"); err != nil || len(e.Shares) != 19 || e.Confinement == nil || e.Confinement.PID == 0 {
		t.Errorf("explained: %v, %+v", err, e)
	}
	for _, name := range names {
		if samples, err := f.collect(name); err != nil || len(samples) != 1 || samples[0].Value != 1 {
			t.Errorf("%s: %v, %v", name, samples, err)
		}
	}
	f.apply(list[:2]...)
	f.until("c01", "to share with one", func(s Status) bool { return len(s.Shares) == 1 })
	if now := f.pids("c00", "c01"); !oneOf(append(now, pids[0])) {
		t.Errorf("those that stay were moved from %d to %v", pids[0], now)
	}
	f.apply()
	waitGone(t, pids[0])
}

// What the process is held to is what each of them was granted: who sees the machine shares with who sees the same.
func TestAPackThatSeesTheMachineIsOneProcess(t *testing.T) {
	f := packed(t, nil)
	reads := func(paths ...string) sdk.Permission {
		return sdk.Permission{Cap: sdk.CapFSRead, Args: map[string][]string{"paths": paths}}
	}
	machine := sdk.Permission{Cap: sdk.CapHostMetrics}
	f.shelf.perms = []sdk.Permission{machine, reads("/proc", "/sys")}
	given := map[string][]sdk.Permission{
		"host": {machine, reads("/proc", "/sys")}, "process": {reads("/proc", "/sys"), machine},
		"less": {machine, reads("/proc")}, "nothing": {},
	}
	var list []Assignment
	for _, name := range slices.Sorted(maps.Keys(given)) {
		a := moodyAssignment(name, "")
		a.Grants = given[name]
		list = append(list, a)
	}
	f.apply(list...)
	if pids := f.pids("host", "process"); !oneOf(pids) {
		t.Errorf("two that see the same have the processes %v", pids)
	}
	if pids := f.pids("host", "less", "nothing"); pids[0] == pids[1] || pids[0] == pids[2] || pids[1] == pids[2] {
		t.Errorf("those that see more and less share: %v", pids)
	}
}

func TestWhatInstancesOfAProcessKeepIsTheirs(t *testing.T) {
	f := packed(t, nil)
	f.apply(moodyAssignment("a", "state"), moodyAssignment("b", "state"))
	f.pids("a", "b")
	for round, name := range []string{"a", "a", "a", "b"} {
		want := float64(round%3 + 1)
		if samples, err := f.collect(name); err != nil || len(samples) != 1 || samples[0].Value != want {
			t.Errorf("%s: %v, %v, want %v", name, samples, err, want)
		}
	}
	if err := f.Restart(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if samples, err := f.collect("a"); err != nil || samples[0].Value != 4 {
		t.Errorf("after a restart: %v, %v", samples, err)
	}
	if !oneOf(f.pids("a", "b")) {
		t.Error("a restart moved an instance into another process")
	}
}

func TestABadInstanceIsolatesItself(t *testing.T) {
	for mood, change := range map[string]func(*Config){
		"panic": nil,
		"exit":  nil,
		"hang":  func(c *Config) { c.Deadlines.Collect = 300 * time.Millisecond },
	} {
		t.Run(mood, func(t *testing.T) {
			f := packed(t, change)
			f.apply(moodyAssignment("bad", mood), moodyAssignment("b", ""), moodyAssignment("c", ""))
			before := f.pids("bad", "b", "c")
			if !oneOf(before) {
				t.Fatalf("they have the processes %v", before)
			}
			for crash := range 3 {
				f.pids("bad")
				if _, err := f.collect("bad"); sdk.ClassOf(err) != sdk.Temporary {
					t.Errorf("got %v", err)
				}
				f.until("bad", "its crash", func(s Status) bool { return s.Ledger.Crashes == uint64(crash)+1 && s.State != Starting })
				if crash < 2 {
					for _, name := range []string{"b", "c"} { // they may hear of the end later than the bad one
						f.until(name, "another process", func(s Status) bool { return s.State == Ready && s.PID != 0 && s.PID != before[0] })
					}
					after := f.pids("b", "c", "bad")
					if after[0] != after[1] || after[0] == after[2] || after[0] == before[0] {
						t.Fatalf("after crash %d the good ones have the processes %v, the bad one %d", crash+1, after[:2], after[2])
					}
				}
			}
			f.untilState("bad", Quarantined)
			for _, name := range []string{"b", "c"} {
				st, _ := f.Instance(name)
				if st.Ledger.Crashes != 0 || st.State != Ready || st.Restarts != 1 || len(st.Incidents) != 0 {
					t.Errorf("%s: %s, %d crashes, %d restarts, %v", name, st.State, st.Ledger.Crashes, st.Restarts, st.Incidents)
				}
			}
		})
	}
}

// Who does not answer while nobody calls it, or dies as it is stopped, is not taken for those who were at work.
func TestWhoIsAtWorkIsNotToBlameForAnother(t *testing.T) {
	for mood, end := range map[string]func(f *fixture){
		"deaf":          func(*fixture) {},
		"panic at stop": func(f *fixture) { _ = f.Restart(f.t.Context(), "bad") },
	} {
		t.Run(mood, func(t *testing.T) {
			f := packed(t, func(c *Config) { c.Deadlines.Health, c.HealthEvery = 300*time.Millisecond, 100*time.Millisecond })
			f.apply(moodyAssignment("worker", "slow"))
			before := f.pids("worker")[0]
			work := make(chan error, 1)
			go func() {
				_, err := f.collect("worker")
				work <- err
			}()
			f.until("worker", "a call", func(s Status) bool { return s.Ledger.InFlight > 0 })
			f.apply(moodyAssignment("worker", "slow"), moodyAssignment("bad", mood))
			f.until("bad", "the same process", func(s Status) bool { return s.PID == before })
			end(f)
			if err := <-work; sdk.ClassOf(err) != sdk.Temporary {
				t.Errorf("the work ended with %v", err)
			}
			f.until("worker", "another process", func(s Status) bool { return s.State == Ready && s.PID != 0 && s.PID != before })
			if st, _ := f.Instance("worker"); st.Ledger.Crashes != 0 || len(st.Incidents) != 0 {
				t.Errorf("who worked has %d crashes, %v", st.Ledger.Crashes, st.Incidents)
			}
			f.until("bad", "a process for itself", func(s Status) bool { return s.State == Ready && len(s.Shares) == 0 })
		})
	}
}

func TestAStartThatFailsLeavesTheOthersAlone(t *testing.T) {
	f := packed(t, func(c *Config) { c.Deadlines.Drain = 300 * time.Millisecond })
	f.apply(moodyAssignment("b", ""), moodyAssignment("c", ""))
	before := f.pids("b", "c")
	unknown := moodyAssignment("bad", "")
	unknown.Config = []byte(`{"nonsense": 1}`)
	f.apply(moodyAssignment("b", ""), moodyAssignment("c", ""), unknown)
	f.untilState("bad", Refused)
	if after := f.pids("b", "c"); !slices.Equal(after, before) {
		t.Errorf("a refused configuration moved the others from %v to %v", before, after)
	}
}

// Nobody is to blame for the first end that nobody explains; after the second each shows by itself who it was.
func TestAnEndThatNobodyExplains(t *testing.T) {
	f := packed(t, nil)
	f.apply(moodyAssignment("a", ""), moodyAssignment("b", ""))
	for kill := range 2 {
		pids := f.pids("a", "b")
		if !oneOf(pids) {
			t.Fatalf("before kill %d: %v", kill+1, pids)
		}
		_ = syscall.Kill(pids[0], syscall.SIGKILL)
		for _, name := range []string{"a", "b"} {
			f.until(name, "another process", func(s Status) bool { return s.State == Ready && s.PID != 0 && s.PID != pids[0] })
		}
	}
	if pids := f.pids("a", "b"); oneOf(pids) {
		t.Error("after the second kill they still share")
	}
	for _, name := range []string{"a", "b"} {
		if st, _ := f.Instance(name); st.Ledger.Crashes != 0 || st.Restarts != 2 {
			t.Errorf("%s: %d crashes, %d restarts", name, st.Ledger.Crashes, st.Restarts)
		}
	}
}

func TestKillsOfASharedProcessLoseNothing(t *testing.T) {
	f := packed(t, func(c *Config) {
		c.MaxCrashes, c.CrashWindow = 1_000_000, time.Nanosecond // so that they share again
		c.Backoff = Backoffs{First: time.Millisecond, Base: time.Millisecond, Max: time.Millisecond}
	})
	names := []string{"d0", "d1", "d2"}
	var list []Assignment
	for _, name := range names {
		list = append(list, versionedAssignment(name, "stateful/detector", "1.0.0"))
	}
	f.apply(list...)
	if !oneOf(f.pids(names...)) {
		t.Fatal("they do not share")
	}
	var killing sync.Mutex
	kills, shared := 0, 0
	var work sync.WaitGroup
	for _, d := range f.Detectors() {
		work.Go(func() {
			f.analyse(d, 120, func(i int) {
				if i%20 != 7 {
					return
				}
				killing.Lock()
				defer killing.Unlock()
				if st, _ := f.Instance(d.Instance()); st.PID != 0 && st.State == Ready {
					_ = syscall.Kill(st.PID, syscall.SIGKILL)
					kills++
					if len(st.Shares) > 0 {
						shared++
					}
				}
			})
		})
	}
	work.Wait()
	if shared == 0 {
		t.Errorf("%d kills, none of a process that was shared", kills)
	}
	for _, name := range names {
		if st, _ := f.Instance(name); st.Ledger.Replayed == 0 {
			t.Errorf("%s: nothing was given again", name)
		}
	}
}

// What lies in no ring is sent to a process once for all its instances. They are given exactly that, also what they had not answered
// when their process was killed.
func TestWhatIsSentOnceIsSeenByAll(t *testing.T) {
	f := packed(t, func(c *Config) {
		c.MaxCrashes, c.CrashWindow = 1_000_000, time.Nanosecond // so that they share again
		c.Backoff = Backoffs{First: time.Millisecond, Base: time.Millisecond, Max: time.Millisecond}
	})
	f.noRing = true
	names := []string{"d0", "d1", "d2"}
	var list []Assignment
	for _, name := range names {
		list = append(list, f.reading(name, "stateful/detector", "1.0.0"))
	}
	f.apply(list...)
	if !oneOf(f.pids(names...)) {
		t.Fatal("they do not share")
	}
	const batches = 200
	f.exact(f.stream(f.Detectors(), batches, func(i int) {
		if i%40 != 20 {
			return
		}
		if st, _ := f.Instance(names[i/40%3]); st.PID != 0 && st.State == Ready {
			_ = syscall.Kill(st.PID, syscall.SIGKILL)
		}
	}), batches)
}

// One that may read flows and one that may not share a process. Which of them begins decides whether that has the ring, and who may
// not read what lies there is told of none of it.
func TestReadersOfFlowsShareWithOthers(t *testing.T) {
	for _, c := range []struct {
		first, second string
		ring          bool
	}{{"reads", "other", true}, {"other", "reads", false}} {
		f := packed(t, nil)
		both := map[string]Assignment{"reads": f.reading("reads", "stateful/detector", "1.0.0"), "other": versionedAssignment("other", "stateful/detector", "1.0.0")}
		other := both["other"]
		other.Grants = []sdk.Permission{{Cap: sdk.CapFactsRead, Args: map[string][]string{"kinds": {"dns"}}}}
		both["other"] = other
		f.shelf.perms = append(slices.Clone(f.shelf.perms), other.Grants...)
		f.apply(both[c.first])
		f.pids(c.first)
		f.apply(both[c.first], both[c.second])
		if !oneOf(f.pids(c.first, c.second)) {
			t.Errorf("%s and then %s do not share", c.first, c.second)
		}
		f.mu.Lock()
		ring := f.ring != nil
		f.mu.Unlock()
		if ring != c.ring {
			t.Errorf("%s and then %s: ring %v", c.first, c.second, ring)
		}
		for _, d := range f.Detectors() {
			if got := d.Subscription().Flows; got != (d.Instance() == "reads") {
				t.Errorf("%s reads flows: %v", d.Instance(), got)
			}
		}
		reader := slices.IndexFunc(f.Detectors(), func(d Detector) bool { return d.Instance() == "reads" })
		f.exact(f.stream(f.Detectors()[reader:reader+1], 40, nil), 40)
	}
}

func TestAnUpgradeOfOneOfAPack(t *testing.T) {
	f := packed(t, func(c *Config) { c.Probation.For = time.Hour })
	f.shelf.moods = map[string]string{"1.0.0": "", "2.0.0": "", "3.0.0": "exit at start"}
	for _, name := range []string{"a", "b", "c"} {
		f.apply(versionedAssignment("a", "stateful/detector", "1.0.0"), versionedAssignment("b", "stateful/detector", "1.0.0"),
			versionedAssignment("c", "stateful/detector", "1.0.0"))
		f.pids(name)
	}
	before := f.pids("a", "b", "c")
	if !oneOf(before) {
		t.Fatalf("they have the processes %v", before)
	}
	if err := f.Upgrade(t.Context(), "a", "2.0.0"); err != nil {
		t.Fatal(err)
	}
	after := f.pids("a", "b", "c")
	if after[0] == before[0] || after[1] != before[0] || after[2] != before[0] {
		t.Errorf("the upgrade of one moved them from %v to %v", before, after)
	}
	if err := f.Upgrade(t.Context(), "b", "2.0.0"); err != nil {
		t.Fatal(err)
	}
	if now := f.pids("a", "b", "c"); now[1] != after[0] || now[0] != after[0] || now[2] != before[0] {
		t.Errorf("the upgrade of the second moved them from %v to %v", after, now)
	}
	if err := f.Rollback(t.Context(), "a", "a test"); err != nil {
		t.Fatal(err)
	}
	if now := f.pids("a", "c"); !oneOf(now) {
		t.Errorf("taken back, it does not share with its old version: %v", now)
	}
}

// Plugins of a pack have the same bytes and not the same habits: what one can do, and what it knew, says nothing of the next.
func TestAnotherPluginOfThePack(t *testing.T) {
	f := packed(t, nil)
	begin := func(plugin string) {
		t.Helper()
		f.apply(versionedAssignment("d", plugin, "1.0.0"))
		f.until("d", plugin, func(s Status) bool { return s.Plugin == plugin && s.State == Ready && s.PID != 0 })
	}
	s := func() *supervisor {
		s, err := f.supervisor("d")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	begin("forgetful/detector")
	begin("stateful/detector")
	if !s().recoverable() {
		t.Error("it is taken for one that keeps no state, as the one before was")
	}
	f.analyse(f.Detectors()[0], 30, nil)
	begin("forgetful/detector")
	begin("stateful/detector")
	<-s().turn
	if !s().journal.empty() {
		t.Error("it is to be given what another plugin knew")
	}
	s().turn <- struct{}{}
}

// What must be held to by a process is the sum of what its instances may have, as far as there is room.
func TestTheLimitsOfASharedProcess(t *testing.T) {
	f := packed(t, nil)
	f.shelf.limits = registry.Limits{Memory: "64Mi", CPU: 0.5}
	f.room.most = 128 << 20
	f.apply(moodyAssignment("a", ""))
	pid := f.pids("a")[0]
	limits := func(name string) confine.Limits {
		s, err := f.supervisor(name)
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.cur.limit()
	}
	if l := limits("a"); l.Memory != 64<<20 || l.CPU != 0.5 {
		t.Errorf("alone: %+v", l)
	}
	f.apply(moodyAssignment("a", ""), moodyAssignment("b", ""))
	if got := f.pids("a", "b"); !oneOf(append(got, pid)) {
		t.Fatalf("processes %v, the first was %d", got, pid)
	}
	if l := limits("a"); l.Memory != 128<<20 || l.CPU != 1 {
		t.Errorf("of two: %+v", l)
	}
	f.apply(moodyAssignment("a", ""), moodyAssignment("b", ""), moodyAssignment("c", ""))
	if got := f.pids("a", "b", "c"); got[2] == pid || got[0] != pid || got[1] != pid {
		t.Errorf("there was room for two of them: %v", got)
	}
}

func TestTheProcessorTimeOfASharedProcessIsSplit(t *testing.T) {
	a, b, c := &run{s: &supervisor{name: "a"}}, &run{s: &supervisor{name: "b"}}, &run{s: &supervisor{name: "c"}}
	p := &process{runs: map[string]*run{"a": a, "b": b, "c": c}}
	p.share(30*time.Millisecond, nil) // nobody had a call
	p.share(130*time.Millisecond, map[*run]time.Duration{a: 3 * time.Second, b: time.Second})
	p.share(130*time.Millisecond, map[*run]time.Duration{c: time.Second}) // nothing was used
	for r, want := range map[*run]time.Duration{a: 85 * time.Millisecond, b: 35 * time.Millisecond, c: 10 * time.Millisecond} {
		if r.part != want {
			t.Errorf("%s has %s, want %s", r.s.name, r.part, want)
		}
	}
}

// The ledger of each tells what it used itself, and all together what the process did.
func TestTheLedgersOfASharedProcess(t *testing.T) {
	f := packed(t, func(c *Config) { c.HealthEvery = 20 * time.Millisecond })
	f.apply(versionedAssignment("busy", "stateful/detector", "1.0.0"), versionedAssignment("idle", "stateful/detector", "1.0.0"))
	pids := f.pids("busy", "idle")
	if !oneOf(pids) {
		t.Fatalf("processes %v", pids)
	}
	var d Detector
	for _, d = range f.Detectors() {
		if d.Instance() == "busy" {
			break
		}
	}
	f.analyse(d, 200, nil)
	used := func(s Status) float64 { return s.Ledger.CPUSeconds }
	busy := f.until("busy", "its part", func(s Status) bool { return used(s) > 0.01 })
	idle, _ := f.Instance("idle")
	if used(idle) > used(busy) {
		t.Errorf("the busy one used %.3f s, the idle one %.3f s", used(busy), used(idle))
	}
	if idle.Ledger.MemoryBytes == 0 || idle.Ledger.Calls != 0 || len(idle.Shares) != 1 {
		t.Errorf("idle: %+v, shares with %v", idle.Ledger, idle.Shares)
	}
	f.apply()
	waitGone(t, pids[0])
}
