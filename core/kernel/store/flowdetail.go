package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	likeBlocks = 48     // frames that a baseline is made of at most, the ones with the most similar flows
	likeFlows  = 20_000 // and flows
)

// Get returns a flow of a capture with its features beside those of similar flows.
func (f *Flows) Get(ctx context.Context, tenant, capture string, id uint64) (FlowDetail, error) {
	defer f.memory.page(ctx)()
	d := FlowDetail{Capture: capture, Facts: []FlowFact{}, Features: []FlowFeature{}}
	parts, _, release := f.parts(ctx, f.runsOf(tenant, []string{capture}))
	defer release()
	if len(parts) == 0 {
		return d, ErrNotFound
	}
	p := parts[0]
	r := p.runs[0]
	var block uint32
	var item uint16
	var name uint64
	err := f.engine.db.QueryRowContext(ctx, fmt.Sprintf("SELECT block, item, name FROM %s.main.flows WHERE run = %d::UINTEGER AND id = %d::UBIGINT LIMIT 1",
		p.seg.alias, r.id, id)).Scan(&block, &item, &name)
	if err != nil {
		return d, explain(err)
	}
	texts := map[uint64]string{}
	if name != 0 {
		if err := f.texts(ctx, p.seg, []uint64{name}, texts); err != nil {
			return d, err
		}
	}
	d.Name = texts[name]
	if err := f.rows(ctx, p, r, uint8(records.Flows), []uint32{block}, func(_ uint32, b *sdk.Batch) error {
		if int(item) >= len(b.Flows) || b.Flows[item].ID != id {
			return fmt.Errorf("flow %d of capture %s is not where it should be; analyse the capture again", id, capture)
		}
		d.Flow = b.Flows[item]
		d.Flow.Packets = slices.Clone(d.Flow.Packets)
		return nil
	}); err != nil {
		return d, err
	}
	if d.Features, d.Like, err = f.baseline(ctx, tenant, &d.Flow); err != nil {
		return d, err
	}
	d.Facts, err = f.factsOf(ctx, p, r, id)
	return d, err
}

// rows decodes some frames of a recording, all when no blocks are named. Facts stay as they are given to see, flows are valid
// until it returns.
func (f *Flows) rows(ctx context.Context, p part, r *run, kind uint8, blocks []uint32, see func(block uint32, b *sdk.Batch) error) error {
	frames, err := f.openFrames(r.id)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound // removed this very moment
	}
	if err != nil {
		return err
	}
	defer frames.close()
	decoder := records.BatchDecoder{Features: true}
	kinds := []records.Schema{records.Schema(kind)}
	if records.Schema(kind) == records.Flows {
		kinds = append(kinds, records.PackedFeatures)
	}
	return f.frames(ctx, p, r, kinds, blocks, frames, func(at framePlace, parcel records.Parcel) error {
		frame, err := parcel.Long()
		if err != nil {
			return fmt.Errorf("%s: %w", frames.file.Name(), err)
		}
		if records.Schema(kind) != records.Flows {
			decoder, frame = records.BatchDecoder{}, slices.Clone(frame)
		}
		b, err := decoder.Decode(frame)
		if err != nil {
			return fmt.Errorf("%s: %w", frames.file.Name(), err)
		}
		return see(at.block, &b)
	})
}

