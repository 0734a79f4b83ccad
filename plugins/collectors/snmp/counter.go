package snmp

import (
	"encoding/json"
	"maps"
	"math"
	"time"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/sdk"
)

// Counters of 32 bits begin anew after 4 GiB, which a fast port counts within seconds. Such a counter goes on here: how often it
// began anew is added, and lasts beyond a restart of the plugin. A counter that went back because the device was started again goes
// back here too, as the conventions want it.

const (
	turn      = 1 << 32
	sameClock = 30 * time.Second // by which a device's clock and ours may differ between two visits
	emptyFor  = 10 * time.Minute // after which a table that was not there is looked for again

	maxCounters = 50_000 // of a device, beyond which also a visit that was cut short forgets
)

// memory is what is known of a device from one visit to the next.
type memory struct {
	host sdk.State
	key  string

	at       time.Time
	uptime   uint32
	first    bool // there was no visit before
	Seen     map[string]*counter
	visit    int
	whole    int // the visit before that read all
	changed  bool
	emptyAt  map[string]time.Time // by name of the profile
	restored map[string]uint64
}

// counter is one of 32 bits.
type counter struct {
	last  uint64
	turns uint64
	visit int
}

// kept is what lasts beyond a restart of the plugin.
type kept struct {
	At     time.Time         `json:"at"`
	Uptime uint32            `json:"uptime"`
	Turns  map[string]uint64 `json:"turns"`
}

// remember returns what is known of a device.
func remember(host sdk.Host, address string) *memory {
	m := &memory{host: host.State(), key: "turns/" + address, first: true, Seen: map[string]*counter{}, emptyAt: map[string]time.Time{}}
	const longestKey = 128
	m.key = m.key[:min(len(m.key), longestKey)]
	data, err := m.host.Get(m.key)
	var k kept
	if err != nil || data == nil || json.Unmarshal(data, &k) != nil {
		return m
	}
	m.at, m.uptime, m.first, m.restored = k.At, k.Uptime, false, k.Turns
	return m
}

// begin starts a visit. A device that was started again has counted from 0.
func (m *memory) begin(now time.Time, uptime uint32) {
	if !m.first && m.startedAgain(now, uptime) {
		m.changed = m.changed || m.turned()
		clear(m.Seen)
		clear(m.emptyAt)
		m.restored = nil
	}
	m.at, m.uptime, m.first = now, uptime, false
	m.visit++
}

// startedAgain compares the clocks: that of the device begins anew after 497 days, too.
func (m *memory) startedAgain(now time.Time, uptime uint32) bool {
	if uptime >= m.uptime {
		return false
	}
	passed := now.Sub(m.at)
	ticks := time.Duration(uint64(uptime)+turn-uint64(m.uptime)) * 10 * time.Millisecond
	return time.Duration(math.Abs(float64(ticks-passed))) > sameClock
}

func (m *memory) turned() bool {
	for _, c := range m.Seen {
		if c.turns > 0 {
			return true
		}
	}
	return len(m.restored) > 0
}

// count is the value of a counter as it would be with 64 bits. reset says that this counter alone began from 0.
func (m *memory) count(name string, v snmp.Value, reset bool) (float64, bool) {
	n, ok := v.Uint()
	if !ok || v.Is64() {
		return float64(n), ok
	}
	return m.follow(name, n, reset), true
}

func (m *memory) follow(name string, n uint64, reset bool) float64 {
	c := m.Seen[name]
	if c == nil {
		c = &counter{last: n, turns: m.restored[name]}
		delete(m.restored, name)
		m.Seen[name] = c
	}
	switch {
	case reset:
		m.changed = m.changed || c.turns > 0
		c.turns = 0
	case n < c.last:
		c.turns++
		m.changed = true
	}
	c.last, c.visit = n, m.visit
	return float64(c.turns*turn + n)
}

// keep forgets the counters that are gone, and writes the others down where one began anew. That a visit that was cut short did not
// come to a counter says nothing about it.
func (m *memory) keep(whole bool) {
	if whole || len(m.Seen) > maxCounters {
		for name, c := range m.Seen {
			if c.visit < m.whole {
				delete(m.Seen, name)
			}
		}
		m.whole, m.restored = m.visit, nil
	}
	if !m.changed {
		return
	}
	m.changed = false
	k := kept{At: m.at, Uptime: m.uptime, Turns: map[string]uint64{}}
	maps.Copy(k.Turns, m.restored)
	for name, c := range m.Seen {
		if c.turns > 0 {
			k.Turns[name] = c.turns
		}
	}
	if data, err := json.Marshal(k); err == nil {
		_ = m.host.Put(m.key, data) // without it a restart of the plugin looks like one of the counter
	}
}

// tries reports whether a table is to be looked for: a device without it is not asked each time.
func (m *memory) tries(p *profile) bool {
	at, empty := m.emptyAt[p.name]
	return !empty || m.at.Sub(at) >= emptyFor
}

func (m *memory) empty(p *profile, is bool) {
	if is {
		m.emptyAt[p.name] = m.at
	} else {
		delete(m.emptyAt, p.name)
	}
}

// discontinued reports whether the counters of an interface began from 0 since the last visit, though the device did not.
func (m *memory) discontinued(index string, at uint64) bool {
	name := index + "/discontinuity"
	c := m.Seen[name]
	if c == nil {
		c = &counter{last: at}
		m.Seen[name] = c
	}
	reset := c.last != at
	c.last, c.visit = at, m.visit
	return reset
}
