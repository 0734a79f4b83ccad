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
	defer req.Free()
	if err := decode(&req); err != nil {
		return nil, err
	}
	return srv.(*detector).inspect(ctx, &req)
}

func (d *detector) inspect(ctx context.Context, req *wire.Inspect) (*pb.InspectResponse, error) {
	said, err := inspect(ctx, d.b, req.Instance, req.Capture, req.Frame)
	if err != nil && said.empty() {
		return nil, wire.FromError(err)
	}
	return said.response(err), nil
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
	headroom()
	var s said
	err := b.Inspect(ctx, instance, capture, frame, &s)
	return s, errors.Join(err, s.full)
}

func (d *detector) Flush(ctx context.Context, req *pb.FlushRequest) (*pb.FlushResponse, error) {
	var s said
	err := errors.Join(d.b.Flush(ctx, req.GetInstance(), &s), s.full)
	if err != nil && s.empty() {
		return nil, wire.FromError(err)
	}
	return &pb.FlushResponse{Findings: s.findings, Sightings: s.sightings, Error: wire.ErrorToPB(err)}, nil
}

// said gathers what one call emitted. The instance bounds the number, and this the size.
type said struct {
	findings  []*pb.Finding
	sightings []*pb.Sighting
	size      int
	full      error
}

func (s *said) empty() bool { return len(s.findings) == 0 && len(s.sightings) == 0 }

func (s *said) response(err error) *pb.InspectResponse {
	return &pb.InspectResponse{Findings: s.findings, Sightings: s.sightings, Error: wire.ErrorToPB(err)}
}

func (s *said) Finding(v sdk.Finding) error {
	m := wire.FindingToPB(v)
	if err := s.fits(m); err != nil {
		return err
	}
	s.findings = append(s.findings, m)
	return nil
}

func (s *said) Sighting(v sdk.Sighting) error {
	m := wire.SightingToPB(v)
	if err := s.fits(m); err != nil {
		return err
	}
	s.sightings = append(s.sightings, m)
	return nil
}

func (s *said) fits(m proto.Message) error {
	size := proto.Size(m)
	if s.size+size > maxSaidBytes {
		s.full = sdk.Errorf(sdk.Internal, "what one call emitted is larger than %d bytes", maxSaidBytes)
		return s.full
	}
	s.size += size
	return nil
}
