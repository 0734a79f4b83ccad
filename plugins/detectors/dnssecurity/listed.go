package dnssecurity

import (
	"fmt"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// listedKey is a client and a blocked domain, or a resolver that is not listed.
type listedKey struct {
	client, server bare.Addr // no server of a blocked domain
	domain         uint64    // a hash, 0 of a resolver
}

// listed is how often a client asked for what a list has something to say about.
type listed struct {
	key    listedKey
	domain string
	server bare.Addr // the first
	port   uint16
	proto  uint8
	evidence.Evidence
	questions, reported uint64
}

// lookUp takes a question, perhaps for a blocked name.
func (d *Detector) lookUp(m *sdk.DNS, sink sdk.FindingSink) error {
	if len(d.blocked) == 0 {
		return nil
	}
	domain := below(d.blocked, dnsname.Lower(m.Query))
	if domain == "" {
		return nil
	}
	return d.note(listedKey{client: bare.Of(m.Client), domain: dnsname.Hash(domain)}, domain, m, sink)
}

// resolve takes a question, perhaps to a resolver that clients may not ask. Resolvers themselves ask servers everywhere.
func (d *Detector) resolve(m *sdk.DNS, sink sdk.FindingSink) error {
	if len(d.resolvers) == 0 || !m.RecursionDesired {
		return nil
	}
	for _, p := range d.resolvers {
		if p.Contains(m.Server) || p.Contains(m.Client) {
			return nil
		}
	}
	return d.note(listedKey{client: bare.Of(m.Client), server: bare.Of(m.Server)}, "", m, sink)
}

func (d *Detector) note(key listedKey, domain string, m *sdk.DNS, sink sdk.FindingSink) error {
	l, known := d.listed.Get(key)
	if !known {
		if old, full := d.listed.Crowded(); full {
			if err := d.tellOne(old, true, sink); err != nil {
				return err
			}
			d.listed.Forget(old.key)
		}
		l = &listed{key: key, domain: strings.Clone(domain), server: bare.Of(m.Server), port: m.ServerPort, proto: m.Proto}
		d.listed.Put(key, l)
	}
	l.questions++
	ref := flowref.Ref{ID: m.Flow, SrcPort: m.ClientPort, DstPort: m.ServerPort}
	if m.Proto != l.proto || bare.Of(m.Server) != l.server {
		ref = flowref.Ref{}
	}
	l.Add(m.Time.UnixNano(), m.Packet, ref)
	return d.tellOne(l, false, sink)
}

func (d *Detector) tellListed(sink sdk.FindingSink) error {
	for l := range d.listed.All() {
		if err := d.tellOne(l, true, sink); err != nil {
			return err
		}
	}
	return nil
}

func (d *Detector) tellOne(l *listed, final bool, sink sdk.FindingSink) error {
	if !grown(l.questions, l.reported, final) {
		return nil
	}
	l.reported = l.questions
	client, server := l.key.client.Addr(), l.server.Addr()
	out := sdk.Finding{
		Src: client.String(), Dst: addressOf(l.server, l.port), Features: map[string]float64{"questions": float64(l.questions)},
		Flows: l.Refs(client, server, l.proto),
	}
	if l.domain != "" {
		out.Summary = fmt.Sprintf("%s asked %s for names of the blocked domain %s", client, times(l.questions), l.domain)
		return sink.Finding(finish(&l.Evidence, RuleBlocked, 0.9, out))
	}
	out.Summary = fmt.Sprintf("%s asked %s, which is none of the listed resolvers, %s", client, server, times(l.questions))
	out = finish(&l.Evidence, RuleResolver, 0.5, out)
	out.Severity, out.Risk = sdk.SeverityLow, 25
	return sink.Finding(out)
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
