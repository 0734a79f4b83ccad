package beacon

import (
	"math"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
)

const (
	// maxAsks is how many questions of a client below a domain are remembered, the latest.
	maxAsks = 32
	// retryWithin is how long a program asks the same again because it has not heard, in nanoseconds.
	retryWithin = int64(15e9)
)

// Codes of answers.
const (
	codeServer  = 2 // SERVFAIL
	codeNoName  = 3 // NXDOMAIN
	codeRefused = 5
)

// carries reports whether the answers to a type of question can hold anything: texts, names, whatever is to be defined.
func carries(qtype uint16) bool {
	switch qtype {
	case 5, 10, 15, 16, 99: // CNAME, NULL, MX, TXT, SPF
		return true
	}
	return qtype >= 65280 && qtype < 65535 // for private use
}

type askedKey struct {
	client bare.Addr
	domain uint64 // hash of the domain, or of the server where there is none
}

// ask is a question that is no repetition.
type ask struct {
	at     int64
	packet uint64
	flow   uint64
	name   uint32 // hash
	port   uint16 // of the client
	carry  bool
}

// asked is what a client asked below one domain that somebody registered.
type asked struct {
	key    askedKey
	server bare.Addr // asked first
	port   uint16    // where
	proto  uint8     // by which
	domain string
	first  int64
	asks   []ask

	last     uint32 // the name that was asked for last
	lastAt   int64  // when something was asked last
	open     bool   // that has no answer yet
	total    uint64 // asks ever
	again    uint64 // questions for a name that came before, for addresses
	answers  uint64
	failures uint64 // of the answers
	ttl      uint64 // the longest of the answers
	reported int    // questions of the beacon when it was last reported
}

// askedTable is the memory of all.
type askedTable = recent.Table[askedKey, *asked]

// domains says where the domain of a name begins, and remembers what it said last: an answer has the name of its question.
type domains struct {
	lookups map[string]bool // whose names carry data by design
	latest  [256]struct {
		name uint64
		at   uint16
	}
}

// Where no domain begins, for a name that is not looked at, and for one below no domain.
const (
	apart = math.MaxUint16 - iota
	nowhere
)

// split divides a name, whose hash is given, and reports whether it is one that somebody may have made up.
func (s *domains) split(name string, h uint64) (domain string, look bool) {
	one := &s.latest[h%uint64(len(s.latest))]
	if one.name != h {
		one.name, one.at = h, s.begin(name)
	}
	switch at := int(one.at); {
	case at == apart:
		return "", false
	case at >= len(name): // nowhere
		return "", true
	default:
		return name[at:], true
	}
}

func (s *domains) begin(name string) uint16 {
	if len(name) >= nowhere || strings.HasSuffix(name, dnsname.ReverseTree) || strings.HasSuffix(name, ".local") || s.looksUp(name) {
		return apart
	}
	made, domain := dnsname.Split(name)
	switch {
	case made == "" || made[0] == '_' || strings.Contains(made, "._") || dnsname.Reversed(made):
		return apart // services, keys and policies of mail, and addresses in lists, too
	case domain == "":
		return nowhere
	}
	return uint16(len(name) - len(domain))
}

// looksUp reports whether a name lies below one that carries data by design.
func (s *domains) looksUp(name string) bool {
	for at := len(name); at > 0; {
		at = strings.LastIndexByte(name[:at], '.')
		if s.lookups[name[at+1:]] {
			return true
		}
	}
	return false
}

// message takes one message of DNS.
func (d *Detector) message(m *sdk.DNS, sink sdk.FindingSink) error {
	if m.Protocol != sdk.FactsDNS || m.Questions == 0 || m.Opcode != 0 {
		return nil
	}
	name := dnsname.Lower(m.Query)
	h := dnsname.Hash(name)
	domain, look := d.domains.split(name, h)
	if !look || d.ignore.contain(m.Server) {
		return nil
	}
	key := askedKey{client: bare.Of(m.Client), domain: dnsname.Hash(domain)}
	if domain == "" {
		server := bare.Of(m.Server)
		key.domain = dnsname.Hash(server[:])
	}
	c, known := d.asked.Get(key)
	if m.Response {
		if known && c.last == uint32(h) {
			c.answer(m)
		}
		return nil
	}
	if !known {
		var err error
		if c, err = d.begin(key, m, domain, sink); err != nil {
			return err
		}
	}
	if !c.ask(m, uint32(h), int64(d.cfg.MinInterval), int64(d.cfg.Window)) || !due(len(c.asks), d.cfg.MinCalls) && len(c.asks) < maxAsks {
		return nil
	}
	return d.judgeAsked(c, false, sink)
}

// begin makes the memory of a client and a domain. One that must go to make room is judged before.
func (d *Detector) begin(key askedKey, m *sdk.DNS, domain string, sink sdk.FindingSink) (*asked, error) {
	if old, full := d.asked.Crowded(); full {
		if err := d.judgeAsked(old, true, sink); err != nil {
			return nil, err
		}
		d.asked.Forget(old.key)
		if d.askers[old.key.domain]--; d.askers[old.key.domain] == 0 {
			delete(d.askers, old.key.domain)
		}
	}
	c := &asked{key: key, server: bare.Of(m.Server), port: m.ServerPort, proto: m.Proto, domain: strings.Clone(domain), first: m.Time.UnixNano()}
	d.asked.Put(key, c)
	d.askers[key.domain]++
	return c, nil
}

// ask takes a question, and reports whether it is remembered: repetitions are not, nor those that belong to the one before, nor, of
// addresses, names that came before. Those are counted.
func (c *asked) ask(m *sdk.DNS, name uint32, together, window int64) bool {
	now, carry := m.Time.UnixNano(), carries(m.QType)
	n := len(c.asks)
	since := now - c.lastAt
	if c.lastAt = now; since < together || c.open && c.last == name && since < retryWithin {
		return false
	}
	c.last, c.open = name, true
	if !carry {
		if i := slices.IndexFunc(c.asks, func(a ask) bool { return a.name == name }); i >= 0 {
			if now-c.asks[i].at >= retryWithin {
				c.again++
			}
			return false
		}
	}
	switch {
	case n > 0 && c.asks[0].at < now-window:
		c.asks = slices.DeleteFunc(c.asks, func(a ask) bool { return a.at < now-window })
	case n >= maxAsks:
		c.asks = slices.Delete(c.asks, 0, n/2)
		c.again /= 2
	}
	c.total++
	c.asks = append(c.asks, ask{at: now, packet: m.Packet, flow: m.Flow, name: name, port: m.ClientPort, carry: carry})
	return true
}

// answer takes the answer to the last question.
func (c *asked) answer(m *sdk.DNS) {
	c.open = false
	c.answers++
	switch m.RCode {
	case codeServer, codeNoName, codeRefused:
		c.failures++
	}
	for _, ttl := range m.AnswerTTLs {
		c.ttl = max(c.ttl, ttl)
	}
}

// ref is the flow of a question.
func (c *asked) ref(a *ask) flowref.Ref {
	return flowref.Ref{ID: a.flow, SrcPort: a.port, DstPort: c.port}
}
