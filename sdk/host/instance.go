package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/check"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/plane"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"github.com/picketwatch/picket/sdk/records"
	"google.golang.org/grpc"
)

// Instance is a configured and started instance in a process. Its methods may be called from any goroutine; the plugin
// gets one call at a time. A call that does not end with its ctx leaves the plugin at work: kill the process then.
type Instance struct {
	process    *Process
	id, plugin string
	collector  pb.CollectorServiceClient
	discovery  pb.DiscoveryServiceClient
	detector   pb.DetectorServiceClient
	notifier   pb.NotifierServiceClient
	channel    *plane.Channel // nil when records travel by gRPC
	carrier    carrier        // nil when batches travel by gRPC, one by one
}

func newInstance(p *Process, cfg InstanceConfig, channel *plane.Channel, carrier carrier) *Instance {
	return &Instance{
		process: p, id: cfg.Instance, plugin: cfg.Plugin, channel: channel, carrier: carrier,
		collector: pb.NewCollectorServiceClient(p.conn), discovery: pb.NewDiscoveryServiceClient(p.conn),
		detector: pb.NewDetectorServiceClient(p.conn), notifier: pb.NewNotifierServiceClient(p.conn),
	}
}

// Collect lets a collector measure once. A sink that also has Commit(ctx) error is asked to make the samples durable
// before they are acknowledged; on the record plane that happens while the call is running, and what was acknowledged
// stays so when the call fails later.
func (i *Instance) Collect(ctx context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := newIntake(ctx, check.MaxSamples, sink)
	msg := wire.CollectRequestToPB(i.id, req)
	if i.channel == nil {
		stream, err := i.collector.Collect(ctx, msg)
		if err == nil {
			err = receive(stream, func(m *pb.CollectResponse) error { return in.take(m.GetSamples()) })
		}
		return in.end(ctx, i.failed(ctx, "collect", err))
	}
	err := i.emitting(ctx, cancel, in, func(call *plane.Call) error {
		msg.Call, msg.CreditFrames, msg.CreditBytes = call.Number(), plane.CallFrames, plane.CallBytes
		stream, err := i.collector.Collect(ctx, msg)
		if err != nil {
			return err
		}
		return receive(stream, func(m *pb.CollectResponse) error { return in.take(m.GetSamples()) })
	})
	return in.gate.Result(i.failed(ctx, "collect", err))
}

// Watch takes what a collector's source sends by itself, beside the other calls, until ctx ends. It returns earlier when
// the collector does. The sink is as that of Collect; while it waits, the collector does.
func (i *Instance) Watch(ctx context.Context, sink sdk.SampleSink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := newIntake(ctx, math.MaxInt, sink)
	msg := &pb.WatchRequest{Instance: i.id}
	if i.channel == nil {
		stream, err := i.collector.Watch(ctx, msg)
		if err == nil {
			err = receive(stream, func(m *pb.WatchResponse) error { return errors.Join(in.take(m.GetSamples()), in.commit(ctx)) })
		}
		return in.gate.Result(i.failed(ctx, "watch", err))
	}
	err := i.emitting(ctx, cancel, in, func(call *plane.Call) error {
		msg.Call, msg.CreditFrames, msg.CreditBytes = call.Number(), plane.CallFrames, plane.CallBytes
		stream, err := i.collector.Watch(ctx, msg)
		if err != nil {
			return err
		}
		return receive(stream, func(m *pb.WatchResponse) error { return in.take(m.GetSamples()) })
	})
	return in.gate.Result(i.failed(ctx, "watch", err))
}

