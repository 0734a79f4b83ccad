//go:build !wasip1

package serve

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/plane"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

const (
	// chunkSamples and chunkBytes are how much travels in one message of a stream.
	chunkSamples = 512
	chunkBytes   = 1 << 20
	// maxSaidBytes bounds what one batch makes a plugin say, which travels in one message, on the record plane too.
	maxSaidBytes = plane.MaxResult - 1<<20
)

func register(s *grpc.Server, b Backend, r *records) {
	pb.RegisterLifecycleServiceServer(s, &lifecycle{b: b, records: r})
	pb.RegisterCollectorServiceServer(s, &collector{b: b, records: r})
	pb.RegisterDiscoveryServiceServer(s, &discovery{b: b})
	s.RegisterService(detectorService(), &detector{b: b, records: r})
	pb.RegisterNotifierServiceServer(s, &notifier{b: b})
}

type lifecycle struct {
	pb.UnimplementedLifecycleServiceServer
	b       Backend
	records *records
}

func (l *lifecycle) Describe(ctx context.Context, _ *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	plugins, err := l.b.Describe(ctx)
	if err != nil {
		return nil, wire.FromError(err)
	}
	out := &pb.DescribeResponse{}
	for _, d := range plugins {
		out.Plugins = append(out.Plugins, wire.DescriptionToPB(d))
	}
	return out, nil
}

func (l *lifecycle) Configure(ctx context.Context, req *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	cfg := wire.InstanceConfigFromPB(req)
	allow(cfg)
	err := l.b.Configure(ctx, cfg)
	if err == nil {
		err = l.records.open(cfg)
	}
	return &pb.ConfigureResponse{InspectWindow: plane.Window}, wire.FromError(err)
}

func (l *lifecycle) Health(ctx context.Context, req *pb.HealthRequest) (*pb.HealthResponse, error) {
	if err := l.b.Health(ctx, req.GetInstance()); err != nil {
		return nil, wire.FromError(err)
	}
	progress, busy := l.b.Progress(req.GetInstance())
	resp := &pb.HealthResponse{Progress: progress, Busy: uint32(max(busy, 0))}
	if several, ok := l.b.(interface {
		Worked() map[string]time.Duration
	}); ok {
		for id, d := range several.Worked() {
			if resp.Worked == nil {
				resp.Worked = map[string]uint64{}
			}
			resp.Worked[id] = uint64(d)
		}
	}
	return resp, nil
}

// allow tells the runtime what the process may use with one more instance in it.
func allow(cfg abi.InstanceConfig) {
	if cfg.ProcessMemory > debug.SetMemoryLimit(-1) { // two may be configured at a time
		debug.SetMemoryLimit(cfg.ProcessMemory)
	}
	if n := min(cfg.ProcessCores, runtime.NumCPU()); n > runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(n)
	}
}

func (l *lifecycle) Snapshot(ctx context.Context, req *pb.SnapshotRequest) (*pb.SnapshotResponse, error) {
	state, err := l.b.Snapshot(ctx, req.GetInstance())
	return &pb.SnapshotResponse{State: state}, wire.FromError(err)
}

func (l *lifecycle) Restore(ctx context.Context, req *pb.RestoreRequest) (*pb.RestoreResponse, error) {
	return &pb.RestoreResponse{}, wire.FromError(l.b.Restore(ctx, req.GetInstance(), req.GetState()))
}

func (l *lifecycle) Stop(ctx context.Context, req *pb.StopRequest) (*pb.StopResponse, error) {
	err := l.b.Stop(ctx, req.GetInstance())
	l.records.close(req.GetInstance())
	return &pb.StopResponse{}, wire.FromError(err)
}

type collector struct {
	pb.UnimplementedCollectorServiceServer
	b       Backend
	records *records
}

func (c *collector) Collect(req *pb.CollectRequest, stream grpc.ServerStreamingServer[pb.CollectResponse]) error {
	ctx := stream.Context()
	sink, err := c.records.sink(ctx, req.GetInstance(), req, func(samples []*pb.Sample) error {
		return stream.Send(&pb.CollectResponse{Samples: samples})
	})
	if err != nil {
		return wire.FromError(err)
	}
	err = c.b.Collect(ctx, req.GetInstance(), wire.CollectRequestFromPB(req), sink)
	return wire.FromError(errors.Join(err, sink.Close()))
}

