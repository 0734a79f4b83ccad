package intel

import (
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// matterKey is a host that had to do with an entry. Its value is in words.
type matterKey struct {
	src, dst bare.Addr // dst of addresses and files is the other host
	kind     kind
	value    string
}

// matter is what was seen of it.
type matter struct {
	matterKey
	port         uint16
	proto        uint8
	seen         string // what stood in the traffic, where that is below the entry
	list, source string
	confidence   uint8
	added        uint32
	times, told  uint64
	answered     bool
	evidence.Evidence
}

// maxText is how much of a value is kept.
const maxText = 512

// hit is a look-up that found something.
type hit struct {
	entry *entry
	kind  kind
	value string // of the entry, borrowed
	text  string // in the traffic, borrowed
}

func (d *Detector) facts(b *sdk.Batch, sink sdk.FindingSink) error {
	for i := range b.DNS {
		f := &b.DNS[i]
		if f.Protocol == "dns" {
			if err := d.name(&f.Seen, f.Query, sink); err != nil {
				return err
			}
		}
	}
	for i := range b.TLS {
		if err := d.tls(&b.TLS[i], sink); err != nil {
			return err
		}
	}
	for i := range b.HTTP {
		if err := d.http(&b.HTTP[i], sink); err != nil {
			return err
		}
	}
	for i := range b.Files {
		if err := d.file(&b.Files[i], sink); err != nil {
			return err
		}
	}
	return nil
}

func (d *Detector) name(s *sdk.Seen, name string, sink sdk.FindingSink) error {
	name = strings.TrimSuffix(name, ".")
	e, n := d.bad.table.findName(name)
	if e == nil {
		return nil
	}
	return d.hit(s, hit{e, domain, name[len(name)-n:], name}, sink)
}

func (d *Detector) tls(f *sdk.TLS, sink sdk.FindingSink) error {
	if err := d.name(&f.Seen, f.ServerName, sink); err != nil {
		return err
	}
	var room [32]byte
	if sum := digest(&room, f.JA3, 16); sum != nil {
		if e := d.bad.table.find(ja3, sum); e != nil {
			return d.hit(&f.Seen, hit{e, ja3, f.JA3, f.JA3}, sink)
		}
	}
	if f.JA4 == "" || len(f.JA4) > longestName {
		return nil
	}
	var text [longestName]byte
	if e := d.bad.table.find(ja4, text[:copy(text[:], f.JA4)]); e != nil {
		return d.hit(&f.Seen, hit{e, ja4, f.JA4, f.JA4}, sink)
	}
	return nil
}

func (d *Detector) http(f *sdk.HTTP, sink sdk.FindingSink) error {
	host := f.Host
	if at := strings.LastIndexByte(host, ':'); at > 0 && !strings.HasSuffix(host, "]") {
		host = host[:at]
	}
	if err := d.name(&f.Seen, host, sink); err != nil || !d.bad.table.has[url] {
		return err
	}
	var room [1024]byte
	text := page(room[:0], f.Host, f.Target)
	if e := d.bad.table.find(url, text); e != nil {
		return d.hit(&f.Seen, hit{e, url, string(text), string(text)}, sink)
	}
	return nil
}

func (d *Detector) file(f *sdk.File, sink sdk.FindingSink) error {
	var room [32]byte
	if sum := digest(&room, f.SHA256, 32); sum != nil {
		if e := d.bad.table.find(sha256, sum); e != nil {
			return d.hit(&f.Seen, hit{e, sha256, f.SHA256, f.Name}, sink)
		}
	}
	if sum := digest(&room, f.MD5, 16); sum != nil {
		if e := d.bad.table.find(md5, sum); e != nil {
			return d.hit(&f.Seen, hit{e, md5, f.MD5, f.Name}, sink)
		}
	}
	return nil
}

// flow looks up both ends. A flow of which nobody took notice is a knock at the door.
func (d *Detector) flow(f *sdk.Flow, sink sdk.FindingSink) error {
	for _, a := range [2]netip.Addr{f.Dst, f.Src} {
		e, p := d.bad.table.findAddress(a)
		if e == nil {
			continue
		}
		seen := sdk.Seen{Flow: f.ID, Time: f.Start, Client: f.Src, Server: f.Dst, ClientPort: f.SrcPort, ServerPort: f.DstPort, Proto: f.Proto}
		if len(f.Packets) > 0 {
			seen.Packet = f.Packets[0]
		}
		k, value := network, p.String()
		if p.IsSingleIP() {
			k, value = address, a.String()
		}
		m, err := d.remember(&seen, hit{e, k, value, a.String()}, sink)
		if err != nil {
			return err
		}
		if m != nil {
			m.answered = m.answered || f.FwdPayload > 0 && f.RevPayload > 0
			return d.tell(m, sink)
		}
	}
	return nil
}

func (d *Detector) hit(s *sdk.Seen, h hit, sink sdk.FindingSink) error {
	m, err := d.remember(s, h, sink)
	if err != nil || m == nil {
		return err
	}
	m.answered = true
	return d.tell(m, sink)
}

// allowed reports whether what was found is never bad.
func (d *Detector) allowed(s *sdk.Seen, h *hit) bool {
	t := d.allow.table
	switch h.kind {
	case address, network:
		a, err := netip.ParseAddr(h.text)
		if err != nil {
			return false
		}
		e, _ := t.findAddress(a)
		return e != nil && !e.expired(s.Time.UnixNano())
	case domain:
		e, _ := t.findName(h.text)
		return e != nil && !e.expired(s.Time.UnixNano())
	case url:
		host, _, _ := strings.Cut(h.text, "/")
		e, _ := t.findName(host)
		return e != nil || t.find(url, []byte(h.text)) != nil
	case ja4:
		return t.find(ja4, []byte(h.text)) != nil
	}
	var room [32]byte
	sum := digest(&room, h.value, len(h.value)/2)
	return sum != nil && t.find(h.kind, sum) != nil
}

// remember counts a hit that is worth something.
func (d *Detector) remember(s *sdk.Seen, h hit, sink sdk.FindingSink) (*matter, error) {
	at := s.Time.UnixNano()
	if h.entry.expired(at) || len(d.ignore) > 0 && d.ignored(s.Client, s.Server) || d.allowed(s, &h) {
		return nil, nil
	}
	key := matterKey{src: bare.Of(s.Client), kind: h.kind, value: h.value[:min(len(h.value), maxText)]}
	if h.kind != domain && h.kind != ja3 && h.kind != ja4 {
		key.dst = bare.Of(s.Server)
	}
	m, known := d.matters.Get(key)
	if !known {
		if old, full := d.matters.Crowded(); full {
			if err := d.last(old, sink); err != nil {
				return nil, err
			}
			d.matters.Forget(old.matterKey)
		}
		key.value = strings.Clone(key.value)
		m = &matter{matterKey: key, port: s.ServerPort, proto: s.Proto, seen: strings.Clone(h.text[:min(len(h.text), maxText)]),
			list: d.bad.names[h.entry.list], source: d.bad.sources[h.entry.source], confidence: h.entry.confidence, added: h.entry.added}
		d.matters.Put(key, m)
	}
	m.times++
	ref := flowref.Ref{}
	if key.dst != (bare.Addr{}) {
		ref = flowref.Ref{ID: s.Flow, SrcPort: s.ClientPort, DstPort: s.ServerPort}
	}
	m.Add(at, s.Packet, ref)
	return m, nil
}

// tell reports a matter the first time, and again when it is ten times as much.
func (d *Detector) tell(m *matter, sink sdk.FindingSink) error {
	if m.told > 0 && m.times < 10*m.told {
		return nil
	}
	m.told = m.times
	return sink.Finding(m.finding())
}

func (d *Detector) last(m *matter, sink sdk.FindingSink) error {
	if m.told == m.times {
		return nil
	}
	m.told = m.times
	return sink.Finding(m.finding())
}