// Discover lets a discovery plugin look for devices. Sightings outside of the scope are refused.
func (i *Instance) Discover(ctx context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gate := check.NewGate(ctx, check.MaxSightings, "sightings", check.InScope(scope), sink.Sighting)
	stream, err := i.discovery.Discover(ctx, wire.ScopeToPB(i.id, scope))
	if err != nil {
		return i.failed(ctx, "discover", err)
	}
	err = receive(stream, func(msg *pb.DiscoverResponse) error {
		for _, s := range msg.GetSightings() {
			v, err := wire.SightingFromPB(s)
			if err == nil {
				err = gate.Put(v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return gate.Result(i.failed(ctx, "discover", err))
}

// refusedError marks what the host's side did not accept, as opposed to a failure of the call.
type refusedError struct{ err error }

func (e refusedError) Error() string { return e.err.Error() }
func (e refusedError) Unwrap() error { return e.err }

// receive hands each message of a stream to put until the stream ends.
func receive[M any](stream grpc.ServerStreamingClient[M], put func(*M) error) error {
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := put(msg); err != nil {
			return refusedError{err}
		}
	}
}

// Inspect hands one record frame to a detector and waits for its findings. The frame may be used again when Inspect has
// returned. What an observer sees goes to the sink too, which must be an sdk.SightingSink then; which capture it was is left to
// the caller.
func (i *Instance) Inspect(ctx context.Context, capture string, frame []byte, sink sdk.FindingSink) error {
	if i.channel == nil {
		return i.inspectCall(ctx, capture, frame, sink)
	}
	p, err := i.send(ctx, capture, frame, nil)
	if err != nil {
		return i.failed(ctx, "inspect", err)
	}
	return i.answer(ctx, p, sink)
}

// InspectBlock is Inspect for a frame in the ring. The block still belongs to the caller when it returns.
func (i *Instance) InspectBlock(ctx context.Context, capture string, block *Block, sink sdk.FindingSink) error {
	if i.channel == nil {
		return i.inspectCall(ctx, capture, private(block), sink)
	}
	p, err := i.send(ctx, capture, nil, block)
	if err != nil {
		return i.failed(ctx, "inspect", err)
	}
	return i.answer(ctx, p, sink)
}

// inspectCall is Inspect over gRPC: a call of its own, which takes the deadline and the end of ctx to the plugin. What a Stream
// has sent comes before it.
func (i *Instance) inspectCall(ctx context.Context, capture string, frame []byte, sink sdk.FindingSink) error {
	if err := i.drain(ctx); err != nil {
		return i.failed(ctx, "inspect", err)
	}
	if len(frame) > records.MaxFrame {
		return fmt.Errorf("%s: inspect: a frame of %d bytes is larger than %d", i.id, len(frame), records.MaxFrame)
	}
	var resp pb.InspectResponse
	req := wire.NewSent(i.id, capture, frame)
	if err := i.process.conn.Invoke(ctx, pb.DetectorService_Inspect_FullMethodName, req, &resp); err != nil {
		i.process.unread(req)
		return i.failed(ctx, "inspect", err)
	}
	return i.pass(ctx, "inspect", &resp, sink)
}

// unreadTime is how long a frame may still be read after its call has failed. It takes microseconds.
const unreadTime = time.Second

// unread waits until a frame is read no longer after its call has failed: its memory is the caller's again.
func (p *Process) unread(req *wire.Sent) {
	late := time.NewTimer(unreadTime)
	defer late.Stop()
	select {
	case <-req.Done():
	case <-p.runner.exited:
	case <-late.C:
	}
}

// Flush ends a capture for a detector or an observer, once all batches were answered.
func (i *Instance) Flush(ctx context.Context, sink sdk.FindingSink) error {
	if err := i.drain(ctx); err != nil {
		return i.failed(ctx, "flush", err)
	}
	resp, err := i.detector.Flush(ctx, &pb.FlushRequest{Instance: i.id})
	if err != nil {
		return i.failed(ctx, "flush", err)
	}
	return i.pass(ctx, "flush", resp, sink)
}

// Notify lets a notifier deliver a notice.
func (i *Instance) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	resp, err := i.notifier.Notify(ctx, &pb.NotifyRequest{Instance: i.id, Notice: wire.NoticeToPB(notice)})
	if err != nil {
		return sdk.Receipt{}, i.failed(ctx, "notify", err)
	}
	receipt := wire.ReceiptFromPB(resp.GetReceipt())
	check.Receipt(&receipt)
	return receipt, nil
}

// Undo lets a notifier take back what it delivered; an error of class Unsupported means that it cannot.
func (i *Instance) Undo(ctx context.Context, receipt sdk.Receipt) error {
	_, err := i.notifier.Undo(ctx, &pb.UndoRequest{Instance: i.id, Receipt: wire.ReceiptToPB(receipt)})
	return i.failed(ctx, "undo", err)
}

// Status asks a notifier what became of what it delivered; an error of class Unsupported means that it cannot say.
func (i *Instance) Status(ctx context.Context, receipt sdk.Receipt) (sdk.DeliveryStatus, error) {
	resp, err := i.notifier.Status(ctx, &pb.StatusRequest{Instance: i.id, Receipt: wire.ReceiptToPB(receipt)})
	if err != nil {
		return sdk.DeliveryStatus{}, i.failed(ctx, "status", err)
	}
	status := wire.StatusFromPB(resp)
	if err := check.Status(&status); err != nil {
		return sdk.DeliveryStatus{}, i.failed(ctx, "status", refusedError{sdk.Errorf(sdk.Internal, "%w", err)})
	}
	return status, nil
}

// Health asks whether the instance can work. progress grows with each call and batch that begins or ends, and with what
// they emit: while a call is at work and it stands still, the instance hangs.
func (i *Instance) Health(ctx context.Context) (progress uint64, err error) {
	resp, err := i.process.life.Health(ctx, &pb.HealthRequest{Instance: i.id})
	if len(resp.GetWorked()) > 0 {
		i.process.hasWorked(resp.GetWorked())
	}
	return resp.GetProgress(), i.failed(ctx, "health", err)
}

// Snapshot returns the state of the instance, once all batches were answered; an error of class Unsupported means that it
// keeps none.
func (i *Instance) Snapshot(ctx context.Context) ([]byte, error) {
	if err := i.drain(ctx); err != nil {
		return nil, i.failed(ctx, "snapshot", err)
	}
	resp, err := i.process.life.Snapshot(ctx, &pb.SnapshotRequest{Instance: i.id})
	if err != nil {
		return nil, i.failed(ctx, "snapshot", err)
	}
	if len(resp.GetState()) > check.MaxState {
		return nil, sdk.Errorf(sdk.Internal, "%s: snapshot of %d bytes is larger than %d", i.id, len(resp.GetState()), check.MaxState)
	}
	return resp.GetState(), nil
}

// Restore hands a snapshot to an instance that has not worked yet.
func (i *Instance) Restore(ctx context.Context, state []byte) error {
	_, err := i.process.life.Restore(ctx, &pb.RestoreRequest{Instance: i.id, State: state})
	return i.failed(ctx, "restore", err)
}

// Stop ends the instance; its process goes on.
func (i *Instance) Stop(ctx context.Context) error {
	if i.carrier != nil {
		i.carrier.Close()
	}
	_, err := i.process.life.Stop(ctx, &pb.StopRequest{Instance: i.id})
	i.process.mu.Lock()
	if i.process.instances[i.id] == i {
		delete(i.process.instances, i.id)
	}
	i.process.mu.Unlock()
	select {
	case <-i.process.runner.exited:
		return nil
	default:
	}
	return i.failed(ctx, "stop", err)
}

// failed says which call of which instance failed. What the host refused, or the sink did not want, stays as it is.
func (i *Instance) failed(ctx context.Context, what string, err error) error {
	var refused refusedError
	if errors.As(err, &refused) {
		return fmt.Errorf("%s: %s: %w", i.id, what, err)
	}
	return i.process.callError(ctx, what+" "+i.id, err)
}
