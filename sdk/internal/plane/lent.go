package plane

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/picketwatch/picket/sdk/records"
)

// lent is a frame that several instances are shown: it stays as it is until it is off the shelf and the last of them has answered.
type lent struct {
	shared records.Shared
	buf    []byte // that it lies in
	uses   atomic.Int32
}

// frame is the frame for those who are shown it; nil where it is one instance's alone.
func (l *lent) frame() *records.Shared {
	if l == nil {
		return nil
	}
	return &l.shared
}

// keep puts a frame onto the shelf.
func (p *Plugin) keep(frame, buf []byte) (*lent, error) {
	if !p.kept.fits(len(frame)) {
		return nil, protocolError("a frame of %d bytes to be kept", len(frame))
	}
	l := &lent{shared: records.Shared{Frame: frame}, buf: buf}
	l.uses.Store(1)
	p.kept.add(l, len(frame), p.letGo)
	return l, nil
}

// findKept returns the frame that a BATCH_KEPT names.
func (p *Plugin) findKept(body []byte) (*lent, error) {
	if len(body) != numberSize {
		return nil, protocolError("a number of %d bytes", len(body))
	}
	number := binary.LittleEndian.Uint64(body)
	l, ok := p.kept.get(number)
	if !ok {
		return nil, protocolError("frame %d is not kept, the newest is %d", number, p.kept.last)
	}
	return l, nil
}

// maxSpare is how large memory is that is used again at most: small frames that lay in that of large ones would together hold many
// times what may be kept.
const maxSpare = 2 * KeptBytes / KeptFrames

// letGo gives up one use of a frame, which may be nil.
func (p *Plugin) letGo(l *lent) {
	if l == nil || l.uses.Add(-1) > 0 {
		return
	}
	l.shared.Release()
	if cap(l.buf) > maxSpare {
		return
	}
	select {
	case p.spare <- l.buf:
	default:
	}
}

func (p *Plugin) buffer() []byte {
	select {
	case b := <-p.spare:
		return b
	default:
		return nil
	}
}

// pass reads a batch that nobody is shown. Its frame is kept all the same, when the host reckons with that.
func (p *Plugin) pass(head Header) error {
	if head.Flags != keepFrame {
		return p.conn.skip(head.Length)
	}
	buf, err := p.conn.body(p.buffer(), head.Length)
	if err != nil {
		return err
	}
	_, frame, err := splitCapture(buf)
	if err == nil {
		_, err = p.keep(frame, buf)
	}
	return err
}
