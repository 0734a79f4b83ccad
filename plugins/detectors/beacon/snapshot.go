package beacon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/sdk"
)

// snapshotVersion changes when the meaning of the fields below does; another version is refused.
const snapshotVersion = 1

type snapshot struct {
	Version   int          `json:"version"`
	Clock     int64        `json:"clock"`
	Swept     int64        `json:"swept"`
	Next      uint64       `json:"next"`
	Forgotten uint64       `json:"forgotten"`
	Pairs     []pairRecord `json:"pairs"` // the one touched longest ago first
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
	Got    uint64      `json:"i"`
	Packet uint64      `json:"n"`
	Ref    sdk.FlowRef `json:"f"`
}

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	out := snapshot{Version: snapshotVersion, Clock: d.clock, Swept: d.swept, Next: d.pairs.next, Forgotten: d.pairs.forgotten}
	for e := d.pairs.quiet.Front(); e != nil; e = e.Next() {
		p := e.Value.(*pair)
		r := pairRecord{Src: p.key.src, Dst: p.key.dst, Port: p.key.port, Proto: p.key.proto, Number: p.number, Reported: p.reported}
		for _, c := range p.calls {
			r.Calls = append(r.Calls, callRecord{c.start, c.end, c.sent, c.got, c.packet, c.ref})
		}
		out.Pairs = append(out.Pairs, r)
	}
	return json.Marshal(out)
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	var in snapshot
	if err := json.Unmarshal(state, &in); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if in.Version != snapshotVersion {
		return fmt.Errorf("read snapshot: version %d, expected %d", in.Version, snapshotVersion)
	}
	restored := newPairs(d.cfg.MaxPairs, d.cfg.MaxCalls, d.cfg.MaxMemory)
	restored.next, restored.forgotten = in.Next, in.Forgotten
	for _, r := range in.Pairs {
		p := &pair{key: pairKey{r.Src, service{r.Dst, r.Port, r.Proto}}, number: r.Number, reported: r.Reported}
		for _, c := range r.Calls {
			p.calls = append(p.calls, call{c.Start, c.End, c.Sent, c.Got, c.Packet, c.Ref})
		}
		restored.insert(p)
		restored.memory += len(p.calls)
	}
	d.pairs, d.clock, d.swept = restored, in.Clock, in.Swept
	return nil
}
