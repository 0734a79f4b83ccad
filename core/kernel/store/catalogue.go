package store

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/picketwatch/picket/sdk"
)

const (
	// seriesBlock ids at a time go to one metric of one tenant, so that its series lie together and a file's zone maps
	// can skip the rest.
	seriesBlock      = 256
	catalogueVersion = 1
	catalogueDDL     = `CREATE TABLE $.meta (version INTEGER); INSERT INTO $.meta VALUES (1);
		CREATE TABLE $.series (id UINTEGER, tenant VARCHAR, agent VARCHAR, metric VARCHAR, unit VARCHAR, type VARCHAR,
		labels VARCHAR, created TIMESTAMP)`
	catalogueAlias = "catalogue"
)

// series is one line of measurements. All but last is fixed once it is known. There are hundreds of thousands of them, and few
// sets of labels, metrics and agents: what a series shares with others is held once.
type series struct {
	id uint32
	*origin
	*measure
	*labelSet

	last lastSample // guarded by catalogue.mu
}

// origin is where series come from.
type origin struct{ tenant, agent string }

// measure is what is measured.
type measure struct {
	metric, unit string
	kind         sdk.MetricType
}

// labelSet is a set of labels.
type labelSet struct {
	labels map[string]string // nobody changes it
	bytes  int64             // of all texts in it
}

// seriesKey tells series apart.
type seriesKey struct {
	origin  *origin
	measure *measure
	labels  *labelSet
}

// lastSample is the newest value of a series and the time since the one before.
type lastSample struct {
	us, gap int64
	value   float64
}

// metric is all series of one name in one tenant.
type metric struct {
	series     []*series // by id within a block; blocks in the order in which they were taken
	forms      []form    // in which its series come
	next, free uint32    // the next id, and how many are left in the block
}

// form is what the series of a metric may differ in, beside where they come from.
type form struct {
	unit string
	kind sdk.MetricType
}

// catalogue knows every series. It is held in memory; a series is written to its file before its first sample is.
type catalogue struct {
	path   string
	limits catalogueLimits
	engine *engine

	mu       sync.RWMutex // guards what follows
	origins  map[origin]*origin
	measures map[measure]*measure
	sets     map[string]*labelSet // by keyBuilder's text

	byKey   map[seriesKey]*series
	byName  map[string]*metric // key: tenant NUL metric
	byID    map[uint32]*series
	byAgent map[string]int   // how many series; key: tenant NUL agent
	ofOwner map[string]int64 // how many series; key: tenant
	text    int64            // bytes of all names, units and labels
	blocks  uint32
	forms   uint64 // how many there are of all metrics
	unsaved []*series
}

// catalogueLimits bound what is held in memory: a sender that puts a request's number into a label must neither fill
// it nor take the other senders' share. What is known already stays, whatever the limits are now.
type catalogueLimits struct {
	series   int   // of all agents
	perAgent int   // of one
	perPush  int   // of one sender that is none
	text     int64 // bytes of names, units and labels of all series

	room func(tenant string) int64 // of one tenant, 0 for any; nil: any
	full func(tenant string)       // a tenant had no room
}

func openCatalogue(ctx context.Context, dir string, limits catalogueLimits, e *engine) (*catalogue, error) {
	c := &catalogue{path: filepath.Join(dir, "catalogue"+segmentExt), limits: limits, engine: e, origins: map[origin]*origin{},
		measures: map[measure]*measure{}, sets: map[string]*labelSet{}, byKey: map[seriesKey]*series{},
		byName: map[string]*metric{}, byID: map[uint32]*series{}, byAgent: map[string]int{}, ofOwner: map[string]int64{}}
	if _, err := os.Stat(c.path); errors.Is(err, os.ErrNotExist) {
		if err := e.create(ctx, c.path, catalogueDDL); err != nil {
			return nil, err
		}
	}
	if err := e.attach(ctx, c.path, catalogueAlias); err != nil {
		return nil, err
	}
	return c, c.load(ctx)
}

