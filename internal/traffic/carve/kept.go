package carve

import (
	"fmt"
	"io"
	"slices"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic/kept"
	"github.com/picketwatch/picket/internal/traffic/worker"
)

const (
	fileHead   = 24 // of a pcap file
	recordHead = 16
)

// RunKept finds the packets that a finding rests on in the memory where the worker of live traffic keeps the newest, and sends what they
// are as JSON (carved.Kept) and then the packets as a pcap file. There may be none.
func RunKept(mem []byte, out io.Writer, e carved.Evidence) error {
	o := &output{to: out}
	r := kept.NewReader(mem)
	c := choice{evidence: e}
	r.Each(c.see)
	head := carved.Kept{Packets: []carved.KeptPacket{}}
	var records []byte
	f := &file{out: o}
	err := r.Take(c.chosen(), func(e *kept.Entry) error {
		if len(head.Packets) > 0 && e.Packet.Link != f.link {
			return nil // one interface has one kind of link, unless the memory was tampered with
		}
		f.link = e.Packet.Link
		records = appendRecord(records, &e.Packet)
		head.Packets = append(head.Packets, carved.KeptPacket{Number: e.Packet.Number, Flow: e.Flow, Backward: e.Backward})
		return nil
	})
	head.Matched, head.Missing = max(c.matched, len(head.Packets)), len(e.Numbers)-c.named.count
	if err != nil {
		o.json(worker.KindError, worker.Error{Message: err.Error()})
		return err
	}
	o.json(worker.KindPiece, head)
	if len(records) > 0 {
		f.buf = append(appendHeader(nil, f.link), records...)
		f.flush()
	}
	o.json(worker.KindDone, worker.Done{LinkTypes: []int{}})
	if o.err != nil {
		return fmt.Errorf("send to the parent: %w", o.err)
	}
	return nil
}

// choice chooses among the packets that a finding rests on: those that it names before others of its flows, and of both the oldest
// and the newest.
type choice struct {
	evidence carved.Evidence
	matched  int
	last     uint64
	named    ends
	others   ends
}

// candidate is a packet that may be chosen.
type candidate struct {
	number uint64
	place  kept.Place
	bytes  int
}

func (c *choice) see(p kept.Place, e *kept.Entry) {
	n := e.Packet.Number
	if n <= c.last { // numbers ascend where nobody tampered with the memory
		return
	}
	x := candidate{n, p, recordHead + len(e.Packet.Data)}
	if _, ok := slices.BinarySearch(c.evidence.Numbers, n); ok {
		c.named.add(x)
	} else if _, ok := slices.BinarySearch(c.evidence.Flows, e.Flow); ok && e.Flow > 0 {
		c.others.add(x)
	} else {
		return
	}
	c.last = n
	c.matched++
}

// chosen are the places of the packets that go into the file, in their order.
func (c *choice) chosen() []kept.Place {
	var list []candidate
	bytes := fileHead
	for _, of := range []*ends{&c.named, &c.others} {
		for x := range of.fromBothEnds {
			if len(list) == carved.MaxKeptPackets || bytes+x.bytes > carved.MaxKeptBytes {
				break
			}
			list = append(list, x)
			bytes += x.bytes
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return int(int64(a.number) - int64(b.number)) }) //nolint:gosec // packets are counted from 1 and come nowhere near
	places := make([]kept.Place, len(list))
	for i, x := range list {
		places[i] = x.place
	}
	return places
}

// ends are the first and the last of a list, as many of each as could be chosen.
type ends struct {
	count int
	first []candidate
	last  []candidate // a ring, behind first
}

func (l *ends) add(x candidate) {
	switch {
	case len(l.first) < carved.MaxKeptPackets:
		l.first = append(l.first, x)
	case len(l.last) < carved.MaxKeptPackets:
		l.last = append(l.last, x)
	default:
		l.last[(l.count-len(l.first))%len(l.last)] = x
	}
	l.count++
}

// fromBothEnds goes through the first, the last, the second, the last but one.
func (l *ends) fromBothEnds(yield func(candidate) bool) {
	rest := l.last
	if over := l.count - len(l.first); over > len(rest) {
		at := over % len(rest)
		rest = slices.Concat(rest[at:], rest[:at])
	}
	all := slices.Concat(l.first, rest)
	for i, j := 0, len(all)-1; i <= j; i, j = i+1, j-1 {
		if !yield(all[i]) || i < j && !yield(all[j]) {
			return
		}
	}
}
