package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

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

// ReplayRecent hands out frames of flows and facts of what was recorded since then, and of what was seen since then: captures that
// were recorded on those days, as a whole, and live traffic from about that time on. What was recorded last comes first; of one
// recording the frames come in their order. The error of see ends it.
func (f *Flows) ReplayRecent(ctx context.Context, tenant string, since time.Time, see func(capture string, p records.Parcel) error, wanted ...records.Schema) error {
	from := since.UnixMicro()
	runs := slices.DeleteFunc(f.runsOf(tenant, nil), func(r *run) bool { return r.last < from && (isLive(r) || r.day < dayOf(from)) })
	slices.SortFunc(runs, func(a, b *run) int { return cmp.Compare(b.id, a.id) })
	for _, r := range runs {
		if err := f.replayRun(ctx, r, from, see, wanted); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func isLive(r *run) bool { return strings.HasPrefix(r.capture, "live-") }

func (f *Flows) replayRun(ctx context.Context, r *run, from int64, see func(capture string, p records.Parcel) error, wanted []records.Schema) error {
	defer f.memory.work()()
	parts, _, release := f.parts(ctx, []*run{r})
	defer release()
	if len(parts) == 0 {
		return nil // it was removed meanwhile
	}
	frames, err := f.openFrames(r.id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer frames.close()
	seg := parts[0].seg
	query := fmt.Sprintf("SELECT place, size FROM %s.main.frames WHERE run = %d::UINTEGER AND ", seg.alias, r.id) +
		idList("kind", "UTINYINT", wanted, func(k records.Schema) uint64 { return uint64(k) })
	if isLive(r) { // facts lie before their flows: what lies behind the last frame of older flows is recent
		query += fmt.Sprintf(` AND place > coalesce((SELECT max(place) FROM %[1]s.main.frames WHERE run = %[2]d::UINTEGER AND kind = %[3]d::UTINYINT AND block <
			coalesce((SELECT min(block) FROM %[1]s.main.flows WHERE run = %[2]d::UINTEGER AND start >= make_timestamp(%[4]d)), 4294967295)), -1)`,
			seg.alias, r.id, records.Flows, from)
	}
	list, err := collect(ctx, f.engine.db, func(r row) (x framePlace, err error) { return x, r.Scan(&x.place, &x.size) }, query+" ORDER BY place")
	if err != nil {
		return explainDuck(seg.path, err)
	}
	for _, at := range list {
		frame, err := frames.read(at)
		if err == nil {
			err = see(r.capture, records.Parcel{Frame: frame})
		}
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}
