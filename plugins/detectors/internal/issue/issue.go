// Package issue remembers what is told of hosts: each matter once, with its evidence. It is told when it is new, when there is
// another sign of it, and at the end when it was seen more often.
package issue

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// Limits of what is remembered of one matter.
const (
	forget     = int64(24 * time.Hour) // when it was quiet for so long, it is another matter
	maxNames   = 4
	maxName    = 128
	maxClients = 32
)

// Key tells matters apart. A matter of all clients of a server has none, a matter of a client alone has no server.
type Key struct {
	Client, Server bare.Addr
	Port           uint16
	Rule           uint8
}

// Seen is one time that something was seen.
type Seen struct {
	At     time.Time
	Packet uint64
	Client netip.Addr
	Server netip.Addr
	Flow   flowref.Ref
	Proto  uint8
	Name   string // told with it
	Signs  uint32 // bits
}

// Of is where a fact was seen.
func Of(s *sdk.Seen) Seen {
	return Seen{At: s.Time, Packet: s.Packet, Client: s.Client, Server: s.Server, Flow: flowref.Ref{ID: s.Flow, SrcPort: s.ClientPort, DstPort: s.ServerPort}, Proto: s.Proto}
}

// Issue is one matter.
type Issue struct {
	Key     Key
	Count   uint32
	Signs   uint32
	Names   []string
	Clients []bare.Addr // the first ones

	told, toldSigns uint32
	evidence        evidence.Evidence
	// The flows among it are of the first client, to the first server.
	server bare.Addr
	proto  uint8
}

// Tell says a matter.
type Tell func(*Issue) error

// Table is the memory.
type Table struct {
	recent.Table[Key, *Issue]
}

// New makes an empty memory of so many matters.
func New(limit int) Table { return Table{recent.New[Key, *Issue](limit)} }

// See adds to a matter, and tells it when there is something new to it.
func (t *Table) See(k Key, s *Seen, tell Tell) error {
	i, known := t.Get(k)
	if known && s.At.UnixNano()-i.evidence.End() > forget {
		if err := t.leave(i, tell); err != nil {
			return err
		}
		t.Forgotten--
		known = false
	}
	if !known {
		if old, full := t.Crowded(); full {
			if err := t.leave(old, tell); err != nil {
				return err
			}
		}
		i = &Issue{Key: k, server: bare.Of(s.Server), proto: s.Proto}
		t.Put(k, i)
	}
	i.add(s)
	if i.told > 0 && i.Signs == i.toldSigns {
		return nil
	}
	return i.tell(tell)
}

func (i *Issue) add(s *Seen) {
	i.Count++
	i.Signs |= s.Signs
	if client := bare.Of(s.Client); len(i.Clients) < maxClients && !slices.Contains(i.Clients, client) {
		i.Clients = append(i.Clients, client)
	}
	flow := s.Flow
	if bare.Of(s.Client) != i.Clients[0] || bare.Of(s.Server) != i.server || s.Proto != i.proto {
		flow = flowref.Ref{}
	}
	i.evidence.Add(s.At.UnixNano(), s.Packet, flow)
	if name := s.Name[:min(len(s.Name), maxName)]; name != "" && len(i.Names) < maxNames && !slices.Contains(i.Names, name) {
		i.Names = append(i.Names, strings.Clone(strings.ToValidUTF8(name, "")))
	}
}

func (i *Issue) tell(tell Tell) error {
	i.told, i.toldSigns = i.Count, i.Signs
	return tell(i)
}

// leave tells the rest of a matter, and forgets it.
func (t *Table) leave(i *Issue, tell Tell) error {
	t.Forget(i.Key)
	if i.told == i.Count {
		return nil
	}
	return i.tell(tell)
}

// Flush tells what has grown since it was told, the one quiet for longest first.
func (t *Table) Flush(tell Tell) error {
	for i := range t.All() {
		if i.told != i.Count {
			if err := i.tell(tell); err != nil {
				return err
			}
		}
	}
	return nil
}

// risk is where the numbers of a severity begin, and what full confidence adds.
var risk = map[sdk.Severity][2]float64{sdk.SeverityInfo: {0, 15}, sdk.SeverityLow: {10, 25}, sdk.SeverityMedium: {30, 40}, sdk.SeverityHigh: {40, 55}}

// Finding is the matter as one, without its rule, techniques and text.
func (i *Issue) Finding(severity sdk.Severity, confidence float64) sdk.Finding {
	f := sdk.Finding{}
	i.evidence.Into(&f, confidence)
	f.Severity, f.Risk = severity, int(math.Round(risk[severity][0]+risk[severity][1]*confidence))
	f.Flows = i.evidence.Refs(i.Clients[0].Addr(), i.server.Addr(), i.proto)
	if i.Key.Server != (bare.Addr{}) {
		f.Dst = i.Server()
	}
	f.Features = map[string]float64{"times": float64(i.Count)}
	if i.Key.Client != (bare.Addr{}) {
		f.Src = i.Key.Client.Addr().String()
	} else {
		f.Features["clients"] = float64(len(i.Clients))
	}
	return f
}

// Server is the server as a text, with its port where that is known.
func (i *Issue) Server() string {
	a := i.Key.Server.Addr()
	if i.Key.Port == 0 {
		return a.String()
	}
	return netip.AddrPortFrom(a, i.Key.Port).String()
}

// AppendTo writes the memory behind b, for Read.
func (t *Table) AppendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, t.Forgotten)
	b = binary.AppendUvarint(b, uint64(t.Len()))
	for i := range t.All() {
		b = i.server.AppendTo(i.Key.Server.AppendTo(i.Key.Client.AppendTo(append(b, i.Key.Rule, i.proto))))
		for _, n := range []uint64{uint64(i.Key.Port), uint64(i.Count), uint64(i.told), uint64(i.Signs), uint64(i.toldSigns), uint64(len(i.Names))} {
			b = binary.AppendUvarint(b, n)
		}
		for _, name := range i.Names {
			b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		}
		b = binary.AppendUvarint(b, uint64(len(i.Clients)))
		for n := range i.Clients {
			b = i.Clients[n].AppendTo(b)
		}
		b = i.evidence.AppendTo(b)
	}
	return b
}

// errNonsense is told of a memory that no table has written.
var errNonsense = errors.New("it makes no sense")

// Read reads what AppendTo wrote into an empty table. Matters have rules below rules.
func (t *Table) Read(p *saved.Packed, rules uint8) error {
	t.Forgotten = p.Uint()
	for range p.Count() {
		var b [2]byte
		p.Fill(b[:])
		i := &Issue{Key: Key{Rule: b[0], Client: bare.Read(p), Server: bare.Read(p)}, server: bare.Read(p), proto: b[1]}
		i.Key.Port, i.Count, i.told, i.Signs, i.toldSigns = uint16(p.Uint()), uint32(p.Uint()), uint32(p.Uint()), uint32(p.Uint()), uint32(p.Uint())
		for range p.Count() {
			if name := string(p.Bytes(maxName)); len(i.Names) < maxNames {
				i.Names = append(i.Names, name)
			}
		}
		for range p.Count() {
			if a := bare.Read(p); len(i.Clients) < maxClients {
				i.Clients = append(i.Clients, a)
			}
		}
		i.evidence = evidence.Read(p)
		if p.Err() != nil || t.Has(i.Key) || i.Key.Rule >= rules || len(i.Clients) == 0 || i.Count == 0 {
			return errors.Join(p.Err(), errNonsense)
		}
		t.Put(i.Key, i)
	}
	return p.Err()
}
