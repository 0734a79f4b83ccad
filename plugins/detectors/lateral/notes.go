package lateral

// maxNotes is how many flows have a note.
const maxNotes = 1024

// notes are bits that are remembered of flows, the ones noted last.
type notes struct {
	flows map[uint64]uint64
	order []uint64 // in a circle
	next  int
}

// add notes a bit of a flow, and returns all of them.
func (n *notes) add(flow, bit uint64) uint64 {
	if n.flows == nil {
		n.flows = map[uint64]uint64{}
	}
	bits, known := n.flows[flow]
	n.flows[flow] = bits | bit
	switch {
	case known:
	case len(n.order) < maxNotes:
		n.order = append(n.order, flow)
	default:
		delete(n.flows, n.order[n.next])
		n.order[n.next] = flow
		n.next = (n.next + 1) % maxNotes
	}
	return bits | bit
}
