package plane

import (
	"bytes"
	"context"
	"sync"
)

// Call is one call that emits samples, at the host.
type Call struct {
	channel *Channel
	number  uint32
	release func() // what may come does not need the host's own goroutine any more
	arrived chan Message
	gone    chan struct{} // closed when the plane is down

	frames, bytes int // credit that is left; guarded by the channel's mu
}

// Message is one SAMPLES message.
type Message struct {
	seq  uint64
	body []byte
}

// Frame is the record frame of the message, valid until it is answered.
func (m Message) Frame() []byte { return m.body[callSize:] }

// Call begins a call.
func (c *Channel) Call() (*Call, error) {
	release := c.host.loan.recall()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		release()
		return nil, c.err
	}
	c.lastCall++
	call := &Call{channel: c, number: c.lastCall, release: sync.OnceFunc(release), arrived: make(chan Message, CallFrames), gone: make(chan struct{}), frames: CallFrames, bytes: CallBytes}
	c.calls[call.number] = call
	return call, nil
}

// Number is the number of the call on its channel.
func (k *Call) Number() uint32 { return k.number }

// Arrived gives the messages of the call in their order.
func (k *Call) Arrived() <-chan Message { return k.arrived }

// Gone is closed when nothing more will arrive because the process has ended.
func (k *Call) Gone() <-chan struct{} { return k.gone }

// End ends the call; what still comes is dropped.
func (k *Call) End() {
	k.release()
	k.channel.mu.Lock()
	defer k.channel.mu.Unlock()
	delete(k.channel.calls, k.number)
}

// Answer acknowledges messages, which must be all durable, or refuses them with the body of an error. It gives back their
// credit.
func (k *Call) Answer(ctx context.Context, messages []Message, refusal []byte) error {
	c := k.channel
	size := 0
	for _, m := range messages {
		size += len(m.body)
	}
	c.mu.Lock()
	k.frames += len(messages)
	k.bytes += size
	c.mu.Unlock()
	refusal = refusal[:min(len(refusal), maxExtension*16)]
	err := c.host.conn.send(ctx, func(b []byte) []byte {
		for _, m := range messages {
			b = append(Header{Type: Ack, Length: uint32(len(refusal)), Channel: c.id, Seq: m.seq}.append(b), refusal...)
		}
		b = Header{Type: Credit, Length: creditSize, Channel: c.id, Seq: uint64(k.number)}.append(b)
		return credit{uint32(len(messages)), uint32(size)}.append(b)
	}, nil)
	for _, m := range messages {
		select {
		case c.buffers <- m.body:
		default:
		}
	}
	if isBroken(err) {
		c.host.broken(err)
	}
	return err
}

// buffer returns memory of an earlier message.
func (c *Channel) buffer() []byte {
	select {
	case b := <-c.buffers:
		return b
	default:
		return nil
	}
}

// incoming checks the number and the credit of a SAMPLES message. It returns nil for a call that has ended.
func (c *Channel) incoming(head Header, prefix []byte) (*Call, error) {
	number := le32(prefix)
	if !bytes.Equal(prefix[4:callSize], []byte{0, 0, 0, 0}) {
		return nil, protocolError("SAMPLES with a reserved byte that is not 0")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if head.Seq != c.received+1 {
		return nil, protocolError("SAMPLES %d of channel %d, it must be %d", head.Seq, c.id, c.received+1)
	}
	c.received++
	if number == 0 || number > c.lastCall {
		return nil, protocolError("SAMPLES of call %d of channel %d, which does not exist", number, c.id)
	}
	call := c.calls[number]
	if call == nil {
		return nil, nil
	}
	call.frames--
	call.bytes -= int(head.Length)
	if call.frames < 0 || call.bytes < 0 {
		return nil, protocolError("SAMPLES of call %d of channel %d beyond its credit", number, c.id)
	}
	return call, nil
}