// frames reads some frames of a recording in the order in which they came, flows with the features that lie beside them if both
// kinds are named. All kinds are, when none is.
func (f *Flows) frames(ctx context.Context, p part, r *run, kinds []records.Schema, blocks []uint32, from *frameReader, see func(framePlace, records.Parcel) error) error {
	query := fmt.Sprintf("SELECT kind, block, place, size, count FROM %s.main.frames WHERE run = %d::UINTEGER", p.seg.alias, r.id)
	if len(kinds) > 0 {
		query += " AND " + idList("kind", "UTINYINT", slices.Sorted(slices.Values(kinds)), func(k records.Schema) uint64 { return uint64(k) })
	}
	if blocks != nil {
		query += " AND " + idList("block", "UINTEGER", slices.Sorted(slices.Values(blocks)), func(b uint32) uint64 { return uint64(b) })
	}
	list, err := collect(ctx, f.engine.db, func(r row) (x framePlace, err error) {
		return x, r.Scan(&x.kind, &x.block, &x.place, &x.size, &x.count)
	}, query+" ORDER BY place")
	if err != nil {
		return explainDuck(p.seg.path, err)
	}
	var features []byte
	for _, at := range list {
		frame, err := from.read(at)
		if err != nil {
			return err
		}
		p := records.Parcel{Frame: frame}
		switch records.Schema(at.kind) {
		case records.PackedFeatures:
			features = append(features[:0], frame...)
			continue
		case records.Flows:
			if len(features) > 0 {
				p.Features, features = features, nil
			}
		}
		if err := see(at, p); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// likeBlock is a frame with similar flows.
type likeBlock struct {
	run   uint32
	block uint32
	flows int
}

// baseline compares the features of a flow with those of stored flows of the same application and port. Frames hold flows of
// the same time, so some of them stand for all: which, is decided by how many similar flows they hold, and then by age.
func (f *Flows) baseline(ctx context.Context, tenant string, x *sdk.Flow) (features []FlowFeature, like int, err error) {
	list := measures(x.Features != nil)
	values := make([][]float64, len(list))
	parts, _, release := f.parts(ctx, f.runsOf(tenant, nil))
	defer release()
	q := FlowFilter{Apps: []string{x.App}, DstPort: x.DstPort, Protos: []uint8{x.Proto}}
	for _, p := range parts {
		if like >= likeFlows {
			break
		}
		blocks, err := f.likeBlocks(ctx, p, q)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range p.runs {
			var mine []uint32
			for _, b := range blocks {
				if b.run == r.id {
					mine = append(mine, b.block)
				}
			}
			if len(mine) == 0 {
				continue
			}
			err := f.rows(ctx, p, r, uint8(records.Flows), mine, func(_ uint32, b *sdk.Batch) error {
				for i := range b.Flows {
					y := &b.Flows[i]
					if y.App != x.App || y.DstPort != x.DstPort || y.Proto != x.Proto || (y.Features == nil) != (x.Features == nil) || like >= likeFlows {
						continue
					}
					like++
					for j := range list {
						values[j] = append(values[j], list[j].Real(y))
					}
				}
				return nil
			})
			if err != nil && !errors.Is(err, ErrNotFound) {
				return nil, 0, err
			}
		}
	}
	for j, c := range list {
		features = append(features, distribution(FlowFeature{Name: c.Name, Unit: c.Unit, Doc: c.Formula, Value: c.Real(x)}, values[j]))
	}
	return features, like, nil
}

func (f *Flows) likeBlocks(ctx context.Context, p part, q FlowFilter) ([]likeBlock, error) {
	c, some, err := f.where(ctx, p, q)
	if err != nil || !some {
		return nil, err
	}
	list, err := collect(ctx, f.engine.db, func(r row) (b likeBlock, err error) { return b, r.Scan(&b.run, &b.block, &b.flows) },
		fmt.Sprintf("SELECT run, block, count(*) AS n FROM %s.main.flows WHERE %s GROUP BY ALL ORDER BY n DESC, run DESC, block DESC LIMIT %d",
			p.seg.alias, c, likeBlocks))
	return list, explainDuck(p.seg.path, err)
}

// measures are the columns that hold a feature.
func measures(further bool) []columns.Column {
	all := columns.Flow()
	if further {
		all = columns.All()
	}
	return slices.DeleteFunc(slices.Clone(all), func(c columns.Column) bool { return c.Real == nil })
}

// distribution says where the value of a feature lies among others. Values that are no numbers do not count.
func distribution(x FlowFeature, values []float64) FlowFeature {
	values = slices.DeleteFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	if math.IsNaN(x.Value) || math.IsInf(x.Value, 0) {
		x.Value = 0 // JSON has no words for them
	}
	if len(values) == 0 {
		return x
	}
	slices.Sort(values)
	// The nearest rank: a value that a flow really had.
	rank := func(p float64) float64 { return values[max(0, int(math.Ceil(p*float64(len(values))))-1)] }
	x.P5, x.P50, x.P95 = rank(0.05), rank(0.5), rank(0.95)
	for i, v := range values {
		x.Mean += (v - x.Mean) / float64(i+1) // no sum that could run over
	}
	return x
}
