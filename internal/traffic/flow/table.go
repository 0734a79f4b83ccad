// Package flow groups decoded packets into bidirectional flows.
//
// In goes one decoded packet after the other, with its number and time; out come batches of finished sdk.Flow values.
// docs/features.md documents each feature. All decisions use the time in the packets, never the clock of the
// machine, so the same capture gives the same flows wherever and however fast it is read.
//
// # Order
//
// Flows come out in the order in which they are closed, which follows their end, not their start: a flow that is open for
// half an hour comes after the short ones that began later. What is still open at the end of the capture comes last, by
// id. A detector that needs starts in order must sort them itself, over at least the active timeout.
//
// # Memory
//
// Config.MaxFlows bounds how many flows are open, or else what they take in memory is bounded; beyond it, the one that was
// quiet for longest is closed with reason eviction and counted.
package flow

import (
	"math"
	"time"
	"unsafe"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// Config holds the limits of a table; zero values mean the defaults.
type Config struct {
	MaxFlows int           // open at once; default as many as openBytes hold
	Idle     time.Duration // closes a flow that is quiet for longer; default 2 minutes
	Active   time.Duration // closes a flow that is open for longer; default 30 minutes
	Linger   time.Duration // keeps a flow after its end for late packets; default 5 seconds
	Attempt  time.Duration // closes a flow that nothing has come of yet and that is quiet for longer; default Idle
	Batch    int           // flows per call of emit; default 1024
	Features bool          // fill in Flow.Features
	// Apps, when set, is shown the packets of each flow until it wants no more, and its end.
	Apps *app.Engine
}

// openBytes is how much memory the open flows take at most by default.
const openBytes = 32 << 20

func (c Config) withDefaults() Config {
	if c.Idle <= 0 {
		c.Idle = 2 * time.Minute
	}
	if c.Active <= 0 {
		c.Active = 30 * time.Minute
	}
	if c.Linger <= 0 {
		c.Linger = 5 * time.Second
	}
	if c.Attempt <= 0 {
		c.Attempt = c.Idle
	}
	if c.Batch <= 0 {
		c.Batch = 1024
	}
	return c
}

// clockStep is how far packet time may fall back before it is taken for a new timeline (a capture appended to another,
// or one mad timestamp before) instead of packets out of order.
const clockStep = int64(time.Hour)

// The lists of open flows, each ordered by last packet. That of attempts is empty where these may be quiet as long as others.
const (
	listOpen = iota
	listAttempt
	listEnded
	lists
)

// Table holds the open flows. It is not safe for concurrent use.
type Table struct {
	cfg      Config
	index    index
	pool     pool
	lists    [lists]list
	limits   [lists]int64      // how long flows in them may be quiet
	clock    int64             // the latest packet time
	wake     int64             // until then no flow is quiet for too long, unless time was turned back
	look     int64             // when open flows are looked at again
	told     map[uint64]uint64 // what open flows had carried when they were told of
	turned   bool              // it was: flows may have been touched later than those behind them in their list
	nextID   uint64
	out      batch
	counts   Counts
	foreseen uint32 // what foresee read, so that it does
	latest   uint32 // the flow of the last packet that was added
	bytes    int    // that open flows may take
	lone     struct {
		course course
		more   more
	} // of a flow of one packet, while it is looked at
}

// Counts says how many flows were closed, and why.
type Counts struct {
	Flows    uint64
	ByReason [sdk.EndCapture + 1]uint64
}

// Evicted is how many flows were closed early to stay within the memory cap.
func (c Counts) Evicted() uint64 { return c.ByReason[sdk.EndEvicted] }

// New returns an empty table. The slice given to emit, and the Packets in it, are only valid during the call.
func New(cfg Config, emit func([]sdk.Flow) error) *Table {
	cfg = cfg.withDefaults()
	t := &Table{cfg: cfg, index: newIndex(), out: newBatch(cfg, emit), pool: pool{features: cfg.Features}, bytes: openBytes, wake: math.MaxInt64}
	t.limits = [lists]int64{listOpen: int64(cfg.Idle), listAttempt: int64(cfg.Attempt), listEnded: int64(cfg.Linger)}
	if t.tellsOpen() {
		t.wake = 0
	}
	if cfg.MaxFlows > 0 {
		t.bytes = math.MaxInt
	} else {
		t.cfg.MaxFlows = math.MaxInt
	}
	return t
}

// Counts returns the counts so far.
func (t *Table) Counts() Counts { return t.counts }

// Open returns how many flows are open.
func (t *Table) Open() int { return t.index.count }

// Add counts a packet whose outcome is decode.Flow, or a fragment whose flow is known. The error is the one that emit
// returned.
func (t *Table) Add(number uint64, at int64, p *decode.Packet) error {
	t.advance(at)
	var k key
	fromA := k.of(p)
	hash := t.index.hash(&k)
	i := t.index.find(&t.pool, &k, hash)
	fresh := i == 0 || t.superseded(t.pool.at(i), at, p, fromA)
	if fresh {
		i = t.open(&k, hash, at, p, fromA)
	}
	e := t.pool.at(i)
	if fresh {
		e.begin(number, p, fromA)
		if t.cfg.Features {
			e.glimpse.content = contentOf(p.Body)
		}
	} else {
		t.count(e, number, at, p, fromA)
	}
	t.touch(i, e)
	t.latest = i
	if t.cfg.Apps != nil && !e.app.Over() && !p.Part.Is {
		e.show(t.cfg.Apps, number, at, p, fromA)
	}
	return t.out.err
}

// Latest names the flow that the last packet was added to, and the direction of the packet p in it.
func (t *Table) Latest(p *decode.Packet) (id uint64, d app.Dir) {
	var k key
	fromA := k.of(p)
	e := t.pool.at(t.latest)
	return e.id, app.Dir(e.direction(fromA))
}

// LatestPackets is how many packets the flow has that Latest names.
func (t *Table) LatestPackets() uint64 {
	e := t.pool.at(t.latest)
	if e.course == 0 {
		return 1
	}
	c := t.pool.courses.at(e.course)
	return c.side[fwd].packets + c.side[rev].packets
}

// Show gives a datagram, whose fragments were added one by one, to the engine that knows protocols. It counts nothing.
func (t *Table) Show(number uint64, at int64, p *decode.Packet) {
	if t.cfg.Apps == nil {
		return
	}
	var k key
	fromA := k.of(p)
	if i := t.index.find(&t.pool, &k, t.index.hash(&k)); i != 0 && !t.pool.at(i).app.Over() {
		t.pool.at(i).show(t.cfg.Apps, number, at, p, fromA)
	}
}

// superseded closes a flow that the packet no longer belongs to.
func (t *Table) superseded(e *entry, at int64, p *decode.Packet, fromA bool) bool {
	if at-e.first > int64(t.cfg.Active) {
		t.finish(e, sdk.EndActive)
		return true
	}
	if mayReopen(p) && t.state(e).reopenedBy(p, fromA) {
		t.finish(e, e.reasonOr(sdk.EndIdle))
		return true
	}
	return false
}

// open starts a flow, making room first.
func (t *Table) open(k *key, hash uint32, at int64, p *decode.Packet, fromA bool) uint32 {
	for t.index.count >= t.cfg.MaxFlows || t.pool.bytes() > t.bytes {
		t.evict(0)
	}
	i := t.pool.entries.get()
	t.nextID++
	e := t.pool.at(i)
	*e = entry{} // and then field by field: a value built beside it would be copied
	e.key, e.hash, e.id, e.index = *k, hash, t.nextID, i
	e.first, e.last = at, at
	e.tunnel, e.tunnelID = p.Carrier, p.TunnelID
	e.initiatorIsA, e.guessed = initiator(p, fromA)
	t.index.insert(hash, i)
	t.push(i, listOpen)
	return i
}

// count adds a packet to a flow that has some. The second one takes memory, for which room is made.
func (t *Table) count(e *entry, number uint64, at int64, p *decode.Packet, fromA bool) {
	if e.course == 0 {
		for t.pool.bytes() > t.bytes && t.index.count > 1 {
			t.evict(e.index)
		}
		t.pool.extend(e)
	}
	gap := t.state(e).add(number, at, p, fromA)
	if t.cfg.Features {
		t.pool.mores.at(e.course).add(e, at, gap, p, fromA)
	}
}

// state is all there is of a flow. That of a flow of one packet is only valid until the next one.
func (t *Table) state(e *entry) state {
	if e.course != 0 {
		return state{e, t.pool.courses.at(e.course)}
	}
	e.firstPacket(&t.pool.first)
	t.lone.course.begin(e, &t.pool.first)
	return state{e, &t.lone.course}
}

// touch moves a flow to the quiet end of its list, which is the other list once it has ended.
func (t *Table) touch(i uint32, e *entry) {
	e.touched = t.clock
	want := uint8(listOpen)
	switch {
	case e.reason != sdk.EndNone:
		want = listEnded
	case t.cfg.Attempt < t.cfg.Idle && t.state(e).attempt():
		want = listAttempt
	}
	if e.list == want && t.lists[want].tail == i {
		return
	}
	t.lists[e.list].remove(&t.pool, i)
	t.push(i, want)
}

// push puts a flow that was touched now at the quiet end of a list.
func (t *Table) push(i uint32, which uint8) {
	if t.lists[which].head == 0 {
		t.wake = min(t.wake, t.clock+t.limits[which])
	}
	t.pool.at(i).list = which
	t.lists[which].push(&t.pool, i)
}

// advance moves packet time on and closes what has been quiet for too long.
func (t *Table) advance(at int64) {
	if at > t.clock {
		t.clock = at
	} else if t.clock-at > clockStep {
		t.clock, t.turned = at, true
	}
	if t.clock > t.wake || t.turned {
		t.expire()
	}
}

// expire closes what has been quiet for too long and notes when to look again. Flows are in the order in which they were
// touched, so the first one of each list tells.
func (t *Table) expire() {
	t.wake = math.MaxInt64
	if t.tellsOpen() {
		t.lookAtOpen()
		t.wake = t.look
	}
	for which, limit := range t.limits {
		for i := t.lists[which].head; i != 0; i = t.lists[which].head {
			e := t.pool.at(i)
			// Touched in the far future: the timeline was left behind.
			if quiet := t.clock - e.touched; quiet <= limit && quiet >= -clockStep {
				t.wake = min(t.wake, e.touched+limit)
				break
			}
			t.foresee(e.next, t.pool.at(e.next).next)
			t.finish(e, e.reasonOr(sdk.EndIdle))
		}
	}
}

// foresee reads a little of what the flow soon has, which is about to end and was not looked at for long, and of the entry of
// the one after it: memory is slow, and has until then to come. Number 0 is none, and harmless.
func (t *Table) foresee(soon, later uint32) {
	e := t.pool.at(soon)
	sum := t.index.slots[e.hash&uint32(len(t.index.slots)-1)].hash
	if e.course != 0 {
		sum += lines(t.pool.courses.at(e.course))
		if t.cfg.Features {
			sum += lines(t.pool.mores.at(e.course))
		}
	}
	t.foreseen = sum + lines(t.pool.at(later))
}

// lines reads something of each line that a value has in the processor's cache.
func lines[T any](v *T) (sum uint32) {
	b := unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) //nolint:gosec // a value without pointers, as bytes
	for i := 0; i < len(b); i += 64 {
		sum += uint32(b[i])
	}
	return sum
}

