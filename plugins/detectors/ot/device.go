package ot

import (
	"container/list"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// host is who speaks: an address, or below IP a hardware address.
type host bare.Addr

const cardSize = 6

func hostOf(a netip.Addr) host { return host(bare.Of(a)) }

// cardOf reads a hardware address as facts have it, none of another text.
func cardOf(text string) (h host) {
	const hexSize = 2 * cardSize
	var digits [hexSize]byte
	if n := copy(digits[:], strings.ReplaceAll(text, ":", "")); n != hexSize {
		return host{}
	}
	if _, err := hex.Decode(h[:], digits[:]); err != nil {
		return host{}
	}
	h[len(h)-1] = cardSize
	return h
}

func (h *host) addr() netip.Addr { return (*bare.Addr)(h).Addr() }

func (h *host) String() string {
	if h[len(h)-1] == cardSize {
		return net.HardwareAddr(h[:cardSize]).String()
	}
	if a := h.addr(); a.IsValid() {
		return a.String()
	}
	return ""
}

// place is where a device listens.
type place struct {
	host host
	port uint16
}

func (p *place) String() string {
	if a := p.host.addr(); a.IsValid() {
		return netip.AddrPortFrom(a, p.port).String()
	}
	return p.host.String()
}

// isGroup reports whether a message goes to many, as far as an address tells.
func isGroup(a netip.Addr) bool {
	if a.IsMulticast() {
		return true
	}
	const everybody = 255
	return a.Is4() && a.As4()[3] == everybody
}

// Bounds of one device.
const (
	maxPeers     = 8
	maxFunctions = 64
)

// device is the memory of one device.
type device struct {
	place
	first     int64    // when it was first spoken to
	peers     []peer   // the one that spoke last behind
	functions []uint32 // that are known, in order of appearance
	address   host     // below IP: the address that it has
	order     *list.Element
}

// peer is a host that speaks to a device.
type peer struct {
	host         host
	first, last  int64
	requests     uint64
	reads        uint64
	learned      bool // it spoke while the device was learned
	newcomer     bool // somebody else had been at work when it came
	granted      uint64
	refusals     uint64
	refused      []uint64 // different things that the device did not give, by their hash
	asked        uint64   // hash of the last request
	waiting      uint64   // number of the incident that waits for an answer, 0 for none
	waitsFor     uint32   // function of the answer
	pending      uint32   // commands in a row without an answer
	pendingSince int64
}

// devices is the memory of all, within bounds.
type devices struct {
	by        map[place]*device
	latest    *device    // that was asked for last
	quiet     *list.List // of *device, the one touched longest ago in front
	max       int
	forgotten uint64
}

func newDevices(limit int) devices {
	return devices{by: map[place]*device{}, quiet: list.New(), max: limit}
}

// of returns the device of a place, which is remembered from now on.
func (m *devices) of(at place, now int64) *device {
	if m.latest != nil && m.latest.place == at {
		return m.latest
	}
	dev := m.by[at]
	if dev == nil {
		if len(m.by) >= m.max {
			oldest := m.quiet.Remove(m.quiet.Front()).(*device)
			delete(m.by, oldest.place)
			m.forgotten++
		}
		dev = &device{place: at, first: now}
		m.insert(dev)
	}
	m.quiet.MoveToBack(dev.order)
	m.latest = dev
	return dev
}

func (m *devices) insert(dev *device) {
	m.by[dev.place] = dev
	dev.order = m.quiet.PushBack(dev)
}

// When a host is a master at work: it read often enough, for long enough.
const (
	settledRequests = 6
	settledTime     = int64(10e9)
)

// speak notes that a host speaks to a device. The pointers are valid until the next call.
func (m *devices) speak(at place, who host, now int64) (*device, *peer) {
	dev := m.of(at, now)
	p := dev.peer(who)
	if p == nil {
		if len(dev.peers) >= maxPeers {
			dev.peers = slices.Delete(dev.peers, 0, 1)
		}
		newcomer := slices.ContainsFunc(dev.peers, func(o peer) bool { return o.settled() })
		dev.peers = append(dev.peers, peer{host: who, first: now, newcomer: newcomer})
		p = &dev.peers[len(dev.peers)-1]
	}
	p.last = now
	return dev, p
}

func (p *peer) settled() bool { return p.reads >= settledRequests && p.last-p.first >= settledTime }

// spoken returns the host that a device speaks to, nil when it is not remembered.
func (m *devices) spoken(from place, to host) *peer {
	dev := m.latest
	if dev == nil || dev.place != from {
		if dev = m.by[from]; dev == nil {
			return nil
		}
	}
	return dev.peer(to)
}

// peer returns a host of the device and puts it behind the others, nil when it is not known.
func (d *device) peer(who host) *peer {
	last := len(d.peers) - 1
	for i := last; i >= 0; i-- {
		if d.peers[i].host == who {
			if i != last {
				p := d.peers[i]
				copy(d.peers[i:], d.peers[i+1:])
				d.peers[last] = p
			}
			return &d.peers[last]
		}
	}
	return nil
}

// uses notes a function, and reports whether it is new to a device that has been learned.
func (d *device) uses(function uint32, learned bool) bool {
	if slices.Contains(d.functions, function) || len(d.functions) >= maxFunctions {
		return false
	}
	d.functions = append(d.functions, function)
	return learned
}

// ask notes a request.
func (p *peer) ask(f *sdk.OT, a act) {
	p.requests++
	if a <= reads {
		p.reads++
	}
	p.asked = requestHash(f)
}

// requestHash tells requests for different things apart.
func requestHash(f *sdk.OT) uint64 {
	h := mix(mix(1, uint64(f.Function)), f.Address)
	for _, text := range [...]string{f.Unit, f.Object} {
		for i := range len(text) {
			h = mix(h, uint64(text[i]))
		}
		h = mix(h, uint64(len(text)))
	}
	return h
}

func mix(h, v uint64) uint64 {
	const prime = 0x9e3779b97f4a7c15
	h = (h ^ v) * prime
	return h ^ h>>29
}

// maxRefused bounds what is remembered of one host's failures: the most that probes allows.
const maxRefused = 64

// refuse notes that the device did not give what was asked for last. Different things count up to enough.
func (p *peer) refuse(enough int) {
	p.refusals++
	if len(p.refused) < enough && !slices.Contains(p.refused, p.asked) {
		p.refused = append(p.refused, p.asked)
	}
}

// A flood is so many commands in a row within so short a time, none of which was answered: masters wait for the answer to one
// command, or to a few, before they send the next.
const (
	floodCommands = 30
	floodTime     = int64(1e9)
)

// unanswered notes a command, and reports whether it belongs to a flood.
func (p *peer) unanswered(now int64) bool {
	if p.pending == 0 || now-p.pendingSince > floodTime {
		p.pending, p.pendingSince = 0, now
	}
	p.pending++
	return p.pending >= floodCommands
}

// askers remember of how many devices a host wanted to know what they are.
type askers struct {
	by     map[host]*asker
	latest *asker
}

type asker struct {
	host    host
	last    int64
	devices []host
}

const (
	maxAskers     = 1024
	surveyDevices = 5
	surveyTime    = int64(3600e9)
	maxSurveyed   = 64
)

// ask notes that a host asked a device what it is. It returns the devices when they are enough for a survey.
func (m *askers) ask(who, device host, now int64) []host {
	a := m.latest
	if a == nil || a.host != who {
		a = m.of(who)
		m.latest = a
	}
	if now-a.last > surveyTime {
		a.devices = a.devices[:0]
	}
	a.last = now
	if len(a.devices) < maxSurveyed && !slices.Contains(a.devices, device) {
		a.devices = append(a.devices, device)
	}
	if len(a.devices) < surveyDevices {
		return nil
	}
	return a.devices
}

func (m *askers) of(who host) *asker {
	if a := m.by[who]; a != nil {
		return a
	}
	if len(m.by) >= maxAskers {
		var oldest *asker
		for _, a := range m.by {
			if oldest == nil || a.last < oldest.last || a.last == oldest.last && slices.Compare(a.host[:], oldest.host[:]) < 0 {
				oldest = a
			}
		}
		delete(m.by, oldest.host)
	}
	if m.by == nil {
		m.by = map[host]*asker{}
	}
	a := &asker{host: who}
	m.by[who] = a
	return a
}

type prefixes []netip.Prefix

func parsePrefixes(texts []string) (prefixes, error) {
	var out prefixes
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (p prefixes) contain(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}