func (c *collector) Watch(req *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
	ctx := stream.Context()
	sink, err := c.records.sink(ctx, req.GetInstance(), req, func(samples []*pb.Sample) error {
		return stream.Send(&pb.WatchResponse{Samples: samples})
	})
	if err != nil {
		return wire.FromError(err)
	}
	err = c.b.Watch(ctx, req.GetInstance(), sink)
	return wire.FromError(errors.Join(err, sink.Close()))
}

// sampleStream sends samples over gRPC in chunks, each at most a moment after its first sample.
type sampleStream struct {
	send func([]*pb.Sample) error

	mu     sync.Mutex // guards all below
	held   []*pb.Sample
	size   int
	timer  *time.Timer
	failed error
	closed bool
}

// chunkDelay is how long a sample may wait for others.
const chunkDelay = 5 * time.Millisecond

func (s *sampleStream) Sample(v sdk.Sample) error {
	m := wire.SampleToPB(v)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	s.held = append(s.held, m)
	s.size += proto.Size(m)
	if len(s.held) >= chunkSamples || s.size >= chunkBytes {
		return s.flush()
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(chunkDelay, s.late)
	} else if len(s.held) == 1 {
		s.timer.Reset(chunkDelay)
	}
	return nil
}

func (s *sampleStream) late() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_ = s.flush() // the next sample gets its error
	}
}

func (s *sampleStream) flush() error {
	if len(s.held) == 0 || s.failed != nil {
		return s.failed
	}
	s.failed = s.send(s.held)
	s.held, s.size = nil, 0
	return s.failed
}

// Close sends what is held.
func (s *sampleStream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.flush()
}

type discovery struct {
	pb.UnimplementedDiscoveryServiceServer
	b Backend
}

func (d *discovery) Discover(req *pb.DiscoverRequest, stream grpc.ServerStreamingServer[pb.DiscoverResponse]) error {
	scope, err := wire.ScopeFromPB(req)
	if err != nil {
		return wire.FromError(err)
	}
	return wire.FromError(d.b.Discover(stream.Context(), req.GetInstance(), scope, sightingStream{stream}))
}

// sightingStream sends each sighting at once: a discovery takes long and its first results are worth seeing.
type sightingStream struct {
	stream grpc.ServerStreamingServer[pb.DiscoverResponse]
}

func (s sightingStream) Sighting(v sdk.Sighting) error {
	return s.stream.Send(&pb.DiscoverResponse{Sightings: []*pb.Sighting{wire.SightingToPB(v)}})
}

type notifier struct {
	pb.UnimplementedNotifierServiceServer
	b Backend
}

func (n *notifier) Notify(ctx context.Context, req *pb.NotifyRequest) (*pb.NotifyResponse, error) {
	if req.GetNotice() == nil {
		return nil, wire.FromError(sdk.Errorf(sdk.Internal, "notify without a notice"))
	}
	receipt, err := n.b.Notify(ctx, req.GetInstance(), wire.NoticeFromPB(req.GetNotice()))
	return &pb.NotifyResponse{Receipt: wire.ReceiptToPB(receipt)}, wire.FromError(err)
}

func (n *notifier) Undo(ctx context.Context, req *pb.UndoRequest) (*pb.UndoResponse, error) {
	return &pb.UndoResponse{}, wire.FromError(n.b.Undo(ctx, req.GetInstance(), wire.ReceiptFromPB(req.GetReceipt())))
}

func (n *notifier) Status(ctx context.Context, req *pb.StatusRequest) (*pb.StatusResponse, error) {
	status, err := n.b.Status(ctx, req.GetInstance(), wire.ReceiptFromPB(req.GetReceipt()))
	if err != nil {
		return nil, wire.FromError(err)
	}
	return wire.StatusToPB(status), nil
}
