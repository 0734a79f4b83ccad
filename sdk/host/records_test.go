//go:build linux

package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// needsRecords skips a test that makes no sense over gRPC. The tests run without that variable first.
func needsRecords(t *testing.T) {
	t.Helper()
	if os.Getenv(overGRPC) != "" {
		t.Skip("over gRPC")
	}
}

func TestThePlaneIsUsed(t *testing.T) {
	needsRecords(t)
	cfg, _ := testConfig(t, "honest")
	p, err := Start(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if !p.Records() {
		t.Fatal("records travel by gRPC")
	}
	i := configure(t, p, "test/fanout", `{"limit": 3}`)
	ring := cfg.Ring
	var viaSocket, viaRing sinks
	frame := records.AppendFlows(nil, testFlows(1000))
	if err := i.Inspect(testContext(t), "c", frame, &viaSocket); err != nil {
		t.Fatal(err)
	}
	if err := i.Flush(testContext(t), &viaSocket); err != nil {
		t.Fatal(err)
	}
	block, err := ring.Put(testContext(t), frame)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.InspectBlock(testContext(t), "c", block, &viaRing); err != nil {
		t.Fatal(err)
	}
	if err := i.Flush(testContext(t), &viaRing); err != nil {
		t.Fatal(err)
	}
	if len(viaSocket.findings) != 2 || fmt.Sprint(viaSocket.findings) != fmt.Sprint(viaRing.findings) {
		t.Errorf("by socket %v\nby ring %v", viaSocket.findings, viaRing.findings)
	}
	block.Release()
	if s := ring.Stats(); s.Blocks != 0 {
		t.Errorf("%d blocks are left", s.Blocks)
	}
}

func TestAStreamKeepsItsOrder(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/fanout", `{"limit": 50}`)
	var got sinks
	var ends []string
	s := i.Stream(&got, func(n uint64, err error) { ends = append(ends, fmt.Sprint(n, " ", err != nil)) })
	flows := testFlows(100)
	var frame []byte
	for n := range 10 {
		if frame = records.AppendFlows(frame[:0], flows[n*10:n*10+10]); n == 7 {
			frame[3]++ // not a frame any more
		}
		if err := s.Send(testContext(t), "c", frame); err != nil {
			t.Fatal(err)
		}
	}
	s.Wait(testContext(t))
	if want := "1 false 2 false 3 false 4 false 5 false 6 false 7 false 8 true 9 false 10 false"; strings.Join(ends, " ") != want {
		t.Errorf("got %v", ends)
	}
	if len(got.findings) != 1 {
		t.Errorf("findings %v", got.findings)
	}
}

func TestPackets(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/lengths", `{}`)
	packets := []sdk.Packet{
		{Number: 1, Time: time.Unix(1, 0).UTC(), Link: 1, Length: 1500, Data: []byte("abc")},
		{Number: 2, Time: time.Unix(2, 0).UTC(), Link: 1, Length: 60},
	}
	var got sinks
	if err := i.Inspect(testContext(t), "c", records.AppendPackets(nil, packets), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.findings) != 1 || got.findings[0].Summary != "2 packets, 1560 bytes, abc" {
		t.Errorf("got %+v", got.findings)
	}
}

func TestUndoAndStatus(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/teller", `{}`)
	status, err := i.Status(testContext(t), sdk.Receipt{ForeignID: "T-1"})
	if err != nil || status.State != sdk.DeliveryClosed || status.Text != "T-1 done" || !status.Time.Equal(time.Unix(5, 0)) {
		t.Errorf("%+v %v", status, err)
	}
	if err := i.Undo(testContext(t), sdk.Receipt{ForeignID: "T-1"}); err != nil {
		t.Error(err)
	}
	if err := i.Undo(testContext(t), sdk.Receipt{ForeignID: "T-2"}); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("got %v", err)
	}
	if _, err := configureAs(t, p, "c", "test/clock", `{}`).Status(testContext(t), sdk.Receipt{}); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("got %v", err)
	}
	hostile, _ := start(t, "hostile")
	if _, err := configure(t, hostile, "test/teller", `{}`).Status(testContext(t), sdk.Receipt{}); sdk.ClassOf(err) != sdk.Internal {
		t.Errorf("got %v", err)
	}
}

func TestDescriptionsSayWhatIsImplemented(t *testing.T) {
	p, _ := start(t, "honest")
	all, err := p.Describe(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range all {
		got[d.ID] = fmt.Sprint(d.Watches, d.Undoes, d.ReportsStatus, d.Snapshots, d.Subscription.Packets != nil)
	}
	for id, want := range map[string]string{
		"test/clock": "true false false false false", "test/teller": "false true true false false",
		"test/fanout": "false false false true false", "test/lengths": "false false false false true",
	} {
		if got[id] != want {
			t.Errorf("%s: %s, want %s", id, got[id], want)
		}
	}
}

// numbers takes numbered samples, as a store does: what was not committed is lost.
type numbers struct {
	mu        sync.Mutex
	held      []uint64
	committed map[uint64]int
	commits   int
	full      error
	pause     time.Duration
}

func (n *numbers) Sample(s sdk.Sample) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = append(n.held, uint64(s.Value))
	return nil
}

func (n *numbers) Commit(context.Context) error {
	time.Sleep(n.pause)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full != nil {
		return n.full
	}
	if n.committed == nil {
		n.committed = map[uint64]int{}
	}
	for _, v := range n.held {
		n.committed[v]++
	}
	n.held = n.held[:0]
	n.commits++
	return nil
}

