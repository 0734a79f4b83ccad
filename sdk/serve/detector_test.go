//go:build !wasip1

package serve

import (
	"context"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/wire"
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
