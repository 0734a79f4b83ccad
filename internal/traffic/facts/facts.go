// Package facts turns what the parsers of application protocols say into the records that plugins subscribe to (sdk.DNS,
// sdk.TLS and so on), in batches of one kind.
//
// In go the app.Facts of the parsers, out come batches. Some records join several facts: a TLS handshake its hellos and
// certificates, an HTTP exchange its request and answer, a file the parts of a body. They are told as soon as they are complete,
// else when the flow ends, else when too much is waiting. Only the parsers run that a wanted kind needs.
//
// # Order
//
// A record comes before the flow that it belongs to: Flows empties all batches before it hands flows on. Between kinds the
// order is that of the capture within the size of a batch.
//
// # Memory
//
// What waits to be joined is bounded by number and by bytes over all flows, and the oldest goes out as it is. A batch is
// bounded by records and bytes. Lists and texts are cut to limits that real traffic stays below.
package facts

import (
	"slices"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/all"
	"github.com/picketwatch/picket/internal/traffic/app/ftp"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/http2"
	"github.com/picketwatch/picket/internal/traffic/app/login"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
	"github.com/picketwatch/picket/internal/traffic/app/smtp"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Config of a Maker.
type Config struct {
	// Kinds are the wanted kinds of sdk.FactKinds. With none protocols are recognised and no parser runs.
	Kinds []string
	// First, by kind, is how many of its facts from one flow are enough: the flow's first ones. Of other kinds all are told.
	First map[string]int
	// Without are parts of sdk.FactParts that nobody looks at.
	Without []string
	// Emit takes a frame (sdk/records) of facts of one kind, which is valid during the call. After an error it is not called again.
	Emit func(kind string, frame []byte) error
}

// Batches makes an Emit of a function that takes the facts themselves, which are valid during the call.
func Batches(emit func(kind string, b *sdk.Batch) error) func(string, []byte) error {
	var d records.BatchDecoder
	return func(kind string, frame []byte) error {
		b, err := d.Decode(frame)
		if err != nil {
			return err
		}
		return emit(kind, &b)
	}
}

// fileSources are the protocols whose parsers hand out files.
var fileSources = []string{"http", "http2", "smtp", "ftp", ftp.Data.Name, "smb"}

// sources are the protocols whose parsers a kind needs. What is listed nowhere else is needed by messages.
var sources = map[string][]string{
	sdk.FactsDNS:   {"dns", "mdns", "llmnr"},
	sdk.FactsTLS:   {"tls", "dtls", "quic"},
	sdk.FactsHTTP:  {"http", "http2"},
	sdk.FactsSMB:   {"smb"},
	sdk.FactsDHCP:  {"dhcp", "dhcpv6"},
	sdk.FactsARP:   {"arp", "ndp"},
	sdk.FactsOT:    {"modbus", "dnp3", "s7comm", "enip", "bacnet", "iec104", "opcua", "profinet-dcp"},
	sdk.FactsFiles: fileSources, sdk.FactsContents: fileSources,
	sdk.FactsLogins: {"http", "http2", "smb", "mqtt", "ftp", "smtp", "ldap", "kerberos", "rdp", "telnet", "imap", "pop3", "sip", "ssh"},
}

// ownRecord are the kinds whose protocols have a record of their own, and so say nothing as messages.
var ownRecord = []string{sdk.FactsDNS, sdk.FactsTLS, sdk.FactsHTTP, sdk.FactsSMB, sdk.FactsDHCP, sdk.FactsARP, sdk.FactsOT}

// needs reports whether a kind needs a protocol's parser.
func needs(kind, protocol string) bool {
	switch {
	case kind != sdk.FactsMessages:
		return slices.Contains(sources[kind], protocol)
	case protocol == ftp.Data.Name:
		return false // it has files and says nothing
	case protocol == "smb":
		return true // remote procedure calls in its pipes
	}
	return !slices.ContainsFunc(ownRecord, func(k string) bool { return slices.Contains(sources[k], protocol) })
}

// Maker makes records of the facts of one capture. It is not safe for concurrent use.
type Maker struct {
	emit   func(string, []byte) error
	err    error // the first one that emit returned
	wanted map[string]bool
	sent   bool                // of files those that clients sent do
	feeds  map[string][]*share // what a protocol feeds, where all of it is bounded
	engine *app.Engine
	heard  func(*app.Fact) // in tests

	dns      queue[sdk.DNS]
	tls      queue[sdk.TLS]
	http     queue[sdk.HTTP]
	smb      queue[sdk.SMB]
	dhcp     queue[sdk.DHCP]
	arp      queue[sdk.ARP]
	ot       queue[sdk.OT]
	files    queue[sdk.File]
	logins   queue[sdk.Login]
	messages queue[sdk.Message]
	contents queue[sdk.Content]
	held     contents

	handshakes joins[handshake]
	exchanges  joins[exchanges]
	bodies     joins[bodies]
	spare      []*stream
	unpack     unpacker
	sessions   joins[session]
	singles    map[uint64]*counters // of flows that are not TCP or UDP
	sasl       login.SASL           // to read one answer
	told, done planner              // of messages, and of what was done to controllers
	pairs      pairs                // of the record that is being made
	texts      texts
}

// New returns a Maker with an engine of its own for all protocols.
func New(cfg Config) (*Maker, error) {
	m := &Maker{emit: cfg.Emit, wanted: map[string]bool{}, feeds: map[string][]*share{}, singles: map[uint64]*counters{}}
	for _, kind := range cfg.Kinds {
		if err := checkKind(kind, cfg.First[kind]); err != nil {
			return nil, err
		}
		m.wanted[kind] = true
	}
	m.dns = newQueue[sdk.DNS](m, cfg.First, sdk.FactsDNS)
	m.tls = newQueue[sdk.TLS](m, cfg.First, sdk.FactsTLS)
	m.http = newQueue[sdk.HTTP](m, cfg.First, sdk.FactsHTTP)
	m.smb = newQueue[sdk.SMB](m, cfg.First, sdk.FactsSMB)
	m.dhcp = newQueue[sdk.DHCP](m, cfg.First, sdk.FactsDHCP)
	m.arp = newQueue[sdk.ARP](m, cfg.First, sdk.FactsARP)
	m.ot = newQueue[sdk.OT](m, cfg.First, sdk.FactsOT)
	m.files = newQueue[sdk.File](m, cfg.First, sdk.FactsFiles)
	m.logins = newQueue[sdk.Login](m, cfg.First, sdk.FactsLogins)
	m.messages = newQueue[sdk.Message](m, cfg.First, sdk.FactsMessages)
	m.contents = newQueue[sdk.Content](m, cfg.First, sdk.FactsContents)
	m.sent = slices.Contains(cfg.Without, sdk.PartReceived) && !m.contents.wanted
	m.ot.brief = slices.Contains(cfg.Without, sdk.PartDetails) && m.ot.first == 0
	m.told, m.done = newPlanner("response"), newPlanner(inRecord...)
	m.handshakes = newJoins(m.tellHandshake)
	m.exchanges = newJoins(m.tellExchanges)
	m.bodies = newJoins(m.tellBodies)
	m.sessions = newJoins(func(uint64, *session) {})
	engine := app.Config{Facts: m.sinks(), Closed: m.closed, Ended: m.ended}
	if m.messages.wanted {
		engine.Open = m.goesOn
	}
	m.engine = app.New(engine, protocols(m.carves()))
	return m, nil
}

// protocols are all of them; carve is whether they hand out files.
func protocols(carve bool) []app.Protocol {
	list := all.Protocols()
	for i := range list {
		switch {
		case !carve:
		case list[i].Name == "http":
			list[i] = http1.HTTP(http1.Config{Carve: maxFile})
		case list[i].Name == "smtp":
			list[i] = smtp.Carving
		case list[i].Name == "http2":
			list[i] = http2.Carving
		case list[i].Name == "ftp":
			list[i] = ftp.Carving
		case list[i].Name == "smb":
			list[i] = smb.Carving()
		}
	}
	return list
}

func (m *Maker) sinks() map[string]func(*app.Fact) {
	out := map[string]func(*app.Fact){}
	for _, p := range all.Protocols() {
		for kind := range m.wanted {
			if needs(kind, p.Name) {
				out[p.Name] = m.take
			}
		}
		if out[p.Name] != nil {
			m.feeds[p.Name] = m.bounded(p.Name)
		}
	}
	return out
}

// Engine recognises protocols and runs the parsers: it goes into flow.Config.Apps.
func (m *Maker) Engine() *app.Engine { return m.engine }

// Flows wraps what flows are emitted to, so that facts come before their flows.
func (m *Maker) Flows(emit func([]sdk.Flow) error) func([]sdk.Flow) error {
	return func(flows []sdk.Flow) error {
		if err := m.Flush(); err != nil {
			return err
		}
		return emit(flows)
	}
}

// Flush emits what is complete. Call it once more at the end, for facts without a flow.
func (m *Maker) Flush() error {
	m.dns.flush()
	m.tls.flush()
	m.http.flush()
	m.smb.flush()
	m.dhcp.flush()
	m.arp.flush()
	m.ot.flush()
	m.files.flush()
	m.logins.flush()
	m.messages.flush()
	m.contents.flush()
	return m.err
}

// closed tells what can no longer be completed, as the parser is through with the flow.
func (m *Maker) closed(f *app.Flow) {
	switch f.Protocol() {
	case "tls", "dtls", "quic":
		m.handshakes.end(f.ID)
	case "http", "http2":
		m.exchanges.end(f.ID)
		m.bodies.end(f.ID)
	case "smtp", ftp.Data.Name:
		m.bodies.end(f.ID)
	case "smb":
		m.bodies.end(f.ID)
		m.sessions.end(f.ID)
	case "mqtt":
		m.sessions.end(f.ID)
	}
}

// ended forgets what a parser that broke has left behind.
func (m *Maker) ended(flow uint64, _ string) {
	if len(m.engine.Panics()) > 0 {
		m.handshakes.end(flow)
		m.exchanges.end(flow)
		m.bodies.end(flow)
		m.sessions.end(flow)
	}
	if len(m.singles) > 0 {
		delete(m.singles, flow)
	}
}
