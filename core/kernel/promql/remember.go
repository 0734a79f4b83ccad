package promql

import (
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/picketwatch/picket/core/kernel/store"
)

// maxRemembered is how many series all remembered selectors may have. One takes seriesBytes, and so many of a selector's text count
// as one.
const (
	maxRemembered = 65_536
	seriesBytes   = 300
)

// memory holds what selectors found: a dashboard asks the same every few seconds, and putting the labels of ten thousand series
// together takes longer than looking at their newest values.
type memory struct {
	mu    sync.Mutex // guards what follows
	held  map[string]*remembered
	size  int // of all
	clock int // of uses
}

// remembered is what a selector found. It holds as long as names, agents and the number of series are the same, since no series ever
// goes. Nobody changes it, but for its use.
type remembered struct {
	// Weak, so that what is out of date does not live as long as a selector that nobody asks for any more.
	names  weak.Pointer[nameTable]
	agents weak.Pointer[phoneBook]
	series int

	list []found
	size int // series in it
	used int
}

// selectorKey is one text for each selector of each tenant.
func selectorKey(tenant string, matchers []*labels.Matcher) string {
	parts := make([]string, 0, len(matchers)+1)
	parts = append(parts, tenant)
	for _, m := range matchers {
		parts = append(parts, m.String())
	}
	return strings.Join(parts, "\x00")
}

// recall returns what was found when it would be found again, with the newest values of now.
func (m *memory) recall(key string, is remembered, samples Samples) ([]found, bool) {
	m.mu.Lock()
	r := m.held[key]
	if r == nil || r.names != is.names || r.agents != is.agents || r.series != is.series {
		m.mu.Unlock()
		return nil, false
	}
	m.clock++
	r.used = m.clock
	m.mu.Unlock()
	list := slices.Clone(r.list)
	all := make([]store.KnownSeries, 0, r.size)
	for i := range list {
		at := len(all)
		all = append(all, list[i].from...)
		list[i].from = all[at:len(all):len(all)]
	}
	samples.Refresh(all)
	return list, true
}

// keep remembers what was found, which nobody may change any more, and forgets what was used longest ago.
func (m *memory) keep(key string, r remembered) {
	r.size = 1 + len(key)/seriesBytes // one that found nothing takes room, too
	for _, f := range r.list {
		r.size += len(f.from)
	}
	if r.size > maxRemembered {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == nil {
		m.held = map[string]*remembered{}
	}
	m.forget(key)
	for m.size+r.size > maxRemembered {
		oldest := ""
		for k, x := range m.held {
			if oldest == "" || x.used < m.held[oldest].used {
				oldest = k
			}
		}
		m.forget(oldest)
	}
	m.clock++
	r.used = m.clock
	m.held[key] = &r
	m.size += r.size
}

func (m *memory) forget(key string) {
	if r := m.held[key]; r != nil {
		m.size -= r.size
		delete(m.held, key)
	}
}
