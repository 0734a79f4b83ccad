// Package inventory merges sightings into devices. In goes what a plugin saw of a device; out comes the record of the
// one device that it belongs to, with where each fact came from, how sure its source was, and when.
//
// A hardware address says which device it is. An IP address says so only while nothing contradicts it, because
// addresses are lent. A host name says so only when there is nothing better.
package inventory

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// Device is one thing on the network. One without an id is new.
type Device = store.Device

// Fact is one thing that is known of a device.
type Fact = store.Fact

// Bounds on what one device may gather: a hostile network can invent names without end.
const (
	maxAddresses = 64
	maxNames     = 16
	maxFacts     = 64
	maxText      = 256
)

// factLife is after what time a more confident but older fact gives way to a newer one.
const factLife = 24 * time.Hour

// Merge returns the device that a sighting belongs to, given the devices that share an address or a name with it, and
// the ids of devices that turned out to be the same one.
func Merge(plugin string, s sdk.Sighting, matches []Device) (Device, []string) {
	s = normalise(s)
	same := identify(plugin, s, matches)
	if why := whySame(s, same); why != "" {
		s.Facts = maps.Clone(s.Facts)
		if s.Facts == nil {
			s.Facts = map[string]string{}
		}
		s.Facts[SameFact] = why
	}
	var d Device
	var gone []string
	if len(same) > 0 {
		d = same[0]
		for _, other := range same[1:] {
			d = absorb(d, other)
			gone = append(gone, other.ID)
		}
	}
	return apply(d, plugin, s), gone
}

// AgentSource is the source of what the server itself knows of a machine with an agent; AgentFact names that agent.
// Together they say which device it is, whichever of its interfaces was seen. No plugin may use the source.
const (
	AgentSource = "picket/agent"
	AgentFact   = "agent"
)

// identify returns the matches that are the sighted device, the oldest first, so that a device keeps its id.
func identify(plugin string, s sdk.Sighting, matches []Device) []Device {
	var out []Device
	ip := ""
	if s.IP.IsValid() {
		ip = s.IP.String()
	}
	for _, d := range matches {
		known := d.Facts[AgentFact]
		switch {
		case plugin == AgentSource && known.Source == AgentSource && known.Value == s.Facts[AgentFact]:
			out = append(out, d)
		case s.MAC != "":
			// With a hardware address in hand, an IP counts only on a record that has none yet.
			if slices.Contains(d.MACs, s.MAC) || len(d.MACs) == 0 && (ip != "" && slices.Contains(d.IPs, ip) || slices.Contains(d.IPs, linkLocal(s.MAC))) {
				out = append(out, d)
			}
		case ip != "":
			if slices.Contains(d.IPs, ip) {
				out = append(out, d)
			}
		case s.Hostname != "":
			if slices.Contains(d.Hostnames, s.Hostname) {
				out = append(out, d)
			}
		}
	}
	if s.MAC == "" && plugin != AgentSource {
		// An address that several devices had belongs to the one seen with it last; a weak hint merges nothing.
		slices.SortStableFunc(out, func(a, b Device) int { return b.LastSeen.Compare(a.LastSeen) })
		out = withKin(out[:min(len(out), 1)], s, matches)
	}
	slices.SortStableFunc(out, func(a, b Device) int { return a.FirstSeen.Compare(b.FirstSeen) })
	return out
}

func apply(d Device, plugin string, s sdk.Sighting) Device {
	if s.IP.IsValid() {
		d.IPs = add(d.IPs, s.IP.String(), maxAddresses)
	}
	d.MACs = add(d.MACs, s.MAC, maxAddresses)
	d.Hostnames = add(d.Hostnames, s.Hostname, maxNames)
	d.Sources = add(d.Sources, plugin, maxNames)
	if d.FirstSeen.IsZero() || s.Time.Before(d.FirstSeen) {
		d.FirstSeen = s.Time
	}
	if s.Time.After(d.LastSeen) {
		d.LastSeen = s.Time
	}
	if len(s.Facts) > 0 || d.Facts == nil {
		d.Facts = cloneFacts(d.Facts)
	}
	for name, value := range s.Facts {
		learn(d.Facts, name, Fact{
			Value: value, Source: plugin, Confidence: s.Confidence, Time: s.Time,
			Protocol: clip(s.Source), Capture: clip(s.Capture), Packet: s.Packet,
		})
	}
	d.Vendor = cmp.Or(d.Facts["vendor"].Value, d.Vendor)
	return d
}

