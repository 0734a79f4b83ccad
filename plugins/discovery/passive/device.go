package passive

import (
	"cmp"
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
	facts      facts
	lists      facts // an entry each to add to a fact that lists several
}

// Bounds on what is kept of a device, for the wire is hostile.
const (
	maxFacts   = 48
	maxText    = 256
	maxEntries = 32 // of a list
)

// known is a fact as it was reported last.
type known struct {
	fact
	confidence float64
	since      time.Time
}

// device is what was reported of one.
type device struct {
	ip             netip.Addr // under which it is remembered, or else its hardware address
	card           string
	mac, hostname  string
	macSince, name time.Time
	facts          []known // a few, which one looks through sooner than a map
	reported       time.Time
	serves         []service // what was told by a service alone, and is known
	spoke          uint64    // the later, the larger
}

// service is one that a device was heard to serve.
type service struct {
	protocol string
	port
}

// devices are the ones that are remembered, by address or, without one, by hardware address.
type devices struct {
	byIP    map[netip.Addr]*device
	byCard  map[string]*device
	most    int
	refresh time.Duration
	clock   uint64 // how often a device spoke
	silent  silent
	told    []sdk.Sighting // room for what learn returns
}

func newDevices(most int, refresh time.Duration) devices {
	d := devices{most: most, refresh: refresh}
	d.forget()
	return d
}

// forget begins anew: the memory that a large capture took is not kept for a small one.
func (d *devices) forget() {
	d.byIP, d.byCard, d.silent = map[netip.Addr]*device{}, map[string]*device{}, silent{}
}

// find returns a device that is remembered, nil when it is not.
func (d *devices) find(ip netip.Addr, mac string) *device {
	if ip.IsValid() {
		return d.byIP[ip]
	}
	return d.byCard[mac]
}

// heard notes that a device spoke.
func (d *devices) heard(one *device) {
	d.clock++
	one.spoke = d.clock
}

func (d *devices) of(s *said) *device {
	one := d.find(s.ip, s.mac)
	if one == nil {
		if len(d.byIP)+len(d.byCard) >= d.most {
			d.drop(d.silent.longest(d))
		}
		if one = (&device{ip: s.ip}); s.ip.IsValid() {
			d.byIP[s.ip] = one
		} else {
			one.card = strings.Clone(s.mac)
			d.byCard[one.card] = one
		}
	}
	d.heard(one)
	return one
}

func (d *devices) drop(one *device) {
	if one.ip.IsValid() {
		delete(d.byIP, one.ip)
	} else {
		delete(d.byCard, one.card)
	}
}

// silent are the devices that were silent for longest, the longest first, as they were at a time: nobody is put in order for
// each message that comes, but some when there is no more room.
type silent struct {
	devices []*device
	at      uint64 // of devices.clock: who spoke since is none of them
}

// longest returns the device that was silent for longest, which the caller forgets. There is one.
func (s *silent) longest(d *devices) *device {
	for {
		for len(s.devices) > 0 {
			one := s.devices[0]
			if s.devices = s.devices[1:]; one.spoke <= s.at {
				return one
			}
		}
		s.gather(d)
	}
}

// gather finds a sixteenth of all devices.
func (s *silent) gather(d *devices) {
	all := slices.AppendSeq(make([]*device, 0, len(d.byIP)+len(d.byCard)), maps.Values(d.byIP))
	all = slices.AppendSeq(all, maps.Values(d.byCard))
	slices.SortFunc(all, func(a, b *device) int { return cmp.Compare(a.spoke, b.spoke) })
	s.devices, s.at = slices.Clone(all[:(len(all)+15)/16]), d.clock
}

// due reports whether a device that still speaks is to be reported again.
func (d *devices) due(one *device, now time.Time) bool {
	return one.reported.IsZero() || now.Sub(one.reported) >= d.refresh
}

// learn adds what was said and returns what is to be reported of it, if anything; it is valid until the next call. The maker of a
// card that is new is told apart: that it made the device is a guess.
func (d *devices) learn(s *said) []sdk.Sighting {
	one := d.of(s)
	before := one.mac
	d.told = d.told[:0]
	d.merge(one, s)
	if one.mac != before {
		guess := said{time: s.time, confidence: guessed}
		name := maker(one.mac)
		if value, news := one.learn("vendor", name, &guess, d.refresh); news {
			d.told = append(d.told, sdk.Sighting{
				Time: s.time, IP: s.ip, MAC: s.mac, Facts: map[string]string{"vendor": value}, Source: s.source, Packet: s.packet, Confidence: guessed,
			})
		}
	}
	return d.told
}

