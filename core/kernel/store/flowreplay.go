package store

import (
	"context"
	"errors"
	"io/fs"

	"github.com/picketwatch/picket/sdk/records"
)

// Replay hands out the frames of a capture as they came: flows, and facts before their flows. kind is one of sdk.FactKinds,
// "" for flows. The parcel is only valid during the call. Only frames of the wanted kinds are read, records.PackedFeatures for the
// features beside flows; all frames, when none is named.
func (f *Flows) Replay(ctx context.Context, tenant, capture string, see func(kind string, p records.Parcel) error, wanted ...records.Schema) error {
	defer f.memory.work()()
	parts, _, release := f.parts(ctx, f.runsOf(tenant, []string{capture}))
	defer release()
	if len(parts) == 0 {
		return ErrNotFound
	}
	r := parts[0].runs[0]
	from, err := f.openFrames(r.id)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	defer from.close()
	return f.frames(ctx, parts[0], r, wanted, nil, from, func(at framePlace, p records.Parcel) error {
		return see(records.Schema(at.kind).Facts(), p)
	})
}
