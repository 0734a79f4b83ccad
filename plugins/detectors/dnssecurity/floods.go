package dnssecurity

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

const (
	typeA         = 1
	typeSignature = 46 // RRSIG
	typeANY       = 255

	// An answer is large from so many bytes on, and so many times the question.
	largeBytes = 400
	largeTimes = 8

	// floodWindow is how long large answers count together until they are a flood, floodPause after how long another one begins.
	floodWindow = int64(time.Minute)
	floodPause  = int64(5 * time.Minute)
	// anyTimes is how many times fewer answers to ANY do: programs do not ask that.
	anyTimes = 3
)

type floodKey struct {
	victim   bare.Addr
	question uint64 // a hash of the type and, unless that is ANY, the name
}

// flood is large answers to one address.
type flood struct {
	key    floodKey
	server bare.Addr // the first
	proto  uint8
	qtype  uint16
	name   string // the first
	begin  int64
	evidence.Evidence

	servers                          sketch.Sketch
	different                        uint64 // servers, in units
	questions, answers, bytes, small uint64 // small is what the questions had
	many                             bool   // servers, when it was first reported
	reported                         uint64
}

// large reports whether an answer is worth having sent to somebody else.
func large(m *sdk.DNS) bool {
	return m.Length >= largeBytes && int(m.Length) >= largeTimes*questionSize(m)
}

// questionSize is the length that the question to an answer has, with EDNS.
func questionSize(m *sdk.DNS) int { return 12 + len(m.Query) + 2 + 4 + 11 }

func keyOf(m *sdk.DNS) (key floodKey) {
	key.victim.Set(m.Client)
	key.question = uint64(m.QType)
	if m.QType != typeANY {
		key.question ^= dnsname.Hash(m.Query) << 16
	}
	return key
}

// asked takes a question, which shows that answers were asked for, if in a false name.
func (d *Detector) asked(m *sdk.DNS) {
	if f, known := d.floods.Get(keyOf(m)); known {
		f.questions++
	}
}

// flood takes a large answer.
func (d *Detector) flood(m *sdk.DNS, sink sdk.FindingSink) error {
	key, now := keyOf(m), m.Time.UnixNano()
	f, known := d.floods.Get(key)
	switch {
	case !known:
		if old, full := d.floods.Crowded(); full {
			if err := d.tellFlood(old, true, sink); err != nil {
				return err
			}
			d.floods.Forget(old.key)
		}
		f = newFlood(key, m)
		d.floods.Put(key, f)
	case f.reported == 0 && now-f.begin > floodWindow:
		*f = *newFlood(key, m)
	case f.reported > 0 && now-f.End() > floodPause:
		if err := d.tellFlood(f, true, sink); err != nil {
			return err
		}
		*f = *newFlood(key, m)
	}
	server := bare.Of(m.Server)
	f.different += f.servers.Add(uint32(dnsname.Hash(server[:])))
	f.answers++
	f.bytes += uint64(m.Length)
	f.small += uint64(questionSize(m))
	ref := flowref.Ref{ID: m.Flow, SrcPort: m.ClientPort, DstPort: m.ServerPort}
	if server != f.server || m.Proto != f.proto {
		ref = flowref.Ref{}
	}
	f.Add(now, m.Packet, ref)
	return d.tellFlood(f, false, sink)
}

func newFlood(key floodKey, m *sdk.DNS) *flood {
	return &flood{key: key, server: bare.Of(m.Server), proto: m.Proto, qtype: m.QType, name: strings.Clone(dnsname.Lower(m.Query)), begin: m.Time.UnixNano()}
}

func (d *Detector) tellFloods(sink sdk.FindingSink) error {
	for f := range d.floods.All() {
		if err := d.tellFlood(f, true, sink); err != nil {
			return err
		}
	}
	return nil
}

func (d *Detector) tellFlood(f *flood, final bool, sink sdk.FindingSink) error {
	least := uint64(d.cfg.LargeAnswers)
	if f.qtype == typeANY {
		least = max(1, least/anyTimes)
	}
	if f.answers < least || !grown(f.answers, f.reported, final) {
		return nil
	}
	if f.reported == 0 {
		f.many = f.different >= 2*sketch.Unit
	}
	f.reported = f.answers
	return sink.Finding(f.finding(least))
}

func (f *flood) finding(least uint64) sdk.Finding {
	victim, server := f.key.victim.Addr(), f.server.Addr()
	times := float64(f.bytes) / float64(max(1, f.small))
	unasked := f.questions+1 < f.answers/2
	confidence := 0.6 + 0.1*math.Log2(float64(f.answers)/float64(least))
	if unasked {
		confidence += 0.1
	}
	out := sdk.Finding{
		Src: server.String(), Dst: victim.String(),
		Features: map[string]float64{
			"answers": float64(f.answers), "questions": float64(f.questions), "bytes": float64(f.bytes), "times_the_question": round(times, 1),
			"servers": float64(f.different / sketch.Unit), "type": float64(f.qtype),
		},
	}
	who, how := server.String(), "asked in its name"
	if f.many {
		out.Src = ""
		who = fmt.Sprintf("%d servers", f.different/sketch.Unit)
	}
	if unasked {
		how = "for which no question was seen"
	}
	out.Summary = fmt.Sprintf("%s sent %s %d large answers about %s (%s) in %s, %d bytes, %g times the questions, %s",
		who, victim, f.answers, f.name, typeName(f.qtype), f.Lasted(), f.bytes, round(times, 0), how)
	if !f.many {
		out.Flows = f.Refs(victim, server, f.proto)
	}
	return finish(&f.Evidence, RuleAmplification, confidence, out)
}

// finish fills in what all findings have.
func finish(e *evidence.Evidence, rule string, confidence float64, f sdk.Finding) sdk.Finding {
	f.Detector, f.Rule, f.Techniques = "picket/dnssecurity", rule, techniques[rule]
	if f.Flows == nil {
		f.Flows = []sdk.FlowRef{}
	}
	e.Into(&f, min(0.95, round(confidence, 2)))
	return f
}

func typeName(qtype uint16) string {
	switch qtype {
	case typeA:
		return "A"
	case 2:
		return "NS"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case typeSignature:
		return "RRSIG"
	case 48:
		return "DNSKEY"
	case typeANY:
		return "ANY"
	}
	return fmt.Sprintf("type %d", qtype)
}

func addressOf(a bare.Addr, port uint16) string { return netip.AddrPortFrom(a.Addr(), port).String() }

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
