package store

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"reflect"

	"github.com/picketwatch/picket/internal/snake"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// told is a fact with what every fact has.
type told struct {
	seen  *sdk.Seen
	name  string // that it is found by
	named bool   // the name is one that a list shows for the flow
	value any
}

// toldBy returns each fact of a batch.
func toldBy(b *sdk.Batch, yield func(told) error) error {
	return cmp.Or(
		each(b.DNS, yield, func(x *sdk.DNS) told { return told{&x.Seen, x.Query, true, x} }),
		each(b.TLS, yield, func(x *sdk.TLS) told { return told{&x.Seen, cmp.Or(x.ServerName, first(x.Names)), true, x} }),
		each(b.HTTP, yield, func(x *sdk.HTTP) told { return told{&x.Seen, x.Host, true, x} }),
		each(b.SMB, yield, func(x *sdk.SMB) told { return told{&x.Seen, cmp.Or(x.File, x.Share, x.Host), false, x} }),
		each(b.DHCP, yield, func(x *sdk.DHCP) told { return told{&x.Seen, cmp.Or(x.FQDN, x.Hostname), false, x} }),
		each(b.ARP, yield, func(x *sdk.ARP) told { return told{&x.Seen, "", false, x} }),
		each(b.OT, yield, func(x *sdk.OT) told { return told{&x.Seen, x.Object, false, x} }),
		each(b.Files, yield, func(x *sdk.File) told { return told{&x.Seen, x.Name, false, x} }),
		each(b.Logins, yield, func(x *sdk.Login) told { return told{&x.Seen, x.User, false, x} }),
		each(b.Messages, yield, func(x *sdk.Message) told { return told{&x.Seen, x.Text, false, x} }))
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func each[T any](list []T, yield func(told) error, of func(*T) told) error {
	for i := range list {
		if err := yield(of(&list[i])); err != nil {
			return err
		}
	}
	return nil
}

// factKey is what the facts of one group have in common.
type factKey struct {
	flow           uint64
	client, server netip.Addr
	name           string
}

func (t told) key() factKey {
	return factKey{t.seen.Flow, t.seen.Client, t.seen.Server, t.name}
}

// factGroup is facts of one frame that are found by the same things. They share a row of the index: a flow tells the same many
// times, and a row costs more than the fact.
type factGroup struct {
	factKey
	item         uint16 // the first one, within the frame
	since, until int64  // µs, of the earliest and the latest
	named        bool
}

// manySlots is how many slots the table of one frame may have for the next one to use their memory again: one frame of a hostile
// capture would hold it for ever.
const manySlots = 8 * records.BatchFacts

// grouping puts the facts of a frame into groups. Its table is open: a frame has a few hundred facts, most of which begin a group,
// and a map of such long keys took longer than all else that is done with a fact here.
type grouping struct {
	list  []factGroup
	slots []uint32 // 1 + the place in list, 0 when free
	last  int

	names maphash.Seed
	seeds [4]uint64 // what a capture holds must not tell where its facts go
}

// begin makes room for the groups of so many facts.
func (g *grouping) begin(facts int) {
	if g.seeds == [4]uint64{} {
		g.names = maphash.MakeSeed()
		for i := range g.seeds {
			g.seeds[i] = rand.Uint64() //nolint:gosec // of a generator that the process seeded
		}
	}
	want := 1 << bits.Len(uint(2*facts)) //nolint:gosec // of maxItems at most
	if room := max(want, manySlots); cap(g.slots) < want || cap(g.slots) > room {
		g.slots, g.list = make([]uint32, room), nil
	}
	g.slots = g.slots[:want]
	clear(g.slots)
	g.list, g.last = g.list[:0], 0
}

func (g *grouping) group(b *sdk.Batch) []factGroup {
	g.begin(len(b.DNS) + len(b.TLS) + len(b.HTTP) + len(b.SMB) + len(b.DHCP) + len(b.ARP) + len(b.OT) + len(b.Files) + len(b.Logins) + len(b.Messages))
	item := uint16(0)
	_ = toldBy(b, func(t told) error {
		g.add(t, item)
		item++
		return nil
	})
	return g.list
}

func (g *grouping) add(t told, item uint16) {
	key, at := t.key(), micros(t.seen.Time)
	if len(g.list) == 0 || g.list[g.last].factKey != key {
		g.last = g.find(&key)
		if g.last == len(g.list) {
			g.list = append(g.list, factGroup{key, item, at, at, t.named})
		}
	}
	x := &g.list[g.last]
	x.since, x.until = min(x.since, at), max(x.until, at)
}

// find is the place of a group in the list, behind its end when it is new.
func (g *grouping) find(key *factKey) int {
	mask := uint64(len(g.slots) - 1)
	for i := g.hash(key); ; i++ {
		slot := &g.slots[i&mask]
		if *slot == 0 {
			*slot = uint32(len(g.list) + 1) //nolint:gosec // of maxItems at most
			return len(g.list)
		}
		if at := int(*slot - 1); g.list[at].factKey == *key {
			return at
		}
	}
}

func (g *grouping) hash(key *factKey) uint64 {
	clientHi, client := halves(key.client)
	serverHi, server := halves(key.server)
	h := folded(key.flow^g.seeds[0], maphash.String(g.names, key.name)^g.seeds[1])
	h = folded(h^clientHi, client^g.seeds[2])
	return folded(h^serverHi, server^g.seeds[3])
}

// folded mixes two numbers.
func folded(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

func (r *FlowRecording) addFacts(batch *sdk.Batch, count int, block uint32, kind uint8) error {
	c := &r.facts
	for _, x := range r.groups.group(batch) {
		name, err := r.name(x.name)
		if err != nil {
			return err
		}
		n, err := c.next()
		if err != nil {
			return err
		}
		c.run[n], c.number[n], c.kind[n], c.flow[n] = r.run.id, factNumber(block, kind, x.item), kind, x.flow
		c.since[n], c.until[n] = timeMicros(x.since), timeMicros(x.until)
		c.clientHi[n], c.client[n] = halves(x.client)
		c.serverHi[n], c.server[n] = halves(x.server)
		c.name[n], c.also[n] = name, r.call(x.flow, name, x.named)
	}
	r.run.facts += uint64(count)
	return nil
}

// factNumber is where a fact lies among those of a recording: in which frame of its kind, and where there.
func factNumber(block uint32, kind uint8, item uint16) uint64 {
	return uint64(block)<<24 | uint64(kind)<<16 | uint64(item)
}

func factPlace(number uint64) (block uint32, item uint16) {
	return uint32(number >> 24), uint16(number) //nolint:gosec // undoes factNumber
}

// call gives a flow a name. The first that can be shown goes into its row. For the others it returns 1: they are only found with
// the facts.
func (r *FlowRecording) call(flow, name uint64, shown bool) uint8 {
	if flow == 0 || name == 0 {
		return 0
	}
	before, open := r.pending[flow]
	if before == name {
		return 0
	}
	if shown && !open && len(r.pending) < r.most {
		r.pending[flow] = name
		return 0
	}
	return 1
}

// FactFields are the fields of a fact by name, without those that all facts have and those that are empty.
func FactFields(fact any) map[string]any {
	out := map[string]any{}
	v := reflect.Indirect(reflect.ValueOf(fact))
	if v.Kind() != reflect.Struct {
		return out
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous || v.Field(i).IsZero() {
			continue
		}
		out[snake.Case(f.Name)] = v.Field(i).Interface()
	}
	return out
}
