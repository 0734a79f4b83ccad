package ingest

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Deltas adds up what senders report as growth since their last report. The sums live in memory: after a restart they begin
// at nothing, which PromQL takes for what it is, a counter that was reset.
type Deltas struct {
	mu    sync.Mutex // guards what follows
	sums  map[string]*sum
	count map[string]int // sums by tenant
}

type sum struct {
	turn   *Turn // that adds to it now
	last   int64 // until when it was told, in nanoseconds
	used   time.Time
	parts  []float64
	bounds []float64 // of a histogram; others mean another histogram
}

// Bounds of the sums: all of them, and those of one tenant.
const (
	maxSums       = 100_000
	maxTenantSums = 50_000
	sumAge        = time.Hour // after which one may be forgotten for another
)

// Errors of Turn.Add.
var (
	// ErrTurn says that another request that adds to the same sum is not stored yet.
	ErrTurn = errors.New("another request with growth of the same series is being stored; try again in a moment")
	// ErrRepeated says that this was added already.
	ErrRepeated = errors.New("growth of a time that was told already")
	// ErrSums says that no more sums are held.
	ErrSums = errors.New("there are as many series that are told by their growth as this server adds up; send them as totals")
)

// NewDeltas returns sums that begin at nothing.
func NewDeltas() *Deltas { return &Deltas{sums: map[string]*sum{}, count: map[string]int{}} }

// Turn is what one request adds. Until it is done, no other one adds to the same sums: what is not stored is taken back.
type Turn struct {
	of     *Deltas
	tenant string
	sender string
	now    time.Time
	before map[string]*sum // as the sums were; nil for one that is new
}

// Begin begins a request's turn. It ends with Done.
func (d *Deltas) Begin(tenant, sender string, now time.Time) *Turn {
	return &Turn{of: d, tenant: tenant, sender: sender, now: now}
}

// Add adds growth to the sums of a series and returns what they are now. until is when it was measured, in nanoseconds: what is
// not later than what is known was added already. A zero is now, and always later.
func (t *Turn) Add(series string, until int64, bounds, growth []float64) ([]float64, error) {
	key := t.tenant + "\x00" + t.sender + "\x00" + series
	d := t.of
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sums[key]
	switch {
	case s == nil:
		if !d.room(t.tenant, t.now) {
			return nil, ErrSums
		}
		s = &sum{}
		d.sums[key] = s
		d.count[t.tenant]++
		t.keep(key, nil)
	case s.turn != nil && s.turn != t:
		return nil, ErrTurn
	case until != 0 && until <= s.last:
		return nil, ErrRepeated
	case s.turn == nil:
		before := *s
		before.parts = slices.Clone(s.parts)
		t.keep(key, &before)
	}
	if len(s.parts) != len(growth) || !slices.Equal(s.bounds, bounds) {
		s.parts, s.bounds = make([]float64, len(growth)), slices.Clone(bounds)
	}
	for i, g := range growth {
		s.parts[i] += g
	}
	s.turn, s.used, s.last = t, t.now, max(s.last, until)
	return slices.Clone(s.parts), nil
}

func (t *Turn) keep(key string, before *sum) {
	if t.before == nil {
		t.before = map[string]*sum{}
	}
	t.before[key] = before
}

// Done ends the turn. What was not stored is as if it had never been told.
func (t *Turn) Done(stored bool) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	for key, before := range t.before {
		switch {
		case stored:
			t.of.sums[key].turn = nil
		case before == nil:
			t.of.forget(t.tenant, key)
		default:
			t.of.sums[key] = before
		}
	}
	t.before = nil
}

func (d *Deltas) forget(tenant, key string) {
	delete(d.sums, key)
	if d.count[tenant]--; d.count[tenant] == 0 {
		delete(d.count, tenant)
	}
}

// room reports whether one more may be held, and forgets those that nobody adds to any more when there is none.
func (d *Deltas) room(tenant string, now time.Time) bool {
	if len(d.sums) < maxSums && d.count[tenant] < maxTenantSums {
		return true
	}
	for key, s := range d.sums {
		if s.turn == nil && now.Sub(s.used) > sumAge {
			d.forget(tenantOf(key), key)
		}
	}
	return len(d.sums) < maxSums && d.count[tenant] < maxTenantSums
}

func tenantOf(key string) string {
	for i := range len(key) {
		if key[i] == 0 {
			return key[:i]
		}
	}
	return key
}