func (c *catalogue) load(ctx context.Context) error {
	var version int
	if err := c.engine.db.QueryRowContext(ctx, "SELECT version FROM catalogue.main.meta").Scan(&version); err != nil {
		return fmt.Errorf("%s: no catalogue of ours: %w", c.path, err)
	}
	if version > catalogueVersion {
		return fmt.Errorf("%s: has version %d, this program knows up to %d; it was written by a newer picketd", c.path, version, catalogueVersion)
	}
	rows, err := c.engine.db.QueryContext(ctx, "SELECT id, tenant, agent, metric, unit, type, labels FROM catalogue.main.series ORDER BY id")
	if err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	defer rows.Close()
	var key keyBuilder
	for rows.Next() {
		var id uint32
		var from origin
		var of measure
		var text string
		if err := rows.Scan(&id, &from.tenant, &from.agent, &of.metric, &of.unit, &of.kind, &text); err != nil {
			return fmt.Errorf("%s: %w", c.path, err)
		}
		var labels map[string]string
		if err := json.Unmarshal([]byte(text), &labels); err != nil {
			return fmt.Errorf("%s: labels of series %d: %w", c.path, id, err)
		}
		s := &series{id: id, origin: once(c.origins, from), measure: once(c.measures, of), labelSet: c.set(key.build(labels), labels)}
		c.insert(s)
		m := c.byName[nameKey(s.tenant, s.metric)]
		m.next = s.id + 1
		m.free = seriesBlock - m.next%seriesBlock
		if m.next%seriesBlock == 0 {
			m.free = 0
		}
		c.blocks = max(c.blocks, s.id/seriesBlock+1)
	}
	return rows.Err()
}

func nameKey(tenant, metric string) string { return tenant + "\x00" + metric }

// once returns the one value that is held of v.
func once[T comparable](held map[T]*T, v T) *T {
	p := held[v]
	if p == nil {
		p = &v
		held[v] = p
	}
	return p
}

// set returns the one set of labels that has this key.
func (c *catalogue) set(key []byte, labels map[string]string) *labelSet {
	l := c.sets[string(key)]
	if l == nil {
		l = &labelSet{labels: make(map[string]string, len(labels))}
		for k, v := range labels {
			l.labels[strings.Clone(k)] = strings.Clone(v)
			l.bytes += int64(len(k) + len(v))
		}
		c.sets[string(key)] = l
	}
	return l
}

func (c *catalogue) insert(s *series) {
	c.byKey[seriesKey{s.origin, s.measure, s.labelSet}] = s
	c.byID[s.id] = s
	c.byAgent[nameKey(s.tenant, s.agent)]++
	c.ofOwner[s.tenant]++
	c.text += s.textBytes()
	name := nameKey(s.tenant, s.metric)
	m := c.byName[name]
	if m == nil {
		m = &metric{}
		c.byName[name] = m
	}
	m.series = append(m.series, s)
	if as := (form{s.unit, s.kind}); !slices.Contains(m.forms, as) {
		m.forms = append(m.forms, as)
		c.forms++
	}
}

// textBytes is what the texts of a series take.
func (s *series) textBytes() int64 { return int64(len(s.metric)+len(s.unit)) + s.bytes }

// finder finds the series of one sender. It is used while the catalogue is locked.
type finder struct {
	c    *catalogue
	from *origin // nil: nothing is known of it
	key  keyBuilder
}

// find returns the series of a sample, nil when it is new.
func (f *finder) find(x *sdk.Sample) *series {
	if f.from == nil {
		return nil
	}
	of, labels := f.c.measures[measure{x.Metric, x.Unit, x.Type}], f.c.sets[string(f.key.build(x.Labels))]
	if of == nil || labels == nil || len(labels.labels) != len(x.Labels) { // one with NUL in it has the key of another set
		return nil
	}
	return f.c.byKey[seriesKey{f.from, of, labels}]
}

