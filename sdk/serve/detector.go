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
	found, err := inspect(ctx, d.b, req.Instance, req.Capture, req.Frame)
	if err != nil && len(found) == 0 {
		return nil, wire.FromError(err)
	}
	return &pb.InspectResponse{Findings: found, Error: wire.ErrorToPB(err)}, nil
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

// inspect shows a detector one batch, wherever it came from.
func inspect(ctx context.Context, b Backend, instance, capture string, frame []byte) ([]*pb.Finding, error) {
	headroom()
	var found findings
	err := b.Inspect(ctx, instance, capture, frame, &found)
	return found.list, errors.Join(err, found.full)
}

func (d *detector) Flush(ctx context.Context, req *pb.FlushRequest) (*pb.FlushResponse, error) {
	var found findings
	err := errors.Join(d.b.Flush(ctx, req.GetInstance(), &found), found.full)
	if err != nil && len(found.list) == 0 {
		return nil, wire.FromError(err)
	}
	return &pb.FlushResponse{Findings: found.list, Error: wire.ErrorToPB(err)}, nil
}

// findings gathers what one call found. The instance bounds their number, and this their size.
type findings struct {
	list []*pb.Finding
	size int
	full error
}

func (f *findings) Finding(v sdk.Finding) error {
	m := wire.FindingToPB(v)
	size := proto.Size(m)
	if f.size+size > maxFindingBytes {
		f.full = sdk.Errorf(sdk.Internal, "the findings of one call are larger than %d bytes", maxFindingBytes)
		return f.full
	}
	f.size += size
	f.list = append(f.list, m)
	return nil
}
