package host

import (
	"context"
	"errors"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/check"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/wire"
)

// verdict is what a plugin answers to a batch, or to the end of a capture.
type verdict interface {
	GetFindings() []*pb.Finding
	GetSightings() []*pb.Sighting
	GetError() *pb.Error
}

// pass passes on what a plugin said, also when the call failed after that. What is refused of it becomes a part of the error.
func (i *Instance) pass(ctx context.Context, what string, s verdict, sink sdk.FindingSink) error {
	var failure error
	if e := s.GetError(); e != nil {
		failure = wire.ErrorFromPB(e)
	}
	found := check.NewGate(ctx, check.MaxFindings, "findings", check.Finding, func(f sdk.Finding) error {
		f.ID = sdk.FindingID(f)
		return sink.Finding(f)
	})
	err := i.findings(s.GetFindings(), found)
	seen := check.NewGate(ctx, check.MaxSightings, "sightings", check.Observed, func(v sdk.Sighting) error {
		if to, ok := sink.(sdk.SightingSink); ok {
			return to.Sighting(v)
		}
		return sdk.Errorf(sdk.Unsupported, "%s saw devices, and nobody here takes sightings", i.plugin)
	})
	if err == nil {
		err = sightings(s.GetSightings(), seen)
	}
	if err != nil {
		failure = errors.Join(refusedError{err}, failure)
	}
	return seen.Result(found.Result(i.failed(ctx, what, failure)))
}

func (i *Instance) findings(list []*pb.Finding, to *check.Gate[sdk.Finding]) error {
	for _, m := range list {
		f := wire.FindingFromPB(m)
		if f.Detector != "" && f.Detector != i.plugin && i.process.misnamed != nil {
			i.process.misnamed(i.id, f.Detector)
		}
		f.Detector = i.plugin
		if err := to.Put(f); err != nil {
			return err
		}
	}
	return nil
}

func sightings(list []*pb.Sighting, to *check.Gate[sdk.Sighting]) error {
	for _, m := range list {
		v, err := wire.SightingFromPB(m)
		if err != nil {
			return err
		}
		if err := to.Put(v); err != nil {
			return err
		}
	}
	return nil
}
