package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/keptbatch"
	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/sdk"
)

// keptMemory keeps packets as a capture would.
type keptMemory struct {
	off     bool
	packets int
	err     error
	asked   []carved.Evidence
	file    []byte // instead of one that is right
}

func (m *keptMemory) Keeps() bool { return !m.off }

func (m *keptMemory) Kept(_ context.Context, _ string, e carved.Evidence) (k carved.Kept, file []byte, err error) {
	m.asked = append(m.asked, e)
	k.Matched = m.packets
	file = append(binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d), make([]byte, 20)...)
	for i := range m.packets {
		k.Packets = append(k.Packets, carved.KeptPacket{Number: uint64(i + 1)})
		file = append(file, make([]byte, 16)...)
	}
	if m.file != nil {
		file = m.file
	}
	return k, file, m.err
}

type queued struct{ list []keptbatch.Packets }

func (q *queued) put(_ uint8, _ int, v any) error {
	q.list = append(q.list, v.(keptbatch.Packets))
	return nil
}

func newTestEvidence(now *time.Time) (*evidence, *queued) {
	q := &queued{}
	return &evidence{put: q.put, log: slog.New(slog.DiscardHandler), now: func() time.Time { return *now }, findings: map[string]*evidenceOf{}}, q
}

func idOf(n int) string { return fmt.Sprintf("0190f3c1-0000-8000-8000-%012d", n) }

var rests = sdk.Finding{Packets: []uint64{9, 3, 9, 0}, Flows: []sdk.FlowRef{{ID: 4}, {ID: 2}, {ID: 0}}}

func TestThePacketsOfAFindingAreSentOnce(t *testing.T) {
	now := time.Unix(1000, 0)
	e, q := newTestEvidence(&now)
	m := &keptMemory{packets: 3}
	e.found(m, "run", idOf(1), rests)
	e.found(m, "run", idOf(1), rests) // it has grown while it waits
	e.found(m, "run", idOf(2), sdk.Finding{})
	if e.send(t.Context(), now); len(q.list) != 0 {
		t.Fatal("they were sent before the worker could have kept them")
	}
	now = now.Add(evidenceWait)
	e.send(t.Context(), now)
	e.send(t.Context(), now)
	if len(q.list) != 1 || q.list[0].Finding != idOf(1) || q.list[0].Run != "run" || len(q.list[0].Packets) != 3 || q.list[0].Why != "" {
		t.Fatalf("%+v", q.list)
	}
	if a := m.asked[0]; fmt.Sprint(a.Flows, a.Numbers) != "[2 4] [3 9]" {
		t.Errorf("asked for %+v", a)
	}
	for range 5 { // it grows on and on
		e.found(m, "run", idOf(1), rests)
		now = now.Add(evidenceAgain)
		e.send(t.Context(), now)
	}
	if len(q.list) != evidenceTimes {
		t.Errorf("sent %d times", len(q.list))
	}
	now = now.Add(evidenceForgets + time.Second)
	if e.send(t.Context(), now); len(e.findings) != 0 {
		t.Errorf("%d findings are remembered for ever", len(e.findings))
	}
}

// Why there are no packets is told, and nothing of a capture whose owner keeps none is asked for.
func TestWhyThereAreNoPackets(t *testing.T) {
	for why, m := range map[string]*keptMemory{
		keptbatch.Off: {off: true, packets: 3}, keptbatch.Gone: {}, keptbatch.Failed: {err: errors.New("it died")},
	} {
		now := time.Unix(1000, 0)
		e, q := newTestEvidence(&now)
		e.found(m, "run", idOf(1), rests)
		e.found(m, "run", idOf(1), rests)
		now = now.Add(evidenceWait)
		e.send(t.Context(), now)
		if len(q.list) != 1 || q.list[0].Why != why || m.off && len(m.asked) > 0 {
			t.Errorf("%s: %+v", why, q.list)
		}
	}
	now := time.Unix(1000, 0)
	e, q := newTestEvidence(&now)
	e.found(&keptMemory{err: traffic.ErrGone}, "run", idOf(1), rests)
	e.found(&keptMemory{packets: 2, file: []byte("no file of packets")}, "run", idOf(2), rests)
	e.send(t.Context(), now.Add(evidenceWait))
	if len(q.list) != 2 || q.list[0].Why == q.list[1].Why || e.numbers().Gone != 1 || e.numbers().Failed != 1 {
		t.Errorf("%+v, %+v", q.list, e.numbers())
	}
}

// What was sent is not taken back by a later try that finds less.
func TestPacketsThatWereSentStay(t *testing.T) {
	now := time.Unix(1000, 0)
	e, q := newTestEvidence(&now)
	m := &keptMemory{packets: 3}
	e.found(m, "run", idOf(1), rests)
	now = now.Add(evidenceWait)
	e.send(t.Context(), now)
	m.packets = 0
	e.found(m, "run", idOf(1), rests)
	now = now.Add(evidenceAgain)
	e.send(t.Context(), now)
	if len(m.asked) != 2 || len(q.list) != 1 {
		t.Errorf("asked %d times, sent %+v", len(m.asked), q.list)
	}
}

func TestTooMuchEvidence(t *testing.T) {
	now := time.Unix(1000, 0)
	e, q := newTestEvidence(&now)
	m := &keptMemory{packets: 1}
	for i := range maxEvidence + 1 {
		e.found(m, "run", idOf(i), rests)
	}
	if len(q.list) != 1 || q.list[0].Why != keptbatch.Limit || len(e.findings) != maxEvidence {
		t.Errorf("%d findings wait, %+v", len(e.findings), q.list)
	}
	now = now.Add(evidenceWait)
	e.send(t.Context(), now)
	if e.found(m, "run", idOf(-1), rests); len(e.findings) != maxEvidence {
		t.Error("what was sent made no room")
	}
	e.hour, e.sent = now, evidencePerHour
	now = now.Add(evidenceWait)
	e.send(t.Context(), now)
	if last := q.list[len(q.list)-1]; last.Why != keptbatch.Limit || e.numbers().Refused != 2 {
		t.Errorf("%+v, %+v", last, e.numbers())
	}
	now = now.Add(time.Hour)
	e.found(m, "run", idOf(1000), rests)
	now = now.Add(evidenceWait)
	e.send(t.Context(), now)
	if last := q.list[len(q.list)-1]; last.Why != "" {
		t.Errorf("in the next hour: %+v", last)
	}
	long := sdk.Finding{}
	for i := range uint64(9000) {
		long.Packets = append(long.Packets, i+1)
	}
	if n := wantedFor(long).Numbers; len(n) != maxEvidenceLists || n[0] != 1 || n[len(n)-1] != 9000 {
		t.Errorf("of 9000 packets %d are asked for", len(n))
	}
}
