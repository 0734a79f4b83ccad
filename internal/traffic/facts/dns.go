package facts

import (
	"math"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/dns"
	"github.com/picketwatch/picket/sdk"
)

func (m *Maker) takeDNS(f *app.Fact, b *dns.Message) {
	if !m.wants(f.Flow, &m.dns.share) {
		return
	}
	r := m.dns.next()
	*r = sdk.DNS{
		Seen: seen(f), Protocol: f.Protocol, ID: b.ID, Response: b.Response, Opcode: b.Opcode, RCode: b.RCode,
		Answers: r.Answers[:0], AnswerTypes: r.AnswerTypes[:0], AnswerTTLs: r.AnswerTTLs[:0], AnswerNames: r.AnswerNames[:0],
		Questions: short(len(b.Questions)), AnswerCount: short(len(b.Answers)),
		AuthorityCount: short(len(b.Authorities)), AdditionalCount: short(len(b.Additionals)),
		Authoritative: b.Authoritative, Truncated: b.Truncated,
		RecursionDesired: b.RecursionDesired, RecursionAvailable: b.RecursionAvailable,
		Authentic: b.Authentic, Damaged: b.Damaged, Length: uint32(b.Length),
	}
	if len(b.Questions) > 0 {
		q := &b.Questions[0]
		r.Query, r.QType, r.QClass = q.Name, q.Type, q.Class
	}
	if b.EDNS != nil {
		r.EDNSSize = b.EDNS.UDPSize
	}
	m.dns.bytes += len(r.Query)
	m.records(r, b.Answers)
	if f.Protocol != "dns" && b.Response {
		m.records(r, b.Additionals) // who answers on a link tells what belongs to it here: addresses, ports, descriptions
	}
}

// records appends what was answered.
func (m *Maker) records(r *sdk.DNS, list []dns.Record) {
	for i := range list[:min(len(list), maxList-len(r.Answers))] {
		a := &list[i]
		r.Answers = append(r.Answers, cut(a.Data))
		r.AnswerTypes = append(r.AnswerTypes, uint64(a.Type))
		r.AnswerTTLs = append(r.AnswerTTLs, uint64(a.TTL))
		r.AnswerNames = append(r.AnswerNames, a.Name)
		m.dns.bytes += 16 + len(a.Name) + min(len(a.Data), maxText)
	}
}

func short(n int) uint16 { return uint16(min(n, math.MaxUint16)) }
