//go:build !wasip1

package serve

import (
	"context"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// stuck is a detector that goes on until it is told to stop.
type stuck struct{ Backend }

func (stuck) Inspect(ctx context.Context, _, _ string, _ []byte, sink sdk.FindingSink) error {
	if err := sink.Finding(sdk.Finding{Summary: "so far"}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// lender emits a finding whose text lies in the frame.
type lender struct{ Backend }

func (lender) Inspect(_ context.Context, _, _ string, frame []byte, sink sdk.FindingSink) error {
	return sink.Finding(sdk.Finding{Summary: unsafe.String(&frame[0], len(frame))})
}

// What a plugin says is written down before the memory of the frame, in which its texts may lie, is used again.
func TestTextsOfAFrameAreWrittenBeforeItsMemoryIsUsedAgain(t *testing.T) {
	text := strings.Repeat("printer ", 1<<10) // the memory of short messages is not used again
	answer, err := inspectHandler(&detector{b: lender{}}, t.Context(), func(req any) error {
		body, err := proto.Marshal(&pb.InspectRequest{Instance: "i", Frame: []byte(text)})
		if err != nil {
			return err
		}
		lent := mem.NewBuffer(&body, spoiling{})
		defer lent.Free()
		return wire.Codec().Unmarshal(mem.BufferSlice{lent}, req)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	said, err := wire.Codec().Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var resp pb.InspectResponse
	if err := proto.Unmarshal(said.Materialize(), &resp); err != nil {
		t.Fatal(err)
	}
	if len(resp.GetFindings()) != 1 || resp.GetFindings()[0].GetSummary() != text {
		t.Errorf("got %v", &resp)
	}
}

// spoiling is a pool whose memory is used again at once.
type spoiling struct{}

func (spoiling) Get(n int) *[]byte { b := make([]byte, n); return &b }
func (spoiling) Put(b *[]byte) {
	for i := range *b {
		(*b)[i] = '!'
	}
}

// A batch in a stream has the deadline of its instance; the host says no other.
func TestABatchInAStreamHasADeadline(t *testing.T) {
	r := &records{channels: map[string]uint32{}, deadlines: map[string]time.Duration{}}
	if err := r.open(abi.InstanceConfig{Instance: "i", Deadline: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	var resp pb.InspectStreamResponse
	body := (&detector{b: stuck{}, records: r}).answer(t.Context(), &wire.Inspect{Instance: "i"})
	if err := proto.Unmarshal(body, &resp); err != nil {
		t.Fatal(err)
	}
	if len(resp.GetFindings()) != 1 || sdk.ClassOf(wire.ErrorFromPB(resp.GetError())) != sdk.Temporary {
		t.Errorf("got %v", &resp)
	}
	r.close("i")
	if d := r.deadline("i"); d != 0 {
		t.Errorf("a deadline of %s is left of an instance that was stopped", d)
	}
}
