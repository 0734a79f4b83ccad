package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func openLive(t *testing.T, now *clock) *Flows {
	t.Helper()
	f, err := OpenFlows(t.Context(), FlowsConfig{Dir: t.TempDir(), Now: now.Now})
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestNamesOfAgentsAreBounded has agents bring names: none takes those of others, and what is uploaded has room left.
func TestNamesOfAgentsAreBounded(t *testing.T) {
	f := openLive(t, &clock{t: start})
	tls := f.word("tls", "")
	for i := range maxAgentWords + 10 {
		id := f.word(fmt.Sprintf("a%d", i), "a")
		if (id == 0) != (i >= maxAgentWords) {
			t.Fatalf("name %d of an agent has the number %d", i, id)
		}
	}
	if f.RefusedNames() != 10 {
		t.Errorf("%d were refused", f.RefusedNames())
	}
	if f.word("tls", "a") != tls || f.word("a0", "a") == 0 {
		t.Error("a name that is known was refused")
	}
	if f.word("quic", "b") == 0 {
		t.Error("another agent's name was refused")
	}
	for agent := range maxLiveWords {
		for i := range maxAgentWords {
			f.word(fmt.Sprintf("n%d-%d", agent, i), fmt.Sprint("agent", agent))
		}
		if len(f.words) >= maxLiveWords {
			break
		}
	}
	if f.word("late", "c") != 0 || len(f.words) != maxLiveWords {
		t.Errorf("agents brought %d names", len(f.words))
	}
	if f.word("uploaded", "") == 0 {
		t.Error("the name of an uploaded capture was refused")
	}
}

// sent is the n-th batch of an agent's queue.
func sent(agent string, n uint64) LiveBatch {
	return LiveBatch{Tenant: "default", Agent: agent, Interface: "eth0", Worker: "w", Epoch: "e", Seq: n}
}

// add adds a batch with flows, and facts with a name for each flow that has one.
func add(t *testing.T, f *Flows, b LiveBatch, names map[uint64]string, ids ...uint64) {
	t.Helper()
	must(t, tryToAdd(t.Context(), f, b, names, ids...))
}

func tryToAdd(ctx context.Context, f *Flows, b LiveBatch, names map[uint64]string, ids ...uint64) error {
	r, err := f.RecordLive(ctx, b)
	if err != nil {
		return err
	}
	var facts []sdk.TLS
	for id, name := range names {
		facts = append(facts, sdk.TLS{Seen: sdk.Seen{Flow: id, Time: start}, ServerName: name})
	}
	if len(facts) > 0 {
		err = r.Facts(ctx, sdk.FactsTLS, records.Parcel{Frame: records.AppendFacts(nil, facts)})
	}
	var flows []sdk.Flow
	for _, id := range ids {
		flows = append(flows, someFlow(id))
	}
	if len(flows) > 0 && err == nil {
		err = r.Flows(ctx, records.Parcel{Frame: records.AppendFlows(nil, flows)})
	}
	return errors.Join(err, r.Close(ctx, err == nil))
}

// TestBatchesOfAWorkerAreOneRecording adds batches before and after the store was opened again, and on the next day.
func TestBatchesOfAWorkerAreOneRecording(t *testing.T) {
	now, dir := &clock{t: start}, t.TempDir()
	f := openFlows(t, dir, now)
	add(t, f, sent("a", 5), map[uint64]string{2: "second.example", 3: "third.example"}, 1)
	add(t, f, sent("a", 6), map[uint64]string{4: "second.example"}, 2)
	must(t, f.Close())
	f = openFlows(t, dir, now)
	for _, n := range []uint64{4, 5, 6} { // the answers were lost
		if err := tryToAdd(t.Context(), f, sent("a", n), nil, 100+n); !errors.Is(err, ErrStored) {
			t.Errorf("batch %d again: %v", n, err)
		}
	}
	add(t, f, sent("a", 7), nil, 3, 4)
	now.Add(24 * time.Hour)
	if err := tryToAdd(t.Context(), f, sent("a", 7), nil, 107); !errors.Is(err, ErrStored) {
		t.Errorf("on the next day: %v", err)
	}
	check := func() {
		t.Helper()
		rows := listAll(t, f, FlowQuery{Tenant: "default", Sort: FlowsByDuration, Ascending: true})
		if len(rows) != 4 {
			t.Fatalf("%d flows", len(rows))
		}
		for i, name := range []string{"", "second.example", "third.example", "second.example"} {
			if x := rows[i]; x.ID != uint64(i+1) || x.Name != name || x.Capture != rows[0].Capture {
				t.Errorf("%+v, want the name %q", x, name)
			}
			d, err := f.Get(t.Context(), "default", rows[0].Capture, uint64(i+1))
			if err != nil || d.Flow.ID != uint64(i+1) || (len(d.Facts) != 0) != (name != "") {
				t.Errorf("%+v, %v", d, err)
			}
		}
		if found := listAll(t, f, FlowQuery{Tenant: "default", Filter: FlowFilter{Text: "third"}}); len(found) != 1 || found[0].ID != 3 {
			t.Errorf("%+v", found)
		}
		sum, err := f.Summary(t.Context(), "default", FlowFilter{})
		if err != nil || sum.Flows != 4 || sum.Packets != 12 || !sum.First.Equal(start) || len(sum.Apps) != 1 || sum.Apps[0].Flows != 4 {
			t.Errorf("%+v, %v", sum, err)
		}
		if seen := replayed(t, f, rows[0].Capture); seen != 7 {
			t.Errorf("%d rows are replayed", seen)
		}
	}
	check()
	must(t, f.Close())
	f = openFlows(t, dir, now)
	check()
	add(t, f, sent("a", 8), nil, 5)
	rows := listAll(t, f, FlowQuery{Tenant: "default", Sort: FlowsByDuration, Ascending: true})
	if len(rows) != 5 || rows[4].Capture == rows[0].Capture {
		t.Errorf("%+v", rows)
	}
	must(t, f.Delete(t.Context(), "default", rows[0].Capture))
	if rows := listAll(t, f, FlowQuery{Tenant: "default"}); len(rows) != 1 {
		t.Errorf("%d flows are left", len(rows))
	}
}

// replayed is how many rows a recording gives back.
func replayed(t *testing.T, f *Flows, capture string) (n int) {
	t.Helper()
	must(t, f.Replay(t.Context(), "default", capture, func(_ string, p records.Parcel) error {
		n += records.Count(p.Frame)
		return nil
	}))
	return n
}

// TestOthersRecordingsAreTheirOwn adds batches of other agents, workers and interfaces, whose flows have the same numbers.
func TestOthersRecordingsAreTheirOwn(t *testing.T) {
	f := openLive(t, &clock{t: start})
	worker, iface, queue := sent("a", 2), sent("a", 3), sent("a", 1)
	worker.Worker, iface.Interface, queue.Epoch = "w2", "eth1", "e2"
	for _, b := range []LiveBatch{sent("a", 1), sent("b", 1), worker, iface} {
		add(t, f, b, nil, 1)
	}
	add(t, f, queue, nil, 2) // a queue that was lost begins again
	captures := map[string]int{}
	for _, x := range listAll(t, f, FlowQuery{Tenant: "default"}) {
		captures[x.Capture]++
	}
	if len(captures) != 4 {
		t.Errorf("%v", captures)
	}
	for _, wrong := range []LiveBatch{{}, {Tenant: "default", Agent: "a", Interface: "eth\x000", Worker: "w", Epoch: "e"}} {
		var query *QueryError
		if _, err := f.RecordLive(t.Context(), wrong); !errors.As(err, &query) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

// TestABatchThatIsBrokenOff leaves nothing, and comes again.
func TestABatchThatIsBrokenOff(t *testing.T) {
	f := openLive(t, &clock{t: start})
	for n := range uint64(3) {
		r, err := f.RecordLive(t.Context(), sent("a", n))
		must(t, err)
		must(t, r.Facts(t.Context(), sdk.FactsTLS, records.Parcel{Frame: records.AppendFacts(nil, []sdk.TLS{{Seen: sdk.Seen{Flow: n + 1, Time: start}, ServerName: "broken.example"}})}))
		must(t, r.Flows(t.Context(), records.Parcel{Frame: records.AppendFlows(nil, []sdk.Flow{someFlow(77)})}))
		var busy *BusyError
		if _, err := f.RecordLive(t.Context(), sent("a", n)); !errors.As(err, &busy) {
			t.Errorf("at the same time: %v", err)
		}
		must(t, r.Close(t.Context(), false))
		add(t, f, sent("a", n), nil, n+1)
	}
	rows := listAll(t, f, FlowQuery{Tenant: "default"})
	if len(rows) != 3 || rows[0].Name != "" || replayed(t, f, rows[0].Capture) != 3 {
		t.Errorf("%+v", rows)
	}
	if a := f.live.agents[agentKey{"default", "a"}]; a.batches != 3 || a.runs != 1 {
		t.Errorf("%+v", a)
	}
}

// TestFramesThatAreGone has a recording go on whose frames were damaged: the agent's queue must not stand still for it.
func TestFramesThatAreGone(t *testing.T) {
	f := openLive(t, &clock{t: start})
	add(t, f, sent("a", 1), nil, 1)
	add(t, f, sent("a", 2), nil, 2)
	files, err := filepath.Glob(filepath.Join(f.cfg.Dir, "*"+framesExt))
	must(t, err)
	must(t, os.Truncate(files[0], 10))
	add(t, f, sent("a", 3), nil, 3)
	add(t, f, sent("a", 4), nil, 4)
	rows := listAll(t, f, FlowQuery{Tenant: "default", Sort: FlowsByDuration, Ascending: true})
	if len(rows) != 2 || rows[0].ID != 3 || replayed(t, f, rows[0].Capture) != 2 {
		t.Errorf("%+v", rows)
	}
}

// TestWhatAnAgentSendsIsBounded counts the batches and the workers of a day, also over a restart.
func TestWhatAnAgentSendsIsBounded(t *testing.T) {
	now, dir := &clock{t: start}, t.TempDir()
	f := openFlows(t, dir, now)
	add(t, f, sent("a", 1), nil, 1)
	must(t, f.Close())
	f = openFlows(t, dir, now)
	a := f.live.agents[agentKey{"default", "a"}]
	if a.batches != 1 || a.runs != 1 {
		t.Fatalf("%+v", a)
	}
	refused := func(b LiveBatch) {
		t.Helper()
		var quota *QuotaError
		if _, err := f.RecordLive(t.Context(), b); !errors.As(err, &quota) || !strings.Contains(err.Error(), "tomorrow") ||
			quota.RetryAfter <= 0 || quota.RetryAfter > time.Hour {
			t.Errorf("one more: %v", err)
		}
	}
	a.runs = maxLiveRuns
	another := sent("a", 2)
	another.Worker = "w2"
	refused(another)
	add(t, f, sent("a", 2), nil, 2)
	a.batches = maxLiveADay
	refused(sent("a", 3))
	if _, err := f.RecordLive(t.Context(), sent("a", 2)); !errors.Is(err, ErrStored) { // its answer was lost
		t.Error(err)
	}
	add(t, f, sent("b", 3), nil, 3)
	now.Add(24 * time.Hour)
	add(t, f, sent("a", 3), nil, 3)
}

// TestABatchThatFoundNoRoomIsNotCounted has an agent try again while the server is busy.
func TestABatchThatFoundNoRoomIsNotCounted(t *testing.T) {
	f := openLive(t, &clock{t: start})
	for range maxRecordings {
		f.slots <- struct{}{}
	}
	for range 3 {
		var busy *BusyError
		if _, err := f.RecordLive(t.Context(), sent("a", 1)); !errors.As(err, &busy) {
			t.Fatalf("no room: %v", err)
		}
	}
	<-f.slots
	add(t, f, sent("a", 1), nil, 1)
	if a := f.live.agents[agentKey{"default", "a"}]; a.batches != 1 || a.runs != 1 || a.busy {
		t.Errorf("one batch counts as %+v", a)
	}
}

// TestFewRecordingsAreRemembered has more workers than are remembered between two batches take turns.
func TestFewRecordingsAreRemembered(t *testing.T) {
	f := openLive(t, &clock{t: start})
	const workers = maxGrowths + 3
	for n := range uint64(2 * workers) {
		b := sent("a", n)
		b.Worker = fmt.Sprint(n % workers)
		add(t, f, b, map[uint64]string{100: "open.example"}, n+1)
	}
	if len(f.live.growths) != maxGrowths {
		t.Errorf("%d are remembered", len(f.live.growths))
	}
	captures := map[string]int{}
	for _, x := range listAll(t, f, FlowQuery{Tenant: "default"}) {
		captures[x.Capture]++
	}
	for name, n := range captures {
		if n != 2 {
			t.Errorf("%d flows of %s", n, name)
		}
	}
	if len(captures) != workers {
		t.Errorf("%d recordings", len(captures))
	}
}

// TestARefusedNameIsNoNames opens the store again after a name was refused: what is unknown has no name.
func TestARefusedNameIsNoNames(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenFlows(t.Context(), FlowsConfig{Dir: dir})
	must(t, err)
	for i := range maxAgentWords {
		f.word(fmt.Sprint("a", i), "a")
	}
	r, err := f.RecordLive(t.Context(), sent("a", 1))
	must(t, err)
	if r.word("beyond") != 0 || r.word("a1") == 0 {
		t.Error("a name beyond what an agent may bring was taken, or one that is known was not")
	}
	must(t, r.Close(t.Context(), true))
	must(t, f.Close())
	f, err = OpenFlows(t.Context(), FlowsConfig{Dir: dir})
	must(t, err)
	defer f.Close()
	if words := f.vocabulary(); words[0] != "" || len(words) != 3 || words[2] != "a1" {
		t.Errorf("%q", words)
	}
}
