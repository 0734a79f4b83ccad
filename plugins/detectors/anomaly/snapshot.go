package anomaly

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/shape"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
)

// snapshotVersion is the form of a snapshot: the pairs with unusual flows as JSON, then what is usual for networks and hosts. Version 1
// was that JSON alone, with its version within.
const snapshotVersion, firstVersion = 2, 1

const (
	// hostSize is what a host takes in a snapshot, about.
	hostSize = 1200
	// maxText bounds the JSON.
	maxText = 64 << 20
)

var (
	errTwice = errors.New("an entry comes twice")
	errEmpty = errors.New("an empty pair")
)

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	text, err := json.Marshal(d.memory)
	if err != nil {
		return nil, err
	}
	b := saved.Begin(snapshotVersion, len(text)+hostSize*(d.hosts.Len()+d.segments.Len()))
	b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	for _, list := range []*recent.Table[bare.Addr, *group]{&d.segments, &d.hosts} {
		b = binary.AppendUvarint(binary.AppendUvarint(b, list.Forgotten), uint64(list.Len()))
		for g := range list.All() {
			b = g.appendTo(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(d.pairs.Len()))
	for o := range d.pairs.All() {
		b = o.appendTo(b)
	}
	return saved.Seal(d.matters.AppendTo(b)), nil
}

// Restore takes what Snapshot wrote, whole or not at all.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into, learned := memory{}, newBaselines(d.cfg.MaxHosts)
	var err error
	if saved.Is(state) {
		err = read(state, &into, &learned)
	} else {
		err = readFirst(state, &into)
	}
	if err == nil && slices.Contains(into.Pairs, nil) {
		err = errEmpty
	}
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory, d.baselines = into, learned
	return nil
}

func readFirst(state []byte, into *memory) error {
	first := struct {
		Version int `json:"version"`
		*memory
	}{memory: into}
	if err := json.Unmarshal(state, &first); err != nil {
		return err
	}
	if first.Version != firstVersion {
		return fmt.Errorf("version %d, expected %d", first.Version, firstVersion)
	}
	return nil
}

func read(state []byte, into *memory, learned *baselines) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(p.Bytes(maxText), into); err != nil {
		return err
	}
	for _, list := range []*recent.Table[bare.Addr, *group]{&learned.segments, &learned.hosts} {
		list.Forgotten = p.Uint()
		for range p.Count() {
			g := readGroup(p)
			if list.Has(g.addr) {
				return errTwice
			}
			list.Put(g.addr, g)
		}
	}
	for range p.Count() {
		o := readOdd(p)
		if learned.pairs.Has(o.key) {
			return errTwice
		}
		learned.pairs.Put(o.key, o)
	}
	return errors.Join(learned.matters.Read(p, activityRule+1), p.End())
}

func (g *group) appendTo(b []byte) []byte {
	b = binary.AppendVarint(g.addr.AppendTo(b), g.first)
	present := uint64(0)
	for i, p := range g.profiles {
		if p != nil {
			present |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, present)
	for _, p := range g.profiles {
		if p != nil {
			b = p.AppendTo(b)
		}
	}
	b = binary.AppendUvarint(binary.AppendVarint(b, g.hour), uint64(g.hours))
	for i := range counters {
		b = binary.AppendUvarint(b, g.now[i])
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(g.mean[i]))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(g.spread[i]))
	}
	return g.hosts.AppendTo(b)
}

func readGroup(p *saved.Packed) *group {
	g := &group{addr: bare.Read(p), first: p.Int()}
	present := p.Uint()
	for i := range g.profiles {
		if present&(1<<i) != 0 {
			g.profiles[i] = shape.Read(p)
		}
	}
	g.hour, g.hours = p.Int(), uint32(p.Uint())
	for i := range counters {
		g.now[i], g.mean[i], g.spread[i] = p.Uint(), number(p), max(0, number(p))
	}
	g.hosts = sketch.Read(p)
	return g
}

// number reads one that can be reckoned with.
func number(p *saved.Packed) float64 {
	var b [8]byte
	p.Fill(b[:])
	v := math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
	if !(math.Abs(v) < 1e6) {
		return 0
	}
	return v
}

func (o *odd) appendTo(b []byte) []byte {
	b = o.key.Server.AppendTo(o.key.Client.AppendTo(b))
	usual := uint64(0)
	if o.usual {
		usual = 1
	}
	for _, n := range []uint64{uint64(o.key.Port), uint64(o.key.Rule), usual, uint64(o.flows), uint64(o.unlike), uint64(o.facts)} {
		b = binary.AppendUvarint(b, n)
	}
	return append(b, o.last[:]...)
}

func readOdd(p *saved.Packed) *odd {
	o := &odd{key: issue.Key{Client: bare.Read(p), Server: bare.Read(p), Port: uint16(p.Uint()), Rule: uint8(min(p.Uint(), uint64(classes-1)))}}
	o.usual, o.flows, o.unlike, o.facts = p.Uint() == 1, uint32(p.Uint()), uint32(p.Uint()), uint32(p.Uint())
	p.Fill(o.last[:])
	return o
}