func (n *numbers) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.committed)
}

func TestWatchRunsBesideCollect(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/clock", `{}`)
	ctx, cancel := context.WithCancel(testContext(t))
	var watched numbers
	done := make(chan error, 1)
	go func() { done <- i.Watch(ctx, &watched) }()
	for end := time.Now().Add(patience); watched.count() < 10; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is watched")
		}
	}
	var collected sinks
	if err := i.Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0), Interval: time.Second}, &collected); err != nil || len(collected.samples) != 1 {
		t.Errorf("beside it: %d samples, %v", len(collected.samples), err)
	}
	if err := i.Watch(testContext(t), &numbers{}); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("a second watch: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := i.Stop(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestASinkThatCannotCommitFailsTheCall(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/clock", `{"mode": "many", "count": 100000}`)
	sink := &numbers{full: sdk.Errorf(sdk.Temporary, "the disk is full")}
	err := i.Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, sink)
	if err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("got %v", err)
	}
	sink.full = nil
	sink.held = nil
	if err := i.Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, sink); err != nil || sink.count() != 100_000 {
		t.Errorf("afterwards: %d samples, %v", sink.count(), err)
	}
	for v, n := range sink.committed {
		if n != 1 {
			t.Fatalf("sample %d came %d times", v, n)
		}
	}
}

// A slow store holds up the collector: what lies between the two is bounded by the credit.
func TestASlowStoreHoldsUpTheCollector(t *testing.T) {
	needsRecords(t)
	p, _ := start(t, "honest")
	i := configure(t, p, "test/clock", `{"mode": "many", "count": 60000}`)
	sink := &numbers{pause: 5 * time.Millisecond}
	most := 0
	done := make(chan error, 1)
	go func() { done <- i.Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, sink) }()
	for {
		select {
		case err := <-done:
			if err != nil || sink.count() != 60_000 {
				t.Errorf("%d samples, %v", sink.count(), err)
			}
			if most > 9*1024 { // eight messages of credit
				t.Errorf("%d samples were held", most)
			}
			return
		default:
			sink.mu.Lock()
			most = max(most, len(sink.held))
			sink.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
	}
}

// A plugin that is killed at any moment has lost nothing that was acknowledged, and nothing is there twice.
func TestKilledPluginsLoseNothingAcknowledged(t *testing.T) {
	needsRecords(t)
	kills := 50
	if testing.Short() {
		kills = 5
	}
	store := &numbers{}
	var acknowledged []uint64
	for round := range kills {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cfg, _ := testConfig(t, "pusher")
		cfg.Cmd.ExtraFiles = append(cfg.Cmd.ExtraFiles, write)
		cfg.Cmd.Env = append(cfg.Cmd.Env, fmt.Sprintf("PICKET_TEST_ACKED=%d", 2+len(cfg.Cmd.ExtraFiles)), fmt.Sprintf("PICKET_TEST_FIRST=%d", (round+1)*10_000_000))
		p, err := Start(testContext(t), cfg)
		write.Close()
		if err != nil {
			t.Fatal(err)
		}
		told := make(chan []uint64, 1)
		go func() { told <- readNumbers(read) }()
		i := configure(t, p, "test/pusher", `{}`)
		done := make(chan error, 1)
		go func() {
			for {
				if err := i.Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, store); err != nil {
					done <- err
					return
				}
			}
		}()
		before := store.count()
		for end := time.Now().Add(patience); store.count() <= before+round*97; time.Sleep(50 * time.Microsecond) {
			if time.Now().After(end) {
				t.Fatal("nothing comes")
			}
		}
		p.Kill()
		if err := <-done; err == nil {
			t.Error("a call of a killed plugin ended well")
		}
		store.mu.Lock()
		store.held = nil // what was not committed is lost
		store.mu.Unlock()
		acknowledged = append(acknowledged, <-told...)
	}
	if len(acknowledged) < kills*100 {
		t.Fatalf("only %d samples were acknowledged", len(acknowledged))
	}
	for _, v := range acknowledged {
		if store.committed[v] != 1 {
			t.Fatalf("sample %d was acknowledged and is there %d times", v, store.committed[v])
		}
	}
	for v, n := range store.committed {
		if n != 1 {
			t.Fatalf("sample %d is there %d times", v, n)
		}
	}
	t.Logf("%d samples acknowledged, %d stored, %d commits", len(acknowledged), len(store.committed), store.commits)
}

func readNumbers(r io.ReadCloser) []uint64 {
	defer r.Close()
	data, _ := io.ReadAll(r)
	var out []uint64
	for ; len(data) >= 8; data = data[8:] {
		out = append(out, binary.LittleEndian.Uint64(data))
	}
	return out
}

func TestBrokenRulesEndTheProcess(t *testing.T) {
	needsRecords(t)
	p, _ := start(t, "forger")
	i := configure(t, p, "test/forger", `{}`)
	err := i.Inspect(testContext(t), "c", records.AppendFlows(nil, testFlows(1)), &sinks{})
	if sdk.ClassOf(err) != sdk.Internal || !strings.Contains(err.Error(), "it must be that of 1") {
		t.Errorf("got %v", err)
	}
	<-p.Exited()
	if p.Fault() == nil {
		t.Error("no fault")
	}
}
