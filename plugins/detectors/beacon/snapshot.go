package beacon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// A snapshot is a list: its head, then one record per pair. Version 1 was the same as one object, which needed room for
// itself three times over; it is still read. Another version is refused.
const (
	snapshotVersion = 2
	firstVersion    = 1
)

type snapshot struct {
	Version   int          `json:"version"`
	Clock     int64        `json:"clock"`
	Swept     int64        `json:"swept"`
	Next      uint64       `json:"next"`
	Forgotten uint64       `json:"forgotten"`
	Count     int          `json:"count"`           // of the pairs that follow, the one touched longest ago first
	Pairs     []pairRecord `json:"pairs,omitempty"` // version 1 alone
}

type pairRecord struct {
	Src      netip.Addr   `json:"src"`
	Dst      netip.Addr   `json:"dst"`
	Port     uint16       `json:"port"`
	Proto    uint8        `json:"proto"`
	Number   uint64       `json:"number"`
	Reported int          `json:"reported"`
	Calls    []callRecord `json:"calls"`
}

type callRecord struct {
	Start  int64       `json:"s"`
	End    int64       `json:"e"`
	Sent   uint64      `json:"o"`
	Packet uint64      `json:"n"`
	Ref    sdk.FlowRef `json:"f"`
}

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	w := saved.NewWriter()
	head := snapshot{Version: snapshotVersion, Clock: d.clock, Swept: d.swept, Next: d.pairs.next, Forgotten: d.pairs.forgotten, Count: d.pairs.quiet.Len()}
	if err := w.Put(head); err != nil {
		return nil, err
	}
	for e := d.pairs.quiet.Front(); e != nil; e = e.Next() {
		p := e.Value.(*pair)
		r := pairRecord{Src: p.key.src, Dst: p.key.dst, Port: p.key.port, Proto: p.key.proto, Number: p.number, Reported: p.reported}
		for _, c := range p.calls {
			r.Calls = append(r.Calls, callRecord{c.start, c.end, c.sent, c.packet, c.ref.Full(p.key.src, p.key.dst, p.key.proto)})
		}
		if err := w.Put(r); err != nil {
			return nil, err
		}
	}
	return w.Bytes()
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	restored := newPairs(d.cfg.MaxPairs, d.cfg.MaxCalls, d.cfg.MaxMemory)
	head, err := readSnapshot(state, func(r *pairRecord) {
		p := &pair{key: pairKey{r.Src, service{r.Dst, r.Port, r.Proto}}, number: r.Number, reported: r.Reported}
		for _, c := range r.Calls {
			p.calls = append(p.calls, call{c.Start, c.End, c.Sent, c.Packet, flowref.From(c.Ref)})
		}
		restored.insert(p)
		restored.memory += len(p.calls)
	})
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	restored.next, restored.forgotten = head.Next, head.Forgotten
	d.pairs, d.clock, d.swept = restored, head.Clock, head.Swept
	return nil
}

// readSnapshot gives each pair of a snapshot to take.
func readSnapshot(state []byte, take func(*pairRecord)) (head snapshot, err error) {
	if !saved.Is(state) {
		if err := json.Unmarshal(state, &head); err != nil {
			return head, err
		}
		if head.Version != firstVersion {
			return head, fmt.Errorf("version %d, expected %d or %d", head.Version, firstVersion, snapshotVersion)
		}
		for i := range head.Pairs {
			take(&head.Pairs[i])
		}
		return head, nil
	}
	list, err := saved.NewReader(state)
	if err != nil {
		return head, err
	}
	if err := list.Next(&head); err != nil {
		return head, err
	}
	if head.Version != snapshotVersion {
		return head, fmt.Errorf("version %d, expected %d or %d", head.Version, firstVersion, snapshotVersion)
	}
	for range head.Count {
		var r pairRecord
		if err := list.Next(&r); err != nil {
			return head, err
		}
		take(&r)
	}
	return head, list.End()
}
