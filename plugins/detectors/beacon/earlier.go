package beacon

import (
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

type earlierPair struct {
	Src      netip.Addr    `json:"src"`
	Dst      netip.Addr    `json:"dst"`
	Port     uint16        `json:"port"`
	Proto    uint8         `json:"proto"`
	Number   uint64        `json:"number"`
	Reported int           `json:"reported"`
	Packed   []byte        `json:"b"`     // the calls
	Calls    []earlierCall `json:"calls"` // the same before version 3
}

// earlierCall is a call as it was written before version 3.
type earlierCall struct {
	Start  int64       `json:"s"`
	End    int64       `json:"e"`
	Sent   uint64      `json:"o"`
	Packet uint64      `json:"n"`
	Ref    sdk.FlowRef `json:"f"`
}

// readEarlier reads a form of snapshots before today's.
func (r *restored) readEarlier(state []byte) error {
	head, err := saved.Earlier(state, "pairs", r.addEarlier)
	r.clock, r.swept, r.pairs.next, r.pairs.forgotten = head.Clock, head.Swept, head.Next, head.Forgotten
	return err
}

func (r *restored) addEarlier(e *earlierPair) error {
	p := &pair{key: pairKey{bare.Of(e.Src), service{bare.Of(e.Dst), e.Port, e.Proto}}, number: e.Number, reported: e.Reported}
	packed := saved.NewPacked(e.Packed)
	for last := (call{}); packed.More(); {
		last = readCall(packed, last)
		p.calls = append(p.calls, last)
	}
	if err := packed.Err(); err != nil {
		return fmt.Errorf("the calls of %s: %w", e.Src, err)
	}
	for _, c := range e.Calls {
		p.calls = append(p.calls, call{c.Start, c.End, c.Sent, c.Packet, flowref.From(c.Ref)})
	}
	return r.add(p)
}

// version4 was the same as today's without the names that were asked for.
const version4 = 4

func isVersion4(state []byte) bool {
	_, err := saved.Open(version4, state)
	return err == nil
}

func (r *restored) readVersion4(state []byte) error {
	p, err := saved.Open(version4, state)
	if err != nil {
		return err
	}
	r.clock, r.swept, r.pairs.next, r.pairs.forgotten = p.Int(), p.Int(), p.Uint(), p.Uint()
	for p.More() {
		if err := r.add(readPair(p)); err != nil {
			return err
		}
	}
	return p.Err()
}
