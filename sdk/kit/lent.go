package kit

import (
	"bytes"
	"context"
	"errors"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"github.com/picketwatch/picket/sdk/records"
	"google.golang.org/protobuf/proto"
)

// Inspect shows a frame. One that the plugin only borrows is spoiled afterwards: what it kept of it by mistake shows then. Of facts
// it must leave the records as they are, for others of its process are shown the same ones.
func (l *local) Inspect(ctx context.Context, name, capture string, frame []byte, sink sdk.FindingSink) error {
	if !l.borrows {
		return l.Set.Inspect(ctx, name, capture, frame, sink)
	}
	lent := bytes.Clone(frame)
	defer func() {
		for i := range lent {
			lent[i] = '!'
		}
	}()
	if err := records.Verify(lent); err != nil {
		return err
	}
	shared := records.Shared{Frame: lent}
	if err := l.InspectShared(ctx, name, capture, &shared, carried{sink}); err != nil || records.SchemaOf(lent) == records.Flows {
		return err
	}
	shown, err := shared.Decode()
	if err != nil {
		return err
	}
	is, err := (&records.BatchDecoder{Borrow: true}).Decode(lent)
	// Written out again, for a number that is none does not equal itself.
	if err != nil || !bytes.Equal(records.AppendLocalBatch(nil, &shown), records.AppendLocalBatch(nil, &is)) {
		return errors.Join(err, sdk.Errorf(sdk.Internal, "%s changes the records that it is shown; others are shown the same ones", name))
	}
	return nil
}

// carried hands on copies of what is emitted, as they come out of a process.
type carried struct{ to sdk.FindingSink }

func (c carried) Finding(v sdk.Finding) error {
	var out pb.Finding
	if err := carry(wire.FindingToPB(v), &out); err != nil {
		return err
	}
	return c.to.Finding(wire.FindingFromPB(&out))
}

func (c carried) Sighting(v sdk.Sighting) error {
	to, ok := c.to.(sdk.SightingSink)
	if !ok {
		return errors.New("nobody here takes sightings")
	}
	var out pb.Sighting
	if err := carry(wire.SightingToPB(v), &out); err != nil {
		return err
	}
	copied, err := wire.SightingFromPB(&out)
	if err != nil {
		return err
	}
	return to.Sighting(copied)
}

func carry(from, to proto.Message) error {
	b, err := proto.Marshal(from)
	if err != nil {
		return err
	}
	return proto.Unmarshal(b, to)
}
