package ingest

import (
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"time"
)

// Deltas adds up what senders report as growth since their last report. The sums live in memory: after a restart they begin
// at nothing, which PromQL takes for what it is, a counter that was reset.
type Deltas struct {
	mu    sync.Mutex // guards what follows
	sums  map[sumKey]*sum
	all   int            // what all sums weigh
	count map[string]int // and those of one tenant
	swept time.Time      // when those that nobody adds to were last looked for
}

// sumKey names a sum. Of the names and labels it holds a digest: senders choose how long those are.
type sumKey struct {
	tenant string
	series [sha256.Size]byte
}

type sum struct {
	turn   *Turn // that adds to it now
	last   int64 // until when it was told, in nanoseconds
	used   time.Time
	parts  []float64
	bounds []float64 // of a histogram; others mean another histogram
}

// weight of a sum: one, and one more for so many numbers that it holds.
func (s *sum) weight() int { return 1 + (len(s.parts)+len(s.bounds))/numbersInOne }

// Bounds of the sums, by their weight: all of them, and those of one tenant.
const (
	maxSums       = 100_000
	maxTenantSums = 50_000
	numbersInOne  = 32
	sumAge        = time.Hour        // after which one may be forgotten for another
	sweepEvery    = time.Minute      // when there is no room: looking for some takes as long as there are sums
	sumFuture     = 10 * time.Minute // how far ahead growth may be, as the store takes it
)

// Errors of Turn.Add.
var (
	// ErrTurn says that another request that adds to the same sum is not stored yet.
	ErrTurn = errors.New("another request with growth of the same series is being stored; try again in a moment")
	// ErrRepeated says that this was added already.
	ErrRepeated = errors.New("growth of a time that was told already")
	// ErrFuture says that growth is of a time that is yet to come.
	ErrFuture = errors.New("growth of a time that is yet to come; is the sender's clock right?")
	// ErrSums says that no more sums are held.
	ErrSums = errors.New("there are as many series that are told by their growth as this server adds up; send them as totals")
)

// NewDeltas returns sums that begin at nothing.
func NewDeltas() *Deltas { return &Deltas{sums: map[sumKey]*sum{}, count: map[string]int{}} }

// Turn is what one request adds. Until it is done, no other one adds to the same sums: what is not stored is taken back.
type Turn struct {
	of     *Deltas
	tenant string
	sender string
	now    time.Time
	before map[sumKey]*sum // as the sums were; nil for one that is new
}

// Begin begins a request's turn. It ends with Done.
func (d *Deltas) Begin(tenant, sender string, now time.Time) *Turn {
	return &Turn{of: d, tenant: tenant, sender: sender, now: now}
}

// Add adds growth to the sums of a series and returns what they are now. until is when it was measured, in nanoseconds: what is
// not later than what is known was added already, so that a time that is yet to come would shut out all that is told until then. A
// zero is now, and always later.
func (t *Turn) Add(series string, until int64, bounds, growth []float64) ([]float64, error) {
	if until > t.now.Add(sumFuture).UnixNano() {
		return nil, ErrFuture
	}
	key := sumKey{t.tenant, sha256.Sum256([]byte(t.sender + "\x00" + series))}
	d := t.of
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sums[key]
	switch {
	case s != nil && s.turn != nil && s.turn != t:
		return nil, ErrTurn
	case s != nil && until != 0 && until <= s.last:
		return nil, ErrRepeated
	}
	next := &sum{turn: t, used: t.now, last: until, parts: slices.Clone(growth)}
	if s != nil {
		next.last, next.bounds = max(s.last, until), s.bounds
	}
	if s != nil && len(s.parts) == len(growth) && slices.Equal(s.bounds, bounds) {
		for i, known := range s.parts {
			next.parts[i] += known
		}
	} else {
		next.bounds = slices.Clone(bounds)
	}
	more := next.weight()
	if s != nil {
		more -= s.weight()
	}
	if more > 0 && !d.room(t.tenant, more, t.now) {
		return nil, ErrSums
	}
	if s == nil || s.turn == nil {
		t.keep(key, s)
	}
	d.put(key, next)
	return slices.Clone(next.parts), nil
}

func (t *Turn) keep(key sumKey, before *sum) {
	if t.before == nil {
		t.before = map[sumKey]*sum{}
	}
	t.before[key] = before
}

// Done ends the turn. What was not stored is as if it had never been told.
func (t *Turn) Done(stored bool) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	for key, before := range t.before {
		if stored {
			t.of.sums[key].turn = nil
		} else {
			t.of.put(key, before)
		}
	}
	t.before = nil
}

// put holds a sum in the place of the one before; nil forgets it.
func (d *Deltas) put(key sumKey, s *sum) {
	change := 0
	if before := d.sums[key]; before != nil {
		change -= before.weight()
	}
	if s == nil {
		delete(d.sums, key)
	} else {
		d.sums[key] = s
		change += s.weight()
	}
	d.all += change
	if d.count[key.tenant] += change; d.count[key.tenant] == 0 {
		delete(d.count, key.tenant)
	}
}

// room reports whether more may be held, and forgets those that nobody adds to any more when there is none.
func (d *Deltas) room(tenant string, more int, now time.Time) bool {
	fits := func() bool { return d.all+more <= maxSums && d.count[tenant]+more <= maxTenantSums }
	if fits() {
		return true
	}
	if since := now.Sub(d.swept); since >= 0 && since < sweepEvery {
		return false
	}
	d.swept = now
	for key, s := range d.sums {
		if s.turn == nil && now.Sub(s.used) > sumAge {
			d.put(key, nil)
		}
	}
	return fits()
}
