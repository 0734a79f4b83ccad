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
	r := &m.dns.row
	see(&r.Seen, f)
	r.Protocol, r.ID, r.Response, r.Opcode, r.RCode = f.Protocol, b.ID, b.Response, b.Opcode, b.RCode
	r.Query, r.QType, r.QClass, r.EDNSSize = "", 0, 0, 0
	r.Answers, r.AnswerTypes, r.AnswerTTLs, r.AnswerNames = r.Answers[:0], r.AnswerTypes[:0], r.AnswerTTLs[:0], r.AnswerNames[:0]
	r.Questions, r.AnswerCount = short(len(b.Questions)), short(len(b.Answers))
	r.AuthorityCount, r.AdditionalCount = short(len(b.Authorities)), short(len(b.Additionals))
	r.Authoritative, r.Truncated, r.Authentic, r.Damaged = b.Authoritative, b.Truncated, b.Authentic, b.Damaged
	r.RecursionDesired, r.RecursionAvailable, r.Length = b.RecursionDesired, b.RecursionAvailable, uint32(b.Length)
	if len(b.Questions) > 0 {
		q := &b.Questions[0]
		r.Query, r.QType, r.QClass = q.Name, q.Type, q.Class
	}
	if b.EDNS != nil {
		r.EDNSSize = b.EDNS.UDPSize
	}
	appendRecords(r, b.Answers)
	if f.Protocol != "dns" && b.Response {
		appendRecords(r, b.Additionals) // who answers on a link tells what belongs to it here: addresses, ports, descriptions
	}
	m.dns.add(r)
}

// appendRecords appends what was answered.
func appendRecords(r *sdk.DNS, list []dns.Record) {
	for i := range list[:min(len(list), maxList-len(r.Answers))] {
		a := &list[i]
		r.Answers = append(r.Answers, cut(a.Data))
		r.AnswerTypes = append(r.AnswerTypes, uint64(a.Type))
		r.AnswerTTLs = append(r.AnswerTTLs, uint64(a.TTL))
		r.AnswerNames = append(r.AnswerNames, a.Name)
	}
}

func short(n int) uint16 { return uint16(min(n, math.MaxUint16)) }
