package idsrules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// limit is a threshold or a detection_filter: which matches become alerts.
type limit struct {
	kind       limitKind
	track      tracked
	count      int
	seconds    int
	multiplier int // of backoff
}

type limitKind uint8

const (
	limitAlerts   limitKind = iota // the first count in each period
	thresholdKind                  // each count-th
	bothKinds                      // the count-th, once in each period
	backoff                        // the count-th, then the next after multiplier times as many
	filterKind                     // those after count within the period
)

type tracked uint8

const (
	bySource tracked = iota
	byDestination
	byBoth
	byRule
	byFlow
)

func readLimit(to **limit, value string, filter bool) error {
	if *to != nil {
		return errors.New("twice")
	}
	l := &limit{}
	kinds := map[string]limitKind{"limit": limitAlerts, "threshold": thresholdKind, "both": bothKinds, "backoff": backoff}
	tracks := map[string]tracked{"by_src": bySource, "by_dst": byDestination, "by_both": byBoth, "by_rule": byRule, "by_flow": byFlow}
	seen := map[string]bool{}
	for _, part := range parts(value) {
		name, text, _ := strings.Cut(part, " ")
		text = strings.TrimSpace(text)
		if seen[name] {
			return fmt.Errorf("%s twice", name)
		}
		seen[name] = true
		known := true
		var err error
		switch {
		case name == "type" && !filter:
			l.kind, known = kinds[text]
		case name == "track":
			l.track, known = tracks[text]
		case name == "count":
			l.count, err = strconv.Atoi(text)
		case name == "seconds":
			l.seconds, err = strconv.Atoi(text)
		case name == "multiplier" && !filter:
			l.multiplier, err = strconv.Atoi(text)
		default:
			known = false
		}
		if !known || err != nil {
			return fmt.Errorf("%q is not supported", part)
		}
	}
	if filter {
		l.kind = filterKind
	} else if !seen["type"] {
		return errors.New("no type")
	}
	switch {
	case !seen["track"] || l.count < 1 || l.count > 1<<24:
		return errors.New("no track or no count")
	case l.kind == backoff && (l.multiplier < 2 || l.multiplier > 1<<16 || l.track != byFlow || seen["seconds"]),
		l.kind != backoff && (l.seconds < 1 || l.seconds > 1<<28 || seen["multiplier"]):
		return errors.New("no seconds, or what does not go together")
	}
	*to = l
	return nil
}

// limitKey names what a limit counts.
type limitKey struct {
	rule   int
	filter bool
	a, b   addr
	ports  uint32
}

type limitState struct {
	since int64
	count int
	next  int // of backoff: the match that becomes an alert
}

// limits are the counts. The oldest half is forgotten when there are too many.
type limits struct {
	now, before map[limitKey]limitState
	most        int
	forgotten   uint64
}

func newLimits(most int) limits {
	return limits{now: map[limitKey]limitState{}, before: map[limitKey]limitState{}, most: most}
}

// pass counts a match and reports whether it becomes an alert.
func (c *limits) pass(r *rule, l *limit, v *view) bool {
	k := limitKey{rule: r.index, filter: l.kind == filterKind}
	switch l.track {
	case bySource:
		k.a = v.src.addr
	case byDestination:
		k.a = v.dst.addr
	case byBoth:
		k.a, k.b = v.src.addr, v.dst.addr
	case byFlow:
		k.a, k.b, k.ports = v.src.addr, v.dst.addr, uint32(v.src.port)<<16|uint32(v.dst.port)
		if f := v.flow; f != nil {
			k.a, k.b, k.ports = f.client.addr, f.server.addr, uint32(f.client.port)<<16|uint32(f.server.port)
		}
	}
	s, known := c.now[k]
	if !known {
		s, known = c.before[k]
	}
	at := v.packet.time
	if !known || l.kind != backoff && at-s.since >= int64(l.seconds)*1e9 {
		s = limitState{since: at, next: l.count}
	}
	s.count++
	pass := false
	switch l.kind {
	case limitAlerts:
		pass = s.count <= l.count
	case thresholdKind:
		if pass = s.count == l.count; pass {
			s.count = 0
		}
	case bothKinds:
		pass = s.count == l.count
	case filterKind:
		pass = s.count > l.count
	case backoff:
		if pass = s.count == s.next; pass {
			s.next = min(s.next*l.multiplier, 1<<30)
		}
	}
	if len(c.now) >= c.most/2 {
		c.forgotten += uint64(len(c.before))
		c.now, c.before = map[limitKey]limitState{}, c.now
	}
	c.now[k] = s
	return pass
}
