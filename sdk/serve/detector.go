//go:build !wasip1

package serve

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

type detector struct {
	pb.UnimplementedDetectorServiceServer
	b       Backend
	records *records
}

// detectorService is the generated service with handlers that do not copy the frames.
func detectorService() *grpc.ServiceDesc {
	desc := pb.DetectorService_ServiceDesc
	desc.Methods, desc.Streams = slices.Clone(desc.Methods), slices.Clone(desc.Streams)
	for i := range desc.Methods {
		if desc.Methods[i].MethodName == "Inspect" {
			desc.Methods[i].Handler = inspectHandler
		}
	}
	for i := range desc.Streams {
		if desc.Streams[i].StreamName == "InspectStream" {
			desc.Streams[i].Handler = func(srv any, stream grpc.ServerStream) error { return srv.(*detector).stream(stream) }
		}
	}
	return &desc
}

func inspectHandler(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var req wire.Inspect
	if err := decode(&req); err != nil {
		return nil, err
	}
	said, err := inspect(ctx, srv.(*detector).b, req.Instance, req.Capture, req.Frame)
	if err != nil && said.empty() {
		return nil, wire.FromError(err) // whose words may lie in the frame, too: its memory is left to the collector
	}
	body := wire.Body(result(said, err)) // gRPC would write it down once the memory of the frame is used again
	req.Free()
	return &body, nil
}

// stream answers one batch after the other. gRPC takes those that come in the meantime, as far as its window has room.
func (d *detector) stream(stream grpc.ServerStream) error {
	for {
		var req wire.Inspect
		if err := stream.RecvMsg(&req); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		body := wire.Body(d.answer(stream.Context(), &req))
		if err := stream.SendMsg(&body); err != nil {
			return err
		}
	}
}

// answer is what a stream says of a batch.
func (d *detector) answer(ctx context.Context, req *wire.Inspect) []byte {
	defer req.Free()
	if deadline := d.records.deadline(req.Instance); deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	return result(inspect(ctx, d.b, req.Instance, req.Capture, req.Frame))
}

// inspect shows a detector or an observer one batch, wherever it came from.
func inspect(ctx context.Context, b Backend, instance, capture string, frame []byte) (said, error) {
	return saying(func(s *said) error { return b.Inspect(ctx, instance, capture, frame, s) })
}

// saying is what is said while work is done.
func saying(work func(*said) error) (said, error) {
	headroom()
	var s said
	err := work(&s)
	return s, errors.Join(err, s.full)
}

func (d *detector) Flush(ctx context.Context, req *pb.FlushRequest) (*pb.FlushResponse, error) {
	var s said
	err := errors.Join(d.b.Flush(ctx, req.GetInstance(), &s), s.full)
	if err != nil && s.empty() {
		return nil, wire.FromError(err)
	}
	resp := &pb.FlushResponse{Findings: s.findings, Error: wire.ErrorToPB(err)}
	return resp, s.addSightings(resp)
}

// said gathers what one call emitted. The instance bounds the number, and this the size.
type said struct {
	findings  []*pb.Finding
	sightings []byte // as they stand in the answer
	size      int    // of the findings
	full      error
}

func (s *said) empty() bool { return len(s.findings) == 0 && len(s.sightings) == 0 }

// addSightings adds the sightings to an answer.
func (s *said) addSightings(to proto.Message) error {
	return wire.FromError(proto.UnmarshalOptions{Merge: true}.Unmarshal(s.sightings, to))
}

func (s *said) Finding(v sdk.Finding) error {
	m := wire.FindingToPB(v)
	size := proto.Size(m)
	if err := s.fits(size); err != nil {
		return err
	}
	s.size += size
	s.findings = append(s.findings, m)
	return nil
}

func (s *said) Sighting(v sdk.Sighting) error {
	before := len(s.sightings)
	s.sightings = wire.AppendSighting(s.sightings, &v)
	if err := s.fits(0); err != nil {
		s.sightings = s.sightings[:before]
		return err
	}
	return nil
}

// fits checks that there is room for so many bytes more.
func (s *said) fits(more int) error {
	if s.size+len(s.sightings)+more <= maxSaidBytes {
		return nil
	}
	s.full = sdk.Errorf(sdk.Internal, "what one call emitted is larger than %d bytes", maxSaidBytes)
	return s.full
}
