package lateral

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// Tickets with RC4 can be guessed at a thousand times as fast as others, so whoever wants to guess asks for it, though every
// Windows since 2008 can do better.
const (
	rc4       = "23"
	together  = int64(10 * time.Minute)
	maxAskers = 4096
	maxTicket = 64   // services of one host
	maxWeak   = 4096 // services with weak tickets that were told
)

// weakTicket is the rule of a service whose tickets give its password away though its domain can do better. One of them is what any
// Windows asks for where an administrator has left an account as it was, and what somebody asks for who guesses passwords: the ticket is
// the same. So it is told once for a service, as something to mend.
var weakTicket = sdk.Rule{
	ID: "weak-ticket", Purpose: "A service of an account got a ticket with RC4 in a domain that gives others AES.", Techniques: []string{"T1558.003"}, Severity: sdk.SeverityLow,
	FalsePositives: []string{"Services that know nothing better than RC4: their passwords can be guessed all the same."},
}

// asker is a host that got tickets with RC4.
type asker struct {
	addr, from  bare.Addr // from is who gave the tickets
	number      uint64
	first, last int64
	services    []uint64 // by their names
	downgraded  int      // of these, for accounts of people, and asked for with nothing better
	told        uint32
	names       []string
	packets     []uint64
	refs        []ref
}

// kerberos looks at who answers as a domain controller, and at tickets.
func (d *Detector) kerberos(r *sdk.Message, sink sdk.FindingSink) error {
	m := &d.memory
	switch r.Name {
	case "as-rep":
		m.noteController(bare.Of(r.Server))
		m.noteStrong(r, r.Fields["ticket"])
	case "tgs-req":
		if first, _, _ := strings.Cut(r.Fields["encryptions"], ","); first == rc4 {
			m.old.add(r.Flow, 1)
		}
		m.noteStrong(r, r.Fields["presented"])
	case "tgs-rep":
		m.noteController(bare.Of(r.Server))
		m.noteStrong(r, r.Fields["ticket"])
		if r.Fields["ticket"] == rc4 {
			return d.ticket(r, sink)
		}
	}
	return nil
}

// ticket remembers a ticket with RC4. Those of the domain itself and of machines, whose passwords nobody guesses, are no matter.
func (d *Detector) ticket(r *sdk.Message, sink sdk.FindingSink) error {
	m, name := &d.memory, r.Fields["service"]
	class, _, _ := strings.Cut(name, "/")
	if strings.EqualFold(class, "krbtgt") || strings.EqualFold(class, "kadmin") || strings.HasSuffix(name, "$") || name == "" {
		return nil
	}
	if err := d.weak(r, class, name, sink); err != nil {
		return err
	}
	at, addr := r.Time.UnixNano(), bare.Of(r.Client)
	t := m.askers[addr]
	if t != nil && at-t.last > together {
		if err := d.judgeTickets(t, true, sink); err != nil {
			return err
		}
		delete(m.askers, addr)
		t = nil
	}
	if t == nil {
		if len(m.askers) >= maxAskers {
			m.sweep(at)
		}
		if len(m.askers) >= maxAskers {
			m.forgotten++
			return nil
		}
		m.next++
		t = &asker{addr: addr, from: bare.Of(r.Server), number: m.next, first: at}
		m.askers[addr] = t
	}
	t.last = max(t.last, at)
	h := hash(offset, name)
	if len(t.services) >= maxTicket || slices.Contains(t.services, h) {
		return nil
	}
	t.services = append(t.services, h)
	if _, asked := m.old.flows[r.Flow]; asked && !ofMachine(class) {
		t.downgraded++
	}
	if len(t.names) < maxNames {
		t.names = append(t.names, strings.Clone(strings.ToValidUTF8(name[:min(len(name), maxName)], "")))
	}
	if len(t.packets) < maxPackets {
		t.packets = append(t.packets, r.Packet)
	}
	if len(t.refs) < maxFlows && r.Flow > 0 && !slices.ContainsFunc(t.refs, func(o ref) bool { return o.flow == r.Flow }) {
		t.refs = append(t.refs, ref{r.Flow, r.ClientPort, r.ServerPort, r.Proto})
	}
	return d.judgeTickets(t, false, sink)
}

// noteStrong remembers who gives tickets with AES, or takes one that it gave: who asks for a ticket to a service brings the first one.
func (m *memory) noteStrong(r *sdk.Message, encryption string) {
	const aes128, aes256 = "17", "18"
	if (encryption == aes128 || encryption == aes256) && len(m.strong) < maxControllers {
		m.strong[bare.Of(r.Server)] = struct{}{}
	}
}

// weak tells of a service whose tickets are weaker than those of its domain. What was asked for so is told otherwise.
func (d *Detector) weak(r *sdk.Message, class, name string, sink sdk.FindingSink) error {
	m := &d.memory
	_, asked := m.old.flows[r.Flow]
	_, strong := m.strong[bare.Of(r.Server)]
	h := hash(offset, name)
	if _, told := m.weak[h]; asked || !strong || told || ofMachine(class) || len(m.weak) >= maxWeak {
		return nil
	}
	m.weak[h] = struct{}{}
	const confidence = 0.3
	client, server := r.Client.Unmap(), r.Server.Unmap()
	return sink.Finding(sdk.Finding{
		ID: strings.ToValidUTF8(name[:min(len(name), maxName)], ""), Detector: "picket/lateral", Rule: weakTicket.ID, Severity: sdk.SeverityLow, Risk: risk(sdk.SeverityLow, confidence),
		Confidence: confidence, Techniques: weakTicket.Techniques, Src: client.String(), Dst: server.String(), Start: r.Time, End: r.Time, Packets: []uint64{r.Packet},
		Flows: flows([]ref{{r.Flow, r.ClientPort, r.ServerPort, r.Proto}}, client, server), Features: map[string]float64{"services": 1},
		Summary: fmt.Sprintf("the password of %s can be guessed by who has a ticket for it, as %s has: it is of RC4, and %s can do AES",
			strings.ToValidUTF8(name[:min(len(name), maxName)], ""), client, server),
	})
}

// ofMachine reports whether services of a class run as their machine, which is so where nobody says otherwise.
func ofMachine(class string) bool {
	for _, one := range [...]string{"cifs", "host", "ldap", "dns", "gc", "rpcss", "rpc", "termsrv", "wsman", "restrictedkrbhost", "e3514235-4b06-11d1-ab04-00c04fc2dcd2"} {
		if strings.EqualFold(class, one) {
			return true
		}
	}
	return false
}
