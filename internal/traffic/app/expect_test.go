package app

import (
	"net/netip"
	"testing"
)

// A connection is met once, by its ends and in time; nobody announces those of others, and there is a bound.
func TestExpect(t *testing.T) {
	p := Protocol{Name: "data", NewStream: func() StreamParser { return &expected{} }}
	f := TestFlow(p, 6, func(*Fact) {})
	e := f.engine
	addr := netip.MustParseAddrPort
	f.Client, f.Server, f.Time = addr("10.0.0.5:40000"), addr("10.0.0.1:21"), 1e9
	meet := func(client, server string, at int64) any {
		c := &conn{engine: e}
		c.flow = Flow{Client: addr(client), Server: addr(server), Time: at, engine: e}
		e.meet(c)
		return c.flow.About()
	}
	f.Expect(addr("10.0.0.1:5000"), "data", "passive")
	f.Expect(addr("10.0.0.5:6000"), "data", "active")
	f.Expect(addr("10.0.0.9:443"), "data", "of somebody else")
	f.Expect(addr("10.0.0.1:7000"), "unknown", "unknown")
	for _, c := range []struct {
		client, server string
		at             int64
		want           any
	}{
		{"10.0.0.6:1", "10.0.0.1:5000", 2e9, nil}, {"10.0.0.5:1", "10.0.0.1:5000", 2e9, "passive"}, {"10.0.0.5:1", "10.0.0.1:5000", 2e9, nil},
		{"10.0.0.1:20", "10.0.0.5:6000", 2e9, "active"}, {"10.0.0.5:1", "10.0.0.9:443", 2e9, nil}, {"10.0.0.5:1", "10.0.0.1:7000", 2e9, nil},
	} {
		if got := meet(c.client, c.server, c.at); got != c.want {
			t.Errorf("%s to %s: %v, want %v", c.client, c.server, got, c.want)
		}
	}
	f.Expect(addr("10.0.0.1:5001"), "data", "late")
	if got := meet("10.0.0.5:1", "10.0.0.1:5001", 1e9+expectFor+1); got != nil {
		t.Errorf("after its time: %v", got)
	}
	for port := range uint16(maxExpected + 10) {
		f.Expect(netip.AddrPortFrom(f.Server.Addr(), port+1), "data", int(port))
	}
	if len(e.expected) != maxExpected || len(e.announced) != maxExpected {
		t.Errorf("%d are expected, %d announced", len(e.expected), len(e.announced))
	}
	if a, b := meet("10.0.0.5:1", "10.0.0.1:1", 1e9), meet("10.0.0.5:1", "10.0.0.1:4000", 1e9); a != nil || b != 3999 {
		t.Errorf("the oldest %v, a later one %v", a, b)
	}
}

type expected struct{}

func (*expected) Start(*Flow)                {}
func (*expected) Data(Dir, []byte, int) Next { return Continue }
func (*expected) Close()                     {}
