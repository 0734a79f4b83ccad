package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/check"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/plane"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"github.com/picketwatch/picket/sdk/records"
	"google.golang.org/protobuf/proto"
)

// openRecords opens the record plane of a process that has just come up, before the deadline that ctx has.
func (p *Process) openRecords(ctx context.Context, cfg Config) error {
	if cfg.Records == nil {
		return nil
	}
	h, err := plane.NewHost(cfg.Records, cfg.Ring, p.broke)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	spoken, err := h.Begin(deadline)
	if err != nil || !spoken {
		h.Close()
		return err
	}
	p.plane = h
	return nil
}

func (p *Process) closeRecords() {
	if p.plane != nil {
		p.plane.Close()
	}
}

// broke ends a process that does not keep to the rules of the record plane.
func (p *Process) broke(err error) {
	p.mu.Lock()
	if p.fault == nil {
		p.fault = err
	}
	p.mu.Unlock()
	p.runnerKill()
}

// Fault says how the process broke the rules of the record plane, for which it was killed; nil when it did not.
func (p *Process) Fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// Records says whether records travel by the record plane.
func (p *Process) Records() bool { return p.plane != nil }

// openChannel makes the channel of an instance, nil when records travel by gRPC.
func (p *Process) openChannel(cfg *InstanceConfig) (*plane.Channel, error) {
	cfg.Channel = 0
	if p.plane == nil {
		return nil, nil
	}
	c, err := p.plane.Open()
	if err != nil {
		return nil, sdk.Errorf(sdk.Temporary, "the plugin process has ended: %w", err)
	}
	cfg.Channel = c.ID()
	return c, nil
}

// carrierFor is how batches travel to an instance whose plugin answered Configure: by its channel if it has one, else by gRPC,
// several at a time where the plugin takes that. It is nil where it does not.
func (p *Process) carrierFor(instance string, channel *plane.Channel, resp *pb.ConfigureResponse) carrier {
	window := min(resp.GetInspectWindow(), plane.Window)
	switch {
	case channel != nil:
		return onPlane{channel}
	case window == 0 || p.oneByOne:
		return nil
	}
	return newLane(p, instance, int(window))
}

// send hands a batch over, once the window has room.
func (i *Instance) send(ctx context.Context, capture string, frame []byte, block *Block) (pending, error) {
	if block != nil {
		return i.carrier.SendBlock(ctx, capture, block)
	}
	if len(frame) > records.MaxFrame {
		return nil, refusedError{fmt.Errorf("a frame of %d bytes is larger than %d", len(frame), records.MaxFrame)}
	}
	return i.carrier.Send(ctx, capture, frame)
}

// answer is what a plugin says of a batch, or why it says nothing.
type answer struct {
	body []byte
	err  error
}

// answer waits for the answer to a batch and passes its findings on.
func (i *Instance) answer(ctx context.Context, p pending, sink sdk.FindingSink) error {
	body, err := p.Wait(ctx)
	return i.take(ctx, answer{body, err}, sink)
}

// take passes the findings of an answer on.
func (i *Instance) take(ctx context.Context, a answer, sink sdk.FindingSink) error {
	if a.err != nil {
		return i.failed(ctx, "inspect", a.err)
	}
	if len(a.body) == 0 {
		return nil
	}
	var resp pb.InspectResponse
	if err := proto.Unmarshal(a.body, &resp); err != nil {
		err = fmt.Errorf("an answer to a batch that does not parse: %w", err)
		i.process.broke(err)
		return i.failed(ctx, "inspect", err)
	}
	return i.pass(ctx, "inspect", &resp, sink)
}

// drain waits until every batch is answered.
func (i *Instance) drain(ctx context.Context) error {
	if i.carrier == nil {
		return nil
	}
	return i.carrier.Drain(ctx)
}

// InFlight is how many batches wait for their answer, and how many bytes they have together.
func (i *Instance) InFlight() (batches, size int) {
	if i.carrier == nil {
		return 0, 0
	}
	return i.carrier.InFlight()
}

// Stream hands batches to a detector without waiting for each answer: while the detector works on one, the next are on
// their way. It is used by one goroutine.
type Stream struct {
	instance *Instance
	sink     sdk.FindingSink
	result   func(n uint64, err error)
	sent     uint64
	answered uint64
	open     []pending // oldest first
	answers  []answer  // memory of next
}

// Stream begins a stream. Findings go to sink; result is told how each batch ended, numbered from 1 in the order of
// sending. Both are called from Send, SendBlock, Next and Wait.
func (i *Instance) Stream(sink sdk.FindingSink, result func(n uint64, err error)) *Stream {
	return &Stream{instance: i, sink: sink, result: result}
}

// Send hands over one frame, which may be used again when it returns. It waits while the window is full. An error means
// that the batch was not sent; what the detector says of it goes to result.
func (s *Stream) Send(ctx context.Context, capture string, frame []byte) error {
	return s.send(ctx, capture, frame, nil)
}

// SendBlock hands over a frame in the ring. The block still belongs to the caller.
func (s *Stream) SendBlock(ctx context.Context, capture string, block *Block) error {
	return s.send(ctx, capture, nil, block)
}

// Fits says whether the window has room for a batch, of the block if there is one and else of the frame: Send and SendBlock
// do not wait for an answer then.
func (s *Stream) Fits(capture string, frame []byte, block *Block) bool {
	c := s.instance.carrier
	return c == nil || len(s.open) < c.Window() && c.Fits(capture, frame, block)
}

// private is a copy of a block for gRPC, which may read a frame for a while after its call has failed: the block and the
// ring may be gone then.
func private(block *Block) []byte { return bytes.Clone(block.Bytes()) }

