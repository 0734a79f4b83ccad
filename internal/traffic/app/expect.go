package app

import "net/netip"

// Limits of what is expected.
const (
	maxExpected = 4096
	expectFor   = 2 * 60 * 1e9 // nanoseconds
)

// meeting is a connection that another one has announced: where it goes to, and who opens it.
type meeting struct {
	to   netip.AddrPort
	from netip.Addr
	vlan uint16
}

// expectation is what is known of such a connection.
type expectation struct {
	protocol int
	about    any
	until    int64
}

// Expect tells that one end of the flow will connect to a port of the other one, and that the connection carries a protocol
// which nothing in it tells, such as the data of FTP. About is for its parser. Nobody can announce connections of others.
func (f *Flow) Expect(to netip.AddrPort, protocol string, about any) {
	e := f.engine
	m := meeting{to: to, from: f.Client.Addr(), vlan: f.VLAN}
	switch to.Addr() {
	case f.Server.Addr():
	case f.Client.Addr():
		m.from = f.Server.Addr()
	default:
		return
	}
	for i := range e.protocols {
		if e.protocols[i].Name == protocol && e.sinks[i] != nil {
			e.expect(m, expectation{i, about, f.Time + expectFor})
		}
	}
}

func (e *Engine) expect(m meeting, x expectation) {
	if e.expected == nil {
		e.expected = map[meeting]expectation{}
	}
	if _, known := e.expected[m]; !known {
		if len(e.announced) == maxExpected {
			delete(e.expected, e.announced[0])
			e.announced = append(e.announced[:0], e.announced[1:]...)
		}
		e.announced = append(e.announced, m)
	}
	e.expected[m] = x
}

// meet starts the parser of a connection that was announced.
func (e *Engine) meet(c *conn) {
	f := &c.flow
	for _, ends := range [2][2]netip.AddrPort{{f.Client, f.Server}, {f.Server, f.Client}} {
		m := meeting{to: ends[1], from: ends[0].Addr(), vlan: f.VLAN}
		x, known := e.expected[m]
		if !known {
			continue
		}
		delete(e.expected, m)
		for i := range e.announced {
			if e.announced[i] == m {
				e.announced = append(e.announced[:i], e.announced[i+1:]...)
				break
			}
		}
		if f.Time <= x.until {
			f.about = x.about
			c.accept(match{protocol: x.protocol})
		}
		return
	}
}

// About is what was said of the flow when it was expected, nil when it was not.
func (f *Flow) About() any { return f.about }
