package dnssecurity

import (
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

const (
	codeServer = 2 // SERVFAIL
	codeNoName = 3 // NXDOMAIN

	// failWindow is how long failures count together; a flood that was reported goes on until that long nothing failed.
	failWindow = int64(5 * time.Minute)
	// wordsTimes is how many times more names of words must fail than random ones: a site may have lost that many.
	wordsTimes = 4
	// Of the names that are too many, four in ten are, of whatever kind, where nothing below the domain exists and they fail faster than
	// anybody types or any search list is tried.
	burstOfTen = 4
	burstTime  = 30 * time.Second
	// Of all different names, so many in ten must fail: below a domain, of a client; and a client's lie in so many domains.
	failInDomain = 8
	failOfClient = 6
	failDomains  = 25
	// shortLabel is the length of labels that stand in many names, longName how many characters a name has that only has to differ:
	// longer ones carry something.
	shortLabel = 3
	longName   = 24
)

// counted are different names that failed and that did not.
type counted struct {
	failing, fine   sketch.Sketch
	failed, existed uint64 // in units
	begin           int64
	evidence.Evidence
	client, server bare.Addr // the first
	port           uint16    // of the server
	proto          uint8
	reported       uint64
}

// domain is what fails below one domain.
type domain struct {
	key  uint64
	name string
	text dnsname.Text
	many bool // clients, until it was first reported
	counted
}

// asker is a client whose names fail.
type asker struct {
	key     bare.Addr
	domains sketch.Sketch
	below   uint64 // different domains, in units
	counted
}

func (c *counted) over(now int64) bool {
	if c.reported > 0 {
		return now-c.End() > failWindow
	}
	return now-c.begin > failWindow
}

func begin(m *sdk.DNS) counted {
	return counted{begin: m.Time.UnixNano(), client: bare.Of(m.Client), server: bare.Of(m.Server), port: m.ServerPort, proto: m.Proto}
}

// fail counts a name that failed, and reports whether it is a new one.
func (c *counted) fail(m *sdk.DNS, h uint32) bool {
	weight := c.failing.Add(h)
	if weight == 0 {
		return false
	}
	c.failed += weight
	ref := flowref.Ref{ID: m.Flow, SrcPort: m.ClientPort, DstPort: m.ServerPort}
	if m.Proto != c.proto || bare.Of(m.Client) != c.client || bare.Of(m.Server) != c.server {
		ref = flowref.Ref{}
	}
	c.Add(m.Time.UnixNano(), m.Packet, ref)
	return true
}

// fails takes an answer: a name failed, or did not.
func (d *Detector) fails(m *sdk.DNS, sink sdk.FindingSink) error {
	failed := m.RCode == codeNoName || m.RCode == codeServer
	var client bare.Addr
	client.Set(m.Client)
	a, known := d.askers.Get(client)
	if !known && !failed {
		return nil // nothing fails here
	}
	text := dnsname.Lower(m.Query)
	if !strings.Contains(text, ".") || strings.HasSuffix(text, dnsname.ReverseTree) {
		return nil
	}
	h, weight := uint32(dnsname.Hash(text)), uint64(0)
	if !failed {
		if weight = a.fine.Add(h); weight == 0 {
			return nil // as most names are, it is one of those that it asked for before
		}
	}
	made, registered := dnsname.Split(text)
	if dnsname.Reversed(made) || suffixed(made) || below(d.ignore, text) != "" {
		return nil
	}
	key := dnsname.Hash(registered)
	if !failed {
		a.existed += weight
		if one, known := d.domains.Get(key); known {
			one.existed += one.fine.Add(h)
		}
		return nil
	}
	if err := d.failOf(a, client, m, h, key, sink); err != nil || made == "" {
		return err
	}
	return d.failBelow(m, h, key, made, registered, sink)
}

// suffixed reports whether a made-up part is a whole name by itself, to which a search list or a blocklist has put its own.
func suffixed(made string) bool {
	for at := strings.IndexByte(made, '.'); at >= 0; {
		next := strings.IndexByte(made[at+1:], '.')
		label := made[at+1:]
		if next >= 0 {
			label = label[:next]
		}
		switch label {
		case "com", "net", "org", "info", "edu", "gov":
			return true
		}
		if next < 0 {
			_, official := publicsuffix.PublicSuffix(label)
			return official
		}
		at += 1 + next
	}
	return false
}

// failOf counts a failure of a client.
func (d *Detector) failOf(a *asker, client bare.Addr, m *sdk.DNS, h uint32, domainKey uint64, sink sdk.FindingSink) error {
	if a == nil {
		if old, full := d.askers.Crowded(); full {
			if err := d.tellAsker(old, true, sink); err != nil {
				return err
			}
			d.askers.Forget(old.key)
		}
		a = &asker{key: client, counted: begin(m)}
		d.askers.Put(client, a)
	} else if a.over(m.Time.UnixNano()) {
		if err := d.tellAsker(a, true, sink); err != nil {
			return err
		}
		*a = asker{key: client, counted: begin(m)}
	}
	if !a.fail(m, h) {
		return nil
	}
	a.below += a.domains.Add(uint32(domainKey))
	return d.tellAsker(a, false, sink)
}

// failBelow counts a failure below a domain.
func (d *Detector) failBelow(m *sdk.DNS, h uint32, key uint64, made, name string, sink sdk.FindingSink) error {
	one, known := d.domains.Get(key)
	if !known {
		if old, full := d.domains.Crowded(); full {
			if err := d.tellDomain(old, true, sink); err != nil {
				return err
			}
			d.domains.Forget(old.key)
		}
		one = &domain{key: key, name: strings.Clone(name), counted: begin(m)}
		d.domains.Put(key, one)
	} else if one.over(m.Time.UnixNano()) {
		if err := d.tellDomain(one, true, sink); err != nil {
			return err
		}
		*one = domain{key: key, name: one.name, counted: begin(m)}
	}
	if one.reported == 0 && bare.Of(m.Client) != one.client {
		one.many = true
	}
	if !one.fail(m, h) {
		return nil
	}
	for label := range strings.SplitSeq(made, ".") {
		if len(label) > shortLabel {
			one.text.Add(label)
		}
	}
	return d.tellDomain(one, false, sink)
}

func (d *Detector) tellFailures(sink sdk.FindingSink) error {
	for one := range d.domains.All() {
		if err := d.tellDomain(one, true, sink); err != nil {
			return err
		}
	}
	for a := range d.askers.All() {
		if err := d.tellAsker(a, true, sink); err != nil {
			return err
		}
	}
	return nil
}

func (d *Detector) tellDomain(one *domain, final bool, sink sdk.FindingSink) error {
	failed, full := one.failed/sketch.Unit, uint64(d.cfg.FailingNames)
	burst := full * burstOfTen / 10
	if failed < burst || 10*one.failed < failInDomain*(one.failed+one.existed) || !grown(failed, one.reported, final) {
		return nil
	}
	if one.text.Total() >= longName*float64(failed) {
		return nil
	}
	least := full
	switch {
	case !one.text.Encoded():
		full *= wordsTimes
		least = full
	case one.within(time.Minute):
		least = full / 2
	}
	if one.within(burstTime) {
		least = burst
	}
	if failed < least {
		return nil
	}
	one.reported = failed
	who := one.client.Addr().String()
	out := sdk.Finding{Src: who, Dst: addressOf(one.server, one.port), Features: one.features()}
	out.Features["evenness"] = one.text.Evenness()
	if one.many {
		out.Src, who = "", "several clients"
	}
	out.Summary = fmt.Sprintf("%s asked %s for %d names below %s in %s that do not exist: a flood of random names, or a search for names that do",
		who, one.server.Addr(), failed, one.name, one.Lasted())
	out.Flows = one.Refs(one.client.Addr(), one.server.Addr(), one.proto)
	out = finish(&one.Evidence, RuleRandomNames, 0.6+0.1*math.Log2(float64(failed)/float64(full)), out)
	if failed < full {
		out.Severity, out.Risk = sdk.SeverityLow, out.Risk/2
	}
	return sink.Finding(out)
}

// within reports whether names failed within some time, and none below the domain did not: fewer say something then.
func (c *counted) within(some time.Duration) bool {
	return c.existed == 0 && c.End()-c.begin <= int64(some)
}

func (d *Detector) tellAsker(a *asker, final bool, sink sdk.FindingSink) error {
	failed, least := a.failed/sketch.Unit, uint64(d.cfg.FailingNames)
	if failed < least || 10*a.failed < failOfClient*(a.failed+a.existed) || a.below < failDomains*sketch.Unit || !grown(failed, a.reported, final) {
		return nil
	}
	a.reported = failed
	out := sdk.Finding{Src: a.client.Addr().String(), Dst: addressOf(a.server, a.port), Features: a.features()}
	out.Features["domains"] = float64(a.below / sketch.Unit)
	out.Summary = fmt.Sprintf("%s asked for %d names in %d domains in %s that do not exist, and for %d that do: a program looks for its server",
		a.client.Addr(), failed, a.below/sketch.Unit, a.Lasted(), a.existed/sketch.Unit)
	out.Flows = a.Refs(a.client.Addr(), a.server.Addr(), a.proto)
	return sink.Finding(finish(&a.Evidence, RuleFailures, 0.55+0.1*math.Log2(float64(failed)/float64(least)), out))
}

func (c *counted) features() map[string]float64 {
	return map[string]float64{"failing_names": float64(c.failed / sketch.Unit), "other_names": float64(c.existed / sketch.Unit)}
}