// merge adds what was said of one device, and what of it is to be told.
func (d *devices) merge(one *device, s *said) {
	news := d.due(one, s.time)
	if replaces(one.mac, s.mac, one.macSince, s.time, d.refresh) {
		one.mac, one.macSince, news = strings.Clone(s.mac), s.time, true
	}
	if replaces(one.hostname, s.hostname, one.name, s.time, d.refresh) {
		one.hostname, one.name, news = strings.Clone(s.hostname), s.time, true
	}
	var told map[string]string
	for _, f := range s.facts {
		if value, isNew := one.learn(f.name, f.value, s, d.refresh); isNew {
			told, news = with(told, f.name, value), true
		}
	}
	for _, f := range s.lists {
		if value, isNew := one.add(f.name, f.value, s); isNew {
			told, news = with(told, f.name, value), true
		}
	}
	if news {
		one.reported = s.time
		d.told = append(d.told, sdk.Sighting{
			Time: s.time, IP: s.ip, MAC: s.mac, Hostname: s.hostname, Facts: told, Source: s.source, Packet: s.packet, Confidence: s.confidence,
		})
	}
}

// replaces reports whether a value is to be told: it is new, or another one than was told within the last while. Two that
// alternate are told once each while, not each time.
func replaces(old, value string, since, now time.Time, refresh time.Duration) bool {
	return value != "" && value != old && (old == "" || now.Sub(since) >= refresh)
}

// find returns a fact that is known, nil when it is not.
func (one *device) find(name string) *known {
	for i := range one.facts {
		if one.facts[i].name == name {
			return &one.facts[i]
		}
	}
	return nil
}

// keep notes a fact, whose value may lie in memory that it shares with others. It returns the value to keep.
func (one *device) keep(old *known, name, value string, s *said) string {
	news := known{fact{name, strings.Clone(value)}, s.confidence, s.time}
	if old != nil {
		*old = news
	} else {
		one.facts = append(one.facts, news)
	}
	return news.value
}

// learn keeps a fact that is new, surer than what is known, or other than what was known for a while.
func (one *device) learn(name, value string, s *said, refresh time.Duration) (string, bool) {
	old := one.find(name)
	if old != nil && value == old.value {
		return "", false
	}
	value = text(value)
	switch {
	case value == "" || old != nil && value == old.value:
		return "", false
	case old == nil && len(one.facts) >= maxFacts, old != nil && s.confidence < old.confidence,
		old != nil && s.confidence == old.confidence && s.time.Sub(old.since) < refresh:
		return "", false
	}
	return one.keep(old, name, value, s), true
}

// add puts an entry into a list, which is kept in order.
func (one *device) add(name, entry string, s *said) (string, bool) {
	old := one.find(name)
	if old != nil && listed(old.value, entry) {
		return "", false
	}
	entry = text(entry)
	if entry == "" || old == nil && len(one.facts) >= maxFacts {
		return "", false
	}
	var list string
	if old != nil {
		list = old.value
	}
	entries := strings.Fields(list)
	at, has := slices.BinarySearch(entries, entry)
	if has || len(entries) >= maxEntries || len(list)+1+len(entry) > maxText {
		return "", false
	}
	return one.keep(old, name, strings.Join(slices.Insert(entries, at, entry), " "), s), true
}

// listed reports whether a list holds an entry.
func listed(list, entry string) bool {
	for one := range strings.SplitSeq(list, " ") {
		if one == entry {
			return true
		}
	}
	return false
}

func with(facts map[string]string, name, value string) map[string]string {
	if facts == nil {
		facts = map[string]string{}
	}
	facts[name] = value
	return facts
}

// text is a value in one line, cut to what is kept.
func text(s string) string {
	if isPlain(s) {
		return s
	}
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// isPlain reports whether a text is one line of ASCII already, as nearly all are.
func isPlain(s string) bool {
	if len(s) > maxText {
		return false
	}
	space := true // one at the beginning is one too many
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ' && space, c < ' ', c >= 0x7f:
			return false
		default:
			space = c == ' '
		}
	}
	return s == "" || !space
}

// hostname is a name without the domain of multicast DNS; what cannot be one is left out.
func hostname(s string) string {
	if s == "" {
		return ""
	}
	s = strings.TrimSuffix(strings.TrimSuffix(text(s), "."), ".local")
	const longest = 253
	if len(s) > longest || strings.Contains(s, "\ufffd") || strings.Contains(s, "*") || strings.EqualFold(s, "localhost") {
		return ""
	}
	return s
}

// isUnicast reports whether a text names one card: the lowest bit of the first byte marks groups, and all zeros nobody.
func isUnicast(mac string) bool {
	const form = "00:00:00:00:00:00"
	return len(mac) == len(form) && mac != form && strings.IndexByte("02468ace", mac[1]) >= 0
}
