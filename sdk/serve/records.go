//go:build !wasip1

package serve

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/plane"
	"github.com/picketwatch/picket/sdk/internal/wire"
	rows "github.com/picketwatch/picket/sdk/records"
	"google.golang.org/protobuf/proto"
)

// exitBadHost is the exit code of a plugin whose host breaks the rules of the record plane.
const exitBadHost = 6

// records is the record plane of this process. The zero value has none: batches and samples travel by gRPC.
type records struct {
	plane *plane.Plugin

	mu        sync.Mutex // guards all below
	channels  map[string]uint32
	deadlines map[string]time.Duration // of a batch that comes by gRPC
}

// sharing is a backend whose instances read one frame together.
type sharing interface {
	InspectShared(ctx context.Context, instance, capture string, frame *rows.Shared, sink sdk.FindingSink) error
}

// openRecords opens the record plane if the host gave one.
func openRecords(b Backend, log *slog.Logger) (*records, error) {
	r := &records{channels: map[string]uint32{}, deadlines: map[string]time.Duration{}}
	fd, ok, err := inherited(wire.RecordsEnv)
	if err != nil || !ok {
		return r, err
	}
	several, shares := b.(sharing)
	answer := func(ctx context.Context, instance, capture string, frame []byte, shared *rows.Shared) []byte {
		if shared == nil || !shares {
			return result(inspect(ctx, b, instance, capture, frame))
		}
		return result(saying(func(s *said) error { return several.InspectShared(ctx, instance, capture, shared, s) }))
	}
	refuse := func(err error) []byte { return result(said{}, err) }
	if r.plane, err = plane.OpenPlugin(os.NewFile(fd, "records"), answer, refuse); err != nil {
		return nil, err
	}
	go func() {
		if err := r.plane.Read(); err != nil {
			log.Error("the host broke the rules of the record plane", "error", err)
			os.Exit(exitBadHost)
		}
	}()
	return r, nil
}

// How much garbage a detector lets lie: so much beside what lives, and of what lives so many per cent.
const (
	headroomSize = 16 << 20
	gcPercent    = 50
)

// headroom is memory that is never touched, and so takes none of the machine. The collector counts it: without it the
// small heap of a detector, whose only garbage is the texts of records, would be collected every few batches, at a fifth
// of what the records cost. With it the heap need not double besides. Close to a memory limit there is none of it.
var headroom = sync.OnceValue(func() []byte {
	if debug.SetMemoryLimit(-1) < 16*headroomSize {
		return nil
	}
	debug.SetGCPercent(gcPercent)
	return make([]byte, headroomSize)
})

// inherited returns the descriptor that a variable names, and keeps both from programs that the plugin starts.
func inherited(name string) (fd uintptr, ok bool, err error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return 0, false, nil
	}
	if err := os.Unsetenv(name); err != nil {
		return 0, false, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n < 3 {
		return 0, false, fmt.Errorf("%s=%q is not a descriptor", name, text)
	}
	keepFromChildren(int(n))
	return uintptr(n), true, nil
}

// result is the body of a RESULT; one that says nothing is empty.
func result(s said, err error) []byte {
	if s.empty() && err == nil {
		return nil
	}
	rest := &pb.InspectResponse{Findings: s.findings, Error: wire.ErrorToPB(err)}
	body, merr := proto.MarshalOptions{}.MarshalAppend(s.sightings, rest) // parts of a message one behind the other are one
	if merr != nil {
		body, _ = proto.Marshal(&pb.InspectResponse{Error: wire.ErrorToPB(fmt.Errorf("what the plugin said cannot be sent: %w", merr))})
	}
	return body
}

// open opens the channel of an instance that was configured with one.
func (r *records) open(cfg abi.InstanceConfig) error {
	if cfg.Channel == 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.deadlines[cfg.Instance] = cfg.Deadline
		return nil
	}
	if r.plane == nil {
		return sdk.Errorf(sdk.Internal, "instance %s has channel %d, but this process has no record plane", cfg.Instance, cfg.Channel)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.channels[cfg.Instance] = cfg.Channel
	return r.plane.Open(cfg.Channel, cfg.Instance, cfg.Deadline)
}

func (r *records) close(instance string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.deadlines, instance)
	if channel, ok := r.channels[instance]; ok {
		delete(r.channels, instance)
		r.plane.Close(channel)
	}
}

// deadline is how long a batch that comes by gRPC may take; 0 leaves it to the host.
func (r *records) deadline(instance string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deadlines[instance]
}

// sampleSink takes the samples of one call and says at its end what became of them.
type sampleSink interface {
	sdk.SampleSink
	Close() error
}

// call is what CollectRequest and WatchRequest say about the record plane.
type call interface {
	GetCall() uint32
	GetCreditFrames() uint32
	GetCreditBytes() uint32
}

// sink returns where the samples of a call go: onto the record plane when the host gave the call a number, else to send.
func (r *records) sink(ctx context.Context, instance string, req call, send func([]*pb.Sample) error) (sampleSink, error) {
	if req.GetCall() == 0 {
		return &sampleStream{send: send}, nil
	}
	r.mu.Lock()
	channel := r.channels[instance]
	r.mu.Unlock()
	if r.plane == nil || channel == 0 {
		return nil, sdk.Errorf(sdk.Internal, "instance %s has no channel on the record plane", instance)
	}
	return r.plane.Begin(ctx, channel, req.GetCall(), req.GetCreditFrames(), req.GetCreditBytes(), refusal)
}

// refusal is the error of an ACK that refuses samples.
func refusal(body []byte) error {
	var e pb.Error
	if err := proto.Unmarshal(body, &e); err != nil {
		return sdk.Errorf(sdk.Internal, "the host refused samples and gave no reason that can be read")
	}
	return wire.ErrorFromPB(&e)
}
