package syslog

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// The metrics.
const (
	metricMessages    = "syslog.messages"
	metricBytes       = "syslog.io"
	metricDropped     = "syslog.dropped"
	metricConnections = "syslog.connections"
)

// Why something was dropped.
const (
	tooLong    = "too_long"
	unreadable = "unreadable" // not a syslog message
	broken     = "framing"    // a TCP stream that had to be given up
	refused    = "refused"    // a TCP connection beyond max_connections
)

// key is one series. Its fields stand for labels; the ones that its metric does not have are empty.
type key struct {
	Metric   string `json:"metric"`
	Facility string `json:"facility,omitempty"`
	Severity string `json:"severity,omitempty"`
	Host     string `json:"host,omitempty"`
	App      string `json:"app,omitempty"`
	Kind     string `json:"kind,omitempty"` // transport or reason
}

type names struct{ host, app string }

const otherName = "other"

// counts are the counters of one instance. Its size is bounded: facilities × severities × max_names.
type counts struct {
	mu       sync.Mutex
	value    map[key]uint64 // guarded by mu, as the rest
	changed  map[key]bool
	names    map[names]bool
	maxNames int
	open     int // TCP connections
}

func newCounts(maxNames int) *counts {
	return &counts{value: map[key]uint64{}, changed: map[key]bool{}, names: map[names]bool{}, maxNames: maxNames}
}

func (c *counts) add(k key, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addLocked(k, n)
}

func (c *counts) addLocked(k key, n uint64) {
	c.value[k] += n
	c.changed[k] = true
}

// message counts one, under the names that the operator asked for.
func (c *counts) message(m message, transport string, size int, byHost, byApp bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var n names
	if byHost {
		n.host = cmp.Or(m.host, otherName)
	}
	if byApp {
		n.app = cmp.Or(m.app, otherName)
	}
	if !c.names[n] && n != (names{}) {
		if len(c.names) < c.maxNames {
			c.names[n] = true
		} else {
			n = names{host: ifSet(byHost), app: ifSet(byApp)}
		}
	}
	c.addLocked(key{Metric: metricMessages, Facility: facilities[m.facility], Severity: severities[m.severity], Host: n.host, App: n.app}, 1)
	c.addLocked(key{Metric: metricBytes, Kind: transport}, uint64(size))
}

func ifSet(on bool) string {
	if on {
		return otherName
	}
	return ""
}

func (c *counts) dropped(reason string) { c.add(key{Metric: metricDropped, Kind: reason}, 1) }

// connect takes a place for a connection if there is one.
func (c *counts) connect(limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= limit {
		c.addLocked(key{Metric: metricDropped, Kind: refused}, 1)
		return false
	}
	c.open++
	return true
}

func (c *counts) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
}

// samples returns all counters, or those that changed since the last call.
func (c *counts) samples(now time.Time, all bool) []sdk.Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := maps.Keys(c.value)
	if !all {
		keys = maps.Keys(c.changed)
	}
	var out []sdk.Sample
	for _, k := range slices.SortedFunc(keys, compareKeys) {
		out = append(out, k.sample(now, c.value[k]))
	}
	clear(c.changed)
	return append(out, sdk.Sample{Metric: metricConnections, Unit: "{connection}", Type: sdk.Gauge, Time: now, Value: float64(c.open)})
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Facility, b.Facility), cmp.Compare(a.Severity, b.Severity),
		cmp.Compare(a.Host, b.Host), cmp.Compare(a.App, b.App), cmp.Compare(a.Kind, b.Kind))
}

func (k key) sample(now time.Time, n uint64) sdk.Sample {
	s := sdk.Sample{Metric: k.Metric, Unit: "{message}", Type: sdk.Counter, Labels: map[string]string{}, Time: now, Value: float64(n)}
	switch k.Metric {
	case metricBytes:
		s.Unit = "By"
		s.Labels["network.transport"] = k.Kind
	case metricDropped:
		s.Labels["syslog.drop.reason"] = k.Kind
	}
	for name, value := range map[string]string{"syslog.facility": k.Facility, "syslog.severity": k.Severity, "syslog.host": k.Host, "syslog.app": k.App} {
		if value != "" {
			s.Labels[name] = value
		}
	}
	return s
}
