package passive

import (
	"container/list"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// said is what one record says of one device.
type said struct {
	time       time.Time
	packet     uint64
	source     string // the protocol
	ip         netip.Addr
	mac        string
	hostname   string
	onLink     bool // the message cannot have come over a router
	confidence float64
	facts      map[string]string // those without a value are left out
	lists      map[string]string // an entry to add to a fact that lists several
}

// Bounds on what is kept of a device, for the wire is hostile.
const (
	maxFacts   = 48
	maxText    = 256
	maxEntries = 32 // of a list
)

// known is a fact as it was reported last.
type known struct {
	value      string
	confidence float64
	since      time.Time
}

// device is what was reported of one.
type device struct {
	key            string
	mac, hostname  string
	macSince, name time.Time
	facts          map[string]known
	reported       time.Time
	place          *list.Element // in devices.order
}

// devices are the ones that are remembered, by address or, without one, by hardware address.
type devices struct {
	byKey   map[string]*device
	order   *list.List // of *device, the one that spoke last in front
	most    int
	refresh time.Duration
}

func newDevices(most int, refresh time.Duration) devices {
	return devices{byKey: map[string]*device{}, order: list.New(), most: most, refresh: refresh}
}

func (d *devices) forget() {
	clear(d.byKey)
	d.order.Init()
}

func (d *devices) of(s *said) *device {
	key := s.mac
	if s.ip.IsValid() {
		key = s.ip.String()
	}
	if one := d.byKey[key]; one != nil {
		d.order.MoveToFront(one.place)
		return one
	}
	if len(d.byKey) >= d.most {
		oldest := d.order.Back()
		delete(d.byKey, oldest.Value.(*device).key)
		d.order.Remove(oldest)
	}
	one := &device{key: key, facts: map[string]known{}}
	one.place = d.order.PushFront(one)
	d.byKey[key] = one
	return one
}

// learn adds what was said and returns what is to be reported of it, if anything. The maker of a card that is new is told apart:
// that it made the device is a guess.
func (d *devices) learn(s *said) []sdk.Sighting {
	one := d.of(s)
	before := one.mac
	var out []sdk.Sighting
	if sighting, news := d.merge(one, s); news {
		out = append(out, sighting)
	}
	if one.mac != before {
		guess := said{time: s.time, confidence: guessed}
		if name := maker(one.mac); one.learn("vendor", name, &guess, d.refresh) {
			out = append(out, sdk.Sighting{
				Time: s.time, IP: s.ip, MAC: s.mac, Facts: map[string]string{"vendor": name}, Source: s.source, Packet: s.packet, Confidence: guessed,
			})
		}
	}
	return out
}

// merge adds what was said of one device.
func (d *devices) merge(one *device, s *said) (sdk.Sighting, bool) {
	due := one.reported.IsZero() || s.time.Sub(one.reported) >= d.refresh
	out := sdk.Sighting{Time: s.time, IP: s.ip, MAC: s.mac, Hostname: s.hostname, Source: s.source, Packet: s.packet, Confidence: s.confidence}
	news := due
	if replaces(one.mac, s.mac, one.macSince, s.time, d.refresh) {
		one.mac, one.macSince, news = s.mac, s.time, true
	}
	if replaces(one.hostname, s.hostname, one.name, s.time, d.refresh) {
		one.hostname, one.name, news = s.hostname, s.time, true
	}
	for name, value := range s.facts {
		if one.learn(name, text(value), s, d.refresh) {
			out.Facts, news = with(out.Facts, name, one.facts[name].value), true
		}
	}
	for name, entry := range s.lists {
		if one.add(name, text(entry), s) {
			out.Facts, news = with(out.Facts, name, one.facts[name].value), true
		}
	}
	if news {
		one.reported = s.time
	}
	return out, news
}

// replaces reports whether a value is to be told: it is new, or another one than was told within the last while. Two that
// alternate are told once each while, not each time.
func replaces(old, value string, since, now time.Time, refresh time.Duration) bool {
	return value != "" && value != old && (old == "" || now.Sub(since) >= refresh)
}

// learn keeps a fact that is new, surer than what is known, or other than what was known for a while.
func (one *device) learn(name, value string, s *said, refresh time.Duration) bool {
	old, found := one.facts[name]
	switch {
	case value == "" || value == old.value:
		return false
	case !found && len(one.facts) >= maxFacts, found && s.confidence < old.confidence,
		found && s.confidence == old.confidence && s.time.Sub(old.since) < refresh:
		return false
	}
	one.facts[name] = known{value, s.confidence, s.time}
	return true
}

// add puts an entry into a list, which is kept in order.
func (one *device) add(name, entry string, s *said) bool {
	old, found := one.facts[name]
	if entry == "" || !found && len(one.facts) >= maxFacts {
		return false
	}
	entries := strings.Fields(old.value)
	at, has := slices.BinarySearch(entries, entry)
	if has || len(entries) >= maxEntries || len(old.value)+1+len(entry) > maxText {
		return false
	}
	one.facts[name] = known{strings.Join(slices.Insert(entries, at, entry), " "), s.confidence, s.time}
	return true
}

func with(facts map[string]string, name, value string) map[string]string {
	if facts == nil {
		facts = map[string]string{}
	}
	facts[name] = value
	return facts
}

// more joins facts; those that are given later win.
func more(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

// text is a value in one line, cut to what is kept.
func text(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// hostname is a name without the domain of multicast DNS; what cannot be one is left out.
func hostname(s string) string {
	s = strings.TrimSuffix(strings.TrimSuffix(text(s), "."), ".local")
	const longest = 253
	if len(s) > longest || strings.ContainsAny(s, "\ufffd*") || strings.EqualFold(s, "localhost") {
		return ""
	}
	return s
}

// isUnicast reports whether a text names one card: the lowest bit of the first byte marks groups, and all zeros nobody.
func isUnicast(mac string) bool {
	const form = "00:00:00:00:00:00"
	return len(mac) == len(form) && mac != form && strings.IndexByte("02468ace", mac[1]) >= 0
}