func (s *Stream) send(ctx context.Context, capture string, frame []byte, block *Block) error {
	i := s.instance
	if i.carrier == nil {
		if block != nil {
			frame = private(block)
		}
		s.sent++
		s.finish(i.inspectCall(ctx, capture, frame, s.sink))
		return ctx.Err()
	}
	if window := i.carrier.Window(); len(s.open) >= window {
		s.next(ctx, len(s.open)-window/2)
	}
	p, err := i.send(ctx, capture, frame, block)
	if err != nil {
		return i.failed(ctx, "inspect", err)
	}
	s.sent++
	s.open = append(s.open, p)
	return nil
}

// next takes the answers of the n oldest batches. It waits for the last of them first: the others are there by then, and a
// goroutine that is woken once costs less than one that is woken n times.
func (s *Stream) next(ctx context.Context, n int) {
	answers := s.answers[:0]
	for k := n - 1; k >= 0; k-- {
		body, err := s.open[k].Wait(ctx)
		answers = append(answers, answer{body, err})
	}
	s.open = s.open[:copy(s.open, s.open[n:])]
	for k := n - 1; k >= 0; k-- {
		s.finish(s.instance.take(ctx, answers[k], s.sink))
	}
	s.answers = answers
}

func (s *Stream) finish(err error) {
	s.answered++
	s.result(s.answered, err)
}

// Window is how many batches may be without answer. It is one for a plugin that takes them by gRPC alone, one by one: Send waits
// for the answer then.
func (i *Instance) Window() int {
	if i.carrier == nil {
		return 1
	}
	return i.carrier.Window()
}

// Next waits for the answer of the oldest batch and tells result; it does nothing when every batch is answered.
func (s *Stream) Next(ctx context.Context) {
	if len(s.open) > 0 {
		s.next(ctx, 1)
	}
}

// Wait waits for all answers, or until ctx ends.
func (s *Stream) Wait(ctx context.Context) {
	if len(s.open) > 0 {
		s.next(ctx, len(s.open))
	}
}

// committer is a sink that can make what it got durable.
type committer interface {
	Commit(ctx context.Context) error
}

// intake takes the samples of one call.
type intake struct {
	gate    *check.Gate[sdk.Sample]
	durable committer    // nil when the sink has no Commit
	samples []sdk.Sample // memory of the last frame, used again
}

func newIntake(ctx context.Context, limit int, sink sdk.SampleSink) *intake {
	in := &intake{gate: check.NewGate(ctx, limit, "samples", check.Sample, sink.Sample)}
	in.durable, _ = sink.(committer)
	return in
}

// take passes on samples that came by gRPC.
func (in *intake) take(samples []*pb.Sample) error {
	for _, s := range samples {
		if err := in.gate.Put(wire.SampleFromPB(s)); err != nil {
			return err
		}
	}
	return nil
}

func (in *intake) commit(ctx context.Context) error {
	if in.durable == nil {
		return nil
	}
	return in.durable.Commit(ctx)
}

// end commits after a call whose samples came by gRPC.
func (in *intake) end(ctx context.Context, err error) error {
	return in.gate.Result(errors.Join(err, in.commit(ctx)))
}

// frames passes on the samples of SAMPLES messages and commits them.
func (in *intake) frames(ctx context.Context, messages []plane.Message) error {
	for _, m := range messages {
		if n := records.Count(m.Frame()); n > plane.MaxSampleRows {
			return badFrameError{fmt.Errorf("%d rows are more than %d", n, plane.MaxSampleRows)}
		}
		samples, err := records.DecodeVerifiedSamples(m.Frame(), in.samples)
		if err != nil {
			return badFrameError{err}
		}
		in.samples = samples
		for i := range samples {
			if err := in.gate.Put(samples[i]); err != nil {
				return err
			}
		}
	}
	return in.commit(ctx)
}

// badFrameError says that the plugin sent what is not a frame of samples.
type badFrameError struct{ error }

func (e badFrameError) Unwrap() error { return e.error }

// emitting runs a call that emits samples on the record plane: each message is passed on, committed, and acknowledged.
func (i *Instance) emitting(ctx context.Context, cancel func(), in *intake, run func(*plane.Call) error) error {
	call, err := i.channel.Call()
	if err != nil {
		return err
	}
	defer call.End()
	var result error
	done := make(chan struct{})
	go func() {
		result = run(call)
		close(done)
	}()
	batch := make([]plane.Message, 0, plane.CallFrames)
	for {
		select {
		case <-done:
			return result
		case m := <-call.Arrived():
			batch = more(append(batch[:0], m), call)
			if err := i.acknowledge(ctx, call, in, batch); err != nil {
				cancel()
				<-done
				return err
			}
		}
	}
}

// more adds what has arrived already, so that it is committed together.
func more(batch []plane.Message, call *plane.Call) []plane.Message {
	for len(batch) < cap(batch) {
		select {
		case m := <-call.Arrived():
			batch = append(batch, m)
		default:
			return batch
		}
	}
	return batch
}

// acknowledge takes messages and answers them. Its error ends the call.
func (i *Instance) acknowledge(ctx context.Context, call *plane.Call, in *intake, batch []plane.Message) error {
	err := in.frames(ctx, batch)
	var bad badFrameError
	if errors.As(err, &bad) {
		err = fmt.Errorf("SAMPLES that cannot be read: %w", bad.error)
		i.process.broke(err)
		return err
	}
	if err == nil {
		return call.Answer(ctx, batch, nil)
	}
	body, merr := proto.Marshal(wire.ErrorToPB(err))
	if merr != nil {
		body = []byte{0}
	}
	return errors.Join(refusedError{err}, call.Answer(ctx, batch, body))
}
