package lateral

import (
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
	maxTicket = 64 // services of one host
)

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
	case "tgs-req":
		if first, _, _ := strings.Cut(r.Fields["encryptions"], ","); first == rc4 {
			m.old.add(r.Flow, 1)
		}
	case "tgs-rep":
		m.noteController(bare.Of(r.Server))
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

// ofMachine reports whether services of a class run as their machine, which is so where nobody says otherwise.
func ofMachine(class string) bool {
	for _, one := range [...]string{"cifs", "host", "ldap", "dns", "gc", "rpcss", "rpc", "termsrv", "wsman", "restrictedkrbhost", "e3514235-4b06-11d1-ab04-00c04fc2dcd2"} {
		if strings.EqualFold(class, one) {
			return true
		}
	}
	return false
}
