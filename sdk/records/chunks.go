package records

import "github.com/picketwatch/picket/sdk"

// Chunk is the number of rows that FlowChunks decodes at once: what it decodes, 28 KiB, stays in the processor's nearest
// cache until the detector has read it, which a whole batch does not.
const Chunk = 64

// FlowChunks decodes a frame of flows piece by piece into the same memory. The zero value is ready for Reset.
type FlowChunks struct {
	Features bool // asks for those of the flows, where the frame has them
	Borrow   bool // lets texts lie in the frame: they are valid as long as it stays as it is

	frame []byte
	h     header
	next  int // row
	r     reader
	flows []sdk.Flow
	long  []sdk.Features // of flows
}

// Reset begins with a frame. Its checksum is not looked at, everything else is.
func (c *FlowChunks) Reset(frame []byte) error {
	h, err := parseHeader(frame)
	if err != nil {
		return err
	}
	if err := flowLayout.accepts(h); err != nil {
		return err
	}
	c.frame, c.h, c.next, c.r = frame, h, 0, reader{arena: c.r.arena, inside: c.Borrow}
	c.r.open(frame[h.heap:])
	return nil
}

// Next returns the next flows of the frame, none at its end. They are valid until the next call.
func (c *FlowChunks) Next() ([]sdk.Flow, error) {
	n := min(Chunk, c.h.count-c.next)
	if cap(c.flows) < n {
		c.flows = make([]sdk.Flow, Chunk)
	}
	flows := c.flows[:n]
	for i := range flows {
		at := headerSize + (c.next+i)*c.h.rowSize
		row := c.frame[at : at+c.h.rowSize]
		getFlow(&c.r, row, &flows[i])
		if c.Features && len(row) > featuresAt {
			flows[i].Features = c.features(i)
			getFeatures(row, flows[i].Features)
		}
	}
	c.next += n
	if c.r.err != nil {
		return nil, c.r.err
	}
	return flows, nil
}

// features is the memory for those of a flow.
func (c *FlowChunks) features(i int) *sdk.Features {
	if c.long == nil {
		c.long = make([]sdk.Features, Chunk)
	}
	return &c.long[i]
}

// Release forgets the frame, whose memory is not the reader's.
func (c *FlowChunks) Release() { c.frame, c.r = nil, reader{arena: c.r.arena} }