// evict closes the flow that matters least, but not the one that is spared: one that has ended, else an attempt, else the one that
// was quiet for longest.
func (t *Table) evict(spared uint32) {
	for _, which := range [...]int{listEnded, listAttempt, listOpen} {
		i := t.lists[which].head
		if i != 0 && i == spared {
			i = t.pool.at(i).next
		}
		if i != 0 {
			e := t.pool.at(i)
			t.finish(e, e.reasonOr(sdk.EndEvicted))
			return
		}
	}
}

// finish emits a flow and forgets it.
func (t *Table) finish(e *entry, reason sdk.EndReason) {
	t.counts.Flows++
	if len(t.told) > 0 {
		delete(t.told, e.id)
	}
	t.counts.ByReason[reason]++
	app := ""
	if t.cfg.Apps != nil {
		app = t.cfg.Apps.End(&e.app, e.id)
	}
	whole := t.state(e)
	var m *more
	if t.cfg.Features {
		m = &t.lone.more
		if e.course != 0 {
			m = t.pool.mores.at(e.course)
		} else {
			m.begin(e, &t.pool.first)
		}
	}
	t.out.append(whole, m, reason, app)
	t.index.remove(e.hash, e.index)
	t.lists[e.list].remove(&t.pool, e.index)
	t.pool.put(e)
}

// Advance moves time on without a packet, as a live capture needs it: flows that were quiet for too long are closed. Time
// that has passed already changes nothing.
func (t *Table) Advance(at int64) error {
	if at > t.clock {
		t.advance(at)
	}
	return t.out.err
}

// Flush emits what was closed so far.
func (t *Table) Flush() error {
	t.out.flush()
	return t.out.err
}

// Close emits what is still open, by id, and the last batch.
func (t *Table) Close() error {
	open := t.pool.inUseByID(t.index.count)
	open = append(open, 0, 0) // so that there are always two more to look at
	for n, i := range open[:len(open)-2] {
		t.foresee(open[n+1], open[n+2])
		e := t.pool.at(i)
		t.finish(e, e.reasonOr(sdk.EndCapture))
	}
	t.out.flush()
	return t.out.err
}
