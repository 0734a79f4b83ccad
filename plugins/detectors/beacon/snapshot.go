package beacon

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// A snapshot is a list: its head, then one record per pair. Version 2 was the same with the calls as texts, which took ten
// times as long; version 1 was one object, which needed room for itself three times over. Both are still read. Another version
// is refused.
const (
	snapshotVersion = 3
	textVersion     = 2
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
	Packed   []byte       `json:"b,omitempty"`     // the calls
	Calls    []callRecord `json:"calls,omitempty"` // the same before version 3
}

// callRecord is a call as it was written before version 3.
type callRecord struct {
	Start  int64       `json:"s"`
	End    int64       `json:"e"`
	Sent   uint64      `json:"o"`
	Packet uint64      `json:"n"`
	Ref    sdk.FlowRef `json:"f"`
}

// What a call and a pair take in a snapshot, about.
const (
	callSize = 44
	pairSize = 40
)

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	w := saved.NewWriter(d.pairs.memory*callSize + len(d.pairs.byKey)*pairSize)
	head := snapshot{Version: snapshotVersion, Clock: d.clock, Swept: d.swept, Next: d.pairs.next, Forgotten: d.pairs.forgotten, Count: d.pairs.quiet.Len()}
	if err := w.Put(head); err != nil {
		return nil, err
	}
	var packed []byte
	for e := d.pairs.quiet.Front(); e != nil; e = e.Next() {
		p := e.Value.(*pair)
		r := pairRecord{Src: p.key.src, Dst: p.key.dst, Port: p.key.port, Proto: p.key.proto, Number: p.number, Reported: p.reported}
		packed = appendCalls(packed[:0], p.calls)
		r.Packed = packed
		if err := w.Put(r); err != nil {
			return nil, err
		}
	}
	return w.Bytes()
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	restored := newPairs(d.cfg.MaxPairs, d.cfg.MaxCalls, d.cfg.MaxMemory)
	head, err := readSnapshot(state, func(r *pairRecord) error {
		p := &pair{key: pairKey{r.Src, service{r.Dst, r.Port, r.Proto}}, number: r.Number, reported: r.Reported}
		var err error
		if p.calls, err = r.calls(); err != nil {
			return err
		}
		restored.insert(p)
		restored.memory += len(p.calls)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	restored.next, restored.forgotten = head.Next, head.Forgotten
	d.pairs, d.clock, d.swept = restored, head.Clock, head.Swept
	return nil
}

// appendCalls writes calls behind b, each as what it differs by from the one before.
func appendCalls(b []byte, calls []call) []byte {
	var last call
	for _, c := range calls {
		b = binary.AppendVarint(b, c.start-last.start)
		b = binary.AppendVarint(b, c.end-c.start)
		b = binary.AppendUvarint(b, c.sent)
		b = binary.AppendVarint(b, int64(c.packet-last.packet))
		b = c.ref.AppendTo(b)
		last = c
	}
	return b
}

func (r *pairRecord) calls() (out []call, err error) {
	var last call
	for p := saved.NewPacked(r.Packed); p.More(); {
		c := call{start: last.start + p.Int()}
		c.end, c.sent = c.start+p.Int(), p.Uint()
		c.packet = last.packet + uint64(p.Int())
		c.ref = flowref.Read(p)
		if err := p.Err(); err != nil {
			return nil, fmt.Errorf("the calls of %s: %w", r.Src, err)
		}
		out, last = append(out, c), c
	}
	for _, c := range r.Calls {
		out = append(out, call{c.Start, c.End, c.Sent, c.Packet, flowref.From(c.Ref)})
	}
	return out, nil
}

// readSnapshot gives each pair of a snapshot to take.
func readSnapshot(state []byte, take func(*pairRecord) error) (head snapshot, err error) {
	if !saved.Is(state) {
		if err := json.Unmarshal(state, &head); err != nil {
			return head, err
		}
		if head.Version != firstVersion {
			return head, fmt.Errorf("version %d, expected one from %d to %d", head.Version, firstVersion, snapshotVersion)
		}
		for i := range head.Pairs {
			if err := take(&head.Pairs[i]); err != nil {
				return head, err
			}
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
	if head.Version != snapshotVersion && head.Version != textVersion {
		return head, fmt.Errorf("version %d, expected one from %d to %d", head.Version, firstVersion, snapshotVersion)
	}
	for range head.Count {
		var r pairRecord
		if err := list.Next(&r); err != nil {
			return head, err
		}
		if err := take(&r); err != nil {
			return head, err
		}
	}
	return head, list.End()
}