// add returns the series of a sample, giving it an id when it is new; nil and the reason when there are too many.
func (c *catalogue) add(from origin, x *sdk.Sample) (*series, string) {
	var room int64
	if c.limits.room != nil {
		room = c.limits.room(from.tenant)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := finder{c: c, from: c.origins[from]}
	if known := f.find(x); known != nil {
		return known, ""
	}
	text := int64(len(x.Metric) + len(x.Unit))
	for k, v := range x.Labels {
		text += int64(len(k) + len(v))
	}
	name := nameKey(from.tenant, x.Metric)
	mine := c.limits.perAgent
	if IsPushed(from.agent) {
		mine = c.limits.perPush
	}
	switch {
	case room > 0 && c.ofOwner[from.tenant] >= room:
		c.limits.full(from.tenant)
		return nil, (&LimitError{Quota: QuotaSeries, Limit: room}).Error()
	case len(c.byKey) >= c.limits.series:
		return nil, fmt.Sprintf("there are %d series already, as many as this server keeps", len(c.byKey))
	case c.byAgent[nameKey(from.tenant, from.agent)] >= mine:
		return nil, fmt.Sprintf("this sender has %d series already, as many as one may have; does a label change with every sample?", mine)
	case c.text+text > c.limits.text:
		return nil, fmt.Sprintf("the names and labels of all series take %d bytes, and no more than %d are kept", c.text, c.limits.text)
	}
	m := c.byName[name]
	if m == nil {
		m = &metric{}
		c.byName[name] = m
	}
	if m.free == 0 {
		if c.blocks >= 1<<32/seriesBlock-1 {
			return nil, "every number of a series is taken"
		}
		m.next, m.free = c.blocks*seriesBlock, seriesBlock
		c.blocks++
	}
	of := measure{strings.Clone(x.Metric), strings.Clone(x.Unit), x.Type} // a batch's texts must not live as long as the catalogue
	s := &series{id: m.next, origin: once(c.origins, from), measure: once(c.measures, of), labelSet: c.set(f.key.build(x.Labels), x.Labels)}
	m.next, m.free = m.next+1, m.free-1
	c.insert(s)
	c.unsaved = append(c.unsaved, s)
	return s, ""
}

// save writes the series that are new to the file. After it their samples may be.
func (c *catalogue) save(ctx context.Context, now time.Time) error {
	c.mu.RLock()
	fresh := c.unsaved[:len(c.unsaved):len(c.unsaved)]
	c.mu.RUnlock()
	if len(fresh) == 0 {
		return nil
	}
	err := c.engine.inTransaction(ctx, func(conn driver.Conn) error {
		return appendRows(conn, catalogueAlias, "series", func(a *duckdb.Appender) error {
			for _, s := range fresh {
				labels := toJSON(s.labels)
				if err := a.AppendRow(s.id, s.tenant, s.agent, s.metric, s.unit, string(s.kind), labels, now.UTC()); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if invalidated(err) {
		err = errors.Join(err, c.engine.detach(ctx, catalogueAlias), c.engine.attach(ctx, c.path, catalogueAlias))
	}
	if err != nil {
		return explainDuck(c.path, err)
	}
	c.mu.Lock()
	c.unsaved = slices.Clone(c.unsaved[len(fresh):])
	c.mu.Unlock()
	return nil
}

// note remembers the newest values.
func (c *catalogue) note(rows []sampleRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rows {
		l := &r.series.last
		if r.us < l.us {
			continue
		}
		if l.us != 0 && r.us > l.us {
			l.gap = r.us - l.us
		}
		l.us, l.value = r.us, r.value
	}
}

// countOf is how many series a tenant has.
func (c *catalogue) countOf(tenant string) int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.ofOwner[tenant]
}

func (c *catalogue) count() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byKey)
}

// match returns the series of a metric that fit an agent and labels; empty ones fit all.
func (c *catalogue) match(tenant, name, agent string, labels map[string]string) []*series {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m := c.byName[nameKey(tenant, name)]
	if m == nil {
		return nil
	}
	var out []*series
	for _, s := range m.series {
		if (agent == "" || s.agent == agent) && hasLabels(s.labels, labels) {
			out = append(out, s)
		}
	}
	return out
}

func hasLabels(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// keyBuilder makes the key under which a set of labels is found, reusing its memory.
type keyBuilder struct {
	buf   []byte
	names []string
}

// build returns a key that is valid until the next call. Parts are set off by NUL, which no valid name contains.
func (k *keyBuilder) build(labels map[string]string) []byte {
	k.buf, k.names = k.buf[:0], k.names[:0]
	for name := range labels {
		k.names = append(k.names, name)
	}
	slices.Sort(k.names)
	for _, name := range k.names {
		k.buf = append(append(k.buf, name...), 0)
		k.buf = append(append(k.buf, labels[name]...), 0)
	}
	return k.buf
}
