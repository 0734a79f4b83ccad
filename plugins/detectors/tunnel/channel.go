package tunnel

import (
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// Types of questions.
const (
	typeA     = 1
	typeCNAME = 5
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeSRV   = 33
	typeSPF   = 99
)

// use is what a type of question is asked for.
type use byte

const (
	ordinary use = iota
	carrier      // its answers are texts or names, which can hold anything
	rare         // hardly anybody asks for it, but tunnels
)

func useOf(qtype uint16) use {
	switch qtype {
	case typeCNAME, typeMX, typeTXT, typeSRV, typeSPF:
		return carrier
	case typeA, typeAAAA, 2, 6, 12, 13, 18, 29, 35, 37, 39, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 55, 59, 60, 61, 62, 63, 64, 65, 108, 109,
		249, 250, 251, 252, 255, 256, 257, 258, 259, 260, 261, 32768, 32769:
		return ordinary // from NS to DLV: what programs of today ask for
	}
	return rare
}

// What ordinary names and answers need, and how much of an answer counts.
const (
	freeName    = 8    // characters of the made-up labels of a name
	freeText    = 16   // bytes of a text
	freeTarget  = 32   // characters of a name in an answer
	mostAnswer  = 1024 // of one answer
	shortName   = 24   // an ordinary question for less than this is not looked at
	shortLabel  = 3    // a label of this length or less is a counter or a place
	codeServer  = 2    // SERVFAIL
	codeNoName  = 3    // NXDOMAIN
	codeRefused = 5
)

type channelKey struct {
	client bare.Addr
	domain uint64 // hash of the domain, or of the server where there is none
}

// channel is what a client and a domain exchange within a window.
type channel struct {
	key    channelKey
	server bare.Addr // that was asked first
	port   uint16    // where it was asked
	proto  uint8     // by which it was asked
	domain string
	begin  int64 // of the window
	evidence.Evidence

	asked, heard sketch.Sketch // the names, and the answers
	labels       labels
	text         dnsname.Text
	longest      uint32 // made-up characters of a name

	// Sums over different names and answers, in units; of up, those with a single label that is as long as a hash.
	names, made, up, hashes, down, rare, carried uint64
	// Counts of messages.
	questions, direct, answers, loops, failures uint64

	check    uint64 // the sum at which to judge again
	reported uint64 // the information that was reported last
	oneWay   bool   // most of it went out when it was reported, once
}

// message takes one DNS message.
func (d *Detector) message(m *sdk.DNS, sink sdk.FindingSink) error {
	d.clock = max(d.clock, m.Time.UnixNano())
	kind := useOf(m.QType)
	if m.Protocol != sdk.FactsDNS || m.Questions == 0 || m.Opcode != 0 || kind == ordinary && len(m.Query) < shortName {
		return nil
	}
	name := dnsname.Lower(m.Query)
	h := dnsname.Hash(name)
	made, domain, look := d.names.part(name, h)
	if !look || kind != rare && made == "" || kind == carrier && documented(made) || d.ignored(m.Client) || d.ignored(m.Server) {
		return nil
	}
	c, err := d.channel(m, domain, sink)
	if err != nil {
		return err
	}
	news := c.ask(m, kind, uint32(h), made)
	if m.Response {
		news = c.answer(m, kind) || news
	}
	if !news {
		return nil
	}
	ref := flowref.Ref{ID: m.Flow, SrcPort: m.ClientPort, DstPort: m.ServerPort}
	if m.Proto != c.proto {
		ref = noFlow
	}
	c.Add(m.Time.UnixNano(), m.Packet, ref)
	if c.sum() < c.check {
		return nil
	}
	c.check = c.sum() + c.sum()/8
	return d.judge(c, false, sink)
}

// documented reports whether a name says by a label with an underscore what lies there: keys and policies of mail, services.
func documented(made string) bool {
	return strings.HasPrefix(made, "_") || strings.Contains(made, "._")
}

// channel finds the memory of a client and a domain, and begins it anew when its window is over.
func (d *Detector) channel(m *sdk.DNS, domain string, sink sdk.FindingSink) (*channel, error) {
	var key channelKey
	key.client.Set(m.Client)
	now := m.Time.UnixNano()
	if domain != "" {
		key.domain = dnsname.Hash(domain)
	} else {
		server := bare.Of(m.Server)
		key.domain = dnsname.Hash(server[:])
	}
	c, known := d.channels.Get(key)
	if known && now-c.begin <= int64(d.cfg.Window) {
		return c, nil
	}
	if known {
		if err := d.judge(c, true, sink); err != nil {
			return nil, err
		}
		*c = channel{key: key, server: c.server, port: c.port, proto: c.proto, domain: c.domain, begin: now, check: uint64(d.cfg.Information)}
		return c, nil
	}
	if old, full := d.crowded(now); full {
		if err := d.judge(old, true, sink); err != nil {
			return nil, err
		}
		d.channels.Forget(old.key)
	}
	c = &channel{key: key, server: bare.Of(m.Server), port: m.ServerPort, proto: m.Proto, domain: strings.Clone(domain), begin: now, check: uint64(d.cfg.Information)}
	d.channels.Put(key, c)
	return c, nil
}

// crowded returns the channel that must go before another one comes. What is slow must not be lost among many that are quick
// and empty, so one that has gathered something is passed over a few times.
func (d *Detector) crowded(now int64) (*channel, bool) {
	const passes = 8
	for range passes {
		c, full := d.channels.Crowded()
		if !full || c.sum() < uint64(d.cfg.Information)/passes || now-c.begin > int64(d.cfg.Window) {
			return c, full
		}
		d.channels.Get(c.key) // it is no longer the quietest
	}
	return d.channels.Crowded()
}

// ask takes the name of a message, and reports whether it is new.
func (c *channel) ask(m *sdk.DNS, kind use, name uint32, made string) bool {
	if !m.Response {
		c.questions++
		if !m.RecursionDesired {
			c.direct++
		}
	}
	weight := c.asked.Add(name)
	if weight == 0 {
		return false
	}
	chars, novel, last := 0, 0, 0
	for label := range strings.SplitSeq(made, ".") {
		if len(label) <= shortLabel || !c.labels.novel(uint32(dnsname.Hash(label))) {
			continue
		}
		last = c.text.Add(label)
		chars += last
		novel++
	}
	c.names += weight
	c.made += weight * uint64(chars)
	beyond := weight * uint64(max(0, chars-freeName))
	c.up += beyond
	c.longest = max(c.longest, uint32(chars))
	if novel == 1 && hashLike(last) {
		c.hashes += beyond
	}
	if kind == rare {
		c.rare += weight
	}
	return true
}

// answer takes the records of a message, and reports whether they are new.
func (c *channel) answer(m *sdk.DNS, kind use) bool {
	c.answers++
	switch m.RCode {
	case 0:
	case codeServer, codeNoName, codeRefused:
		c.failures++
		return false
	default:
		return false
	}
	if m.QType == typeA && len(m.Answers) > 0 && (strings.HasPrefix(m.Answers[0], "127.") || m.Answers[0] == "0.0.0.0") {
		c.loops++
	}
	size, sum := carried(m)
	if size < 0 || kind == ordinary && size == 0 {
		return false
	}
	weight := c.heard.Add(sum)
	if weight == 0 {
		return false
	}
	c.down += weight * uint64(min(size, mostAnswer))
	if kind == carrier {
		c.carried += weight
	}
	return true
}

// carried is how many bytes the texts and names of an answer hold beyond the ordinary, and a hash of them. An answer with
// addresses holds none, and one that says what it is (v=spf1, v=DKIM1) is taken at its word: -1.
func carried(m *sdk.DNS) (size int, sum uint32) {
	if len(m.Answers) == 0 {
		return -1, 0
	}
	for i, data := range m.Answers {
		switch m.AnswerTypes[i] {
		case typeA, typeAAAA:
			return 0, 0
		case typeTXT, typeSPF:
			if strings.HasPrefix(data, `"v=`) {
				return -1, 0
			}
			size += max(0, plainLen(data)-freeText)
		case typeCNAME, typeMX, typeSRV:
			size += max(0, plainLen(data)-freeTarget)
		default:
			if digits, unknown := strings.CutPrefix(data, `\# `); unknown {
				size += max(0, len(digits)/2-freeText)
			}
		}
		sum = sum*31 + uint32(dnsname.Hash(data))
	}
	return size, sum
}

// plainLen is the length of a text without the marks of its spelling.
func plainLen(data string) int {
	n := 0
	for i := 0; i < len(data); i++ {
		if data[i] == '\\' {
			i++
			if i < len(data) && '0' <= data[i] && data[i] <= '9' {
				i += 2
			}
		}
		n++
	}
	return n
}

// What a name or an answer of the types that tunnels like counts by itself.
const (
	worthRare    = 64
	worthCarried = 12
)

// sum is the most that the judge can make of a channel.
func (c *channel) sum() uint64 {
	return (c.up + c.down + c.rare*worthRare + c.carried*worthCarried) / sketch.Unit
}