func cloneFacts(facts map[string]Fact) map[string]Fact {
	if facts == nil {
		return map[string]Fact{}
	}
	return maps.Clone(facts)
}

// learn keeps the better of two facts: a source corrects itself, a surer source wins, and age wears sureness down.
func learn(facts map[string]Fact, name string, f Fact) {
	name = clip(name)
	f.Value = clip(f.Value)
	old, known := facts[name]
	if !known && len(facts) >= maxFacts {
		return
	}
	if !known {
		facts[name] = f
		return
	}
	stale := f.Time.Sub(old.Time) > factLife
	wins := old.Source == f.Source && !f.Time.Before(old.Time) || f.Confidence >= old.Confidence && !f.Time.Before(old.Time) || stale
	kept, left := old, f
	if wins {
		kept, left = f, old
		kept.Other = old.Other
	}
	kept.Other = disagreeing(kept, left)
	facts[name] = kept
}

// disagreeing is what another source says than the one that is believed: what was left last, unless it was the same; what is too old
// counts no more.
func disagreeing(kept, left Fact) store.OtherFact {
	other := kept.Other
	switch {
	case left.Source == kept.Source:
	case left.Value != kept.Value:
		other = store.OtherFact{Value: left.Value, Source: left.Source, Protocol: left.Protocol, Confidence: left.Confidence, Time: left.Time}
	case left.Source == other.Source:
		other = store.OtherFact{} // it came round
	}
	if other.Value == kept.Value || other.Source == kept.Source || kept.Time.Sub(other.Time) > factLife {
		return store.OtherFact{}
	}
	return other
}

// absorb adds what is known of b to a.
func absorb(a, b Device) Device {
	for _, v := range b.IPs {
		a.IPs = add(a.IPs, v, maxAddresses)
	}
	for _, v := range b.MACs {
		a.MACs = add(a.MACs, v, maxAddresses)
	}
	for _, v := range b.Hostnames {
		a.Hostnames = add(a.Hostnames, v, maxNames)
	}
	for _, v := range b.Sources {
		a.Sources = add(a.Sources, v, maxNames)
	}
	if b.FirstSeen.Before(a.FirstSeen) {
		a.FirstSeen = b.FirstSeen
	}
	if b.LastSeen.After(a.LastSeen) {
		a.LastSeen = b.LastSeen
	}
	a.Facts = cloneFacts(a.Facts)
	for name, f := range b.Facts {
		learn(a.Facts, name, f)
	}
	a.Vendor = cmp.Or(a.Vendor, b.Vendor)
	return a
}

// normalise brings addresses and names into the form in which they are compared, and drops what is none.
func normalise(s sdk.Sighting) sdk.Sighting {
	s.IP = s.IP.Unmap().WithZone("")
	if !usable(s.IP) {
		s.IP = netip.Addr{}
	}
	if hw, err := net.ParseMAC(s.MAC); err == nil && len(hw) == 6 && hw[0]&1 == 0 && hw.String() != "00:00:00:00:00:00" {
		s.MAC = hw.String()
	} else {
		s.MAC = "" // broadcast, multicast or not an address: it names no device
	}
	s.Hostname = strings.ToLower(strings.TrimSuffix(clip(s.Hostname), "."))
	if s.Hostname == "localhost" {
		s.Hostname = ""
	}
	if !(s.Confidence >= 0) {
		s.Confidence = 0
	}
	s.Confidence = min(s.Confidence, 1)
	return s
}

// usable leaves out addresses that many devices share.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Normal is a sighting with its addresses and names in the form in which devices are found by them; false when it names no
// device at all.
func Normal(s sdk.Sighting) (sdk.Sighting, bool) {
	s = normalise(s)
	return s, s.IP.IsValid() || s.MAC != "" || s.Hostname != ""
}

// add puts v at the end, newest last; the oldest gives way when the list is full.
func add(list []string, v string, most int) []string {
	if v == "" || len(list) > 0 && list[len(list)-1] == v {
		return list
	}
	out := slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == v })
	out = append(out, v)
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return out
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}
