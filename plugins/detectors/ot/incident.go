package ot

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// Bounds of the evidence of one finding.
const (
	maxPackets = 32
	maxFlows   = 16
	maxSpread  = 64
	maxName    = 64 // bytes of a name
)

// why says what makes an act more than its kind.
type why uint8

const (
	usual     why = iota
	unused        // the function was not seen while the device was learned
	intruding     // others poll the device, this host began by writing
	moved         // the device had another address
	foreign       // the host is none of the device's masters
)

// key is what the acts of one finding have in common.
type key struct {
	rule string
	from host
	at   place
	what uint32 // function
}

// incident is one finding that grows. It is reported when it begins, when it gets worse, when the first answer comes, each time
// that it has doubled, and at the end.
type incident struct {
	key
	number     uint64
	grave      grave
	base       grave // by its kind alone
	why        why
	intruded   bool // that was the reason once
	protocol   string
	name       string // of the first function
	object     string
	address    uint64
	start, end int64
	count      uint64
	done       uint64 // answers that say so
	refused    uint64
	told       told
	spread     []host // devices of a survey
	units      []string
	packets    []uint64
	flows      []flowref.Ref
	reversed   bool // who acts is the side that was called
	proto      uint8
	dirty      bool
}

// told is what was reported.
type told struct {
	count    uint64
	answered bool
	grave    grave
}

// incidents are in the order in which they began.
type incidents struct {
	by        map[key]*incident
	places    map[key]int // devices, of which one host does the same to several
	list      []*incident
	dirty     []*incident // what may have to be reported
	leaving   []*incident // what was forgotten to stay within bounds
	max       int
	next      uint64
	forgotten uint64
}

func newIncidents(limit int) incidents {
	return incidents{by: map[key]*incident{}, places: map[key]int{}, max: limit}
}

// add counts an act.
func (n *incidents) add(k key, base, g grave, w why, f *sdk.OT, now int64) *incident {
	k = n.folded(k)
	o := n.by[k]
	if o == nil {
		if len(n.list) >= n.max {
			oldest := n.list[0]
			n.list = slices.Delete(n.list, 0, 1)
			n.remove(oldest)
			n.leaving = append(n.leaving, oldest)
			n.forgotten++
		}
		n.next++
		o = &incident{
			key: k, number: n.next, start: now, reversed: f.FromServer != f.Response, proto: f.Proto,
			protocol: strings.Clone(cut(f.Protocol)), name: named(f), object: strings.Clone(cut(f.Object)), address: f.Address,
		}
		n.insert(o)
	}
	o.intruded = o.intruded || w == intruding
	o.base, o.grave, o.why, o.end = max(o.base, base), max(o.grave, g), max(o.why, w), now
	o.count++
	if k.at == (place{}) && k.rule != RuleSurvey {
		o.onto(f)
	}
	o.evidence(f)
	n.touch(o)
	return o
}

func (n *incidents) insert(o *incident) {
	n.by[o.key] = o
	n.list = append(n.list, o)
	n.places[o.deed()]++
}

func (n *incidents) remove(o *incident) {
	delete(n.by, o.key)
	if n.places[o.deed()]--; n.places[o.deed()] == 0 {
		delete(n.places, o.deed())
	}
}

// deed is what one host does to all devices.
func (k key) deed() key {
	k.at = place{}
	return k
}

// foldFrom is how many devices one host does the same to before the others are told together.
const foldFrom = 16

// folded is the key of all further devices, when there are too many to tell of each.
func (n *incidents) folded(k key) key {
	if n.by[k] == nil && n.places[k.deed()] >= foldFrom {
		return k.deed()
	}
	return k
}

// onto notes the device that an act goes to.
func (o *incident) onto(f *sdk.OT) {
	to := f.Server
	if f.FromServer != f.Response {
		to = f.Client
	}
	if h := hostOf(to); to.IsValid() && len(o.spread) < maxSpread && !slices.Contains(o.spread, h) {
		o.spread = append(o.spread, h)
	}
}

// clear takes back that a host began by writing, as it turned out to be a master.
func (n *incidents) clear(from host, at place) {
	for _, o := range n.list {
		if o.from == from && o.at == at && o.why == intruding {
			o.why, o.grave = usual, o.base
			n.touch(o)
		}
	}
}

func (n *incidents) touch(o *incident) {
	if !o.dirty {
		o.dirty = true
		n.dirty = append(n.dirty, o)
	}
}

// named is the name of what was done.
func named(f *sdk.OT) string {
	name := f.Name
	if name == "" {
		name = fmt.Sprintf("function %d", f.Function)
	}
	return strings.Clone(cut(name))
}

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxName)], "") }

func (o *incident) evidence(f *sdk.OT) {
	if len(o.packets) < maxPackets && (len(o.packets) == 0 || o.packets[len(o.packets)-1] < f.Packet) {
		o.packets = append(o.packets, f.Packet)
	}
	if f.Flow != 0 && len(o.flows) < maxFlows && o.reversed == (f.FromServer != f.Response) && !slices.ContainsFunc(o.flows, func(r flowref.Ref) bool { return r.ID == f.Flow }) {
		o.flows = append(o.flows, flowref.Ref{ID: f.Flow, SrcPort: f.ClientPort, DstPort: f.ServerPort})
	}
	if f.Unit != "" && len(o.units) < maxSpread && !slices.Contains(o.units, cut(f.Unit)) {
		o.units = append(o.units, strings.Clone(cut(f.Unit)))
	}
}

// answer notes what came of the last act of an incident.
func (n *incidents) answer(number uint64, failed bool) {
	o := n.find(number)
	if o == nil {
		return
	}
	if failed {
		o.refused++
	} else {
		o.done++
	}
	n.touch(o)
}

// find returns the incident of a number, nil when it was forgotten.
func (n *incidents) find(number uint64) *incident {
	i, found := slices.BinarySearchFunc(n.list, number, func(o *incident, number uint64) int { return cmp.Compare(o.number, number) })
	if !found {
		return nil
	}
	return n.list[i]
}

// report emits what is new.
func (n *incidents) report(final bool, sink sdk.FindingSink) error {
	for _, o := range n.leaving {
		if o.news(true) {
			if err := sink.Finding(o.finding()); err != nil {
				return err
			}
		}
	}
	n.leaving = n.leaving[:0]
	list := n.dirty
	if final {
		list = n.list
	}
	for _, o := range list {
		o.dirty = false
		if o.news(final) {
			o.told = told{o.count + o.done + o.refused, o.answered(), o.grave}
			if err := sink.Finding(o.finding()); err != nil {
				return err
			}
		}
	}
	n.dirty = n.dirty[:0]
	return nil
}

func (o *incident) answered() bool { return o.done+o.refused > 0 }

// news reports whether a finding says more than the last one did.
func (o *incident) news(final bool) bool {
	size := o.count + o.done + o.refused
	return size >= max(1, 2*o.told.count) || o.answered() != o.told.answered || o.grave != o.told.grave || final && size > o.told.count
}
