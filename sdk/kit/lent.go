package kit

import (
	"bytes"
	"context"
	"errors"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"google.golang.org/protobuf/proto"
)

// Inspect shows a frame. One that the plugin only borrows is spoiled afterwards: what it kept of it by mistake shows then.
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
	return l.Set.Inspect(ctx, name, capture, lent, carried{sink})
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
