package passive

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// A network that invents devices, names and services without end fills nothing.
func TestBounds(t *testing.T) {
	o := observe(t, `{"max_devices": 16}`)
	for i := range 1000 {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		o.batch(sdk.Batch{ARP: []sdk.ARP{{Seen: link, Protocol: "arp", Operation: "reply", SenderMAC: "02:00:00:00:00:01", SenderIP: addr}}})
		o.batch(answers(sdk.DNS{Seen: mdns, Protocol: "mdns"}, fmt.Sprintf("_s%d._tcp.local", i), "PTR", strings.Repeat("x", 3000)))
	}
	if n, m := len(o.inst.devices.byIP), len(o.inst.devices.byCard); n != 16 || m != 0 {
		t.Errorf("%d devices, and %d without an address", n, m)
	}
	one := o.inst.devices.byIP[ip("192.168.1.5")]
	if one == nil {
		t.Fatal("the device that spoke last is forgotten")
	}
	if v := one.find("services").value; len(strings.Fields(v)) > maxEntries || len(v) > maxText {
		t.Errorf("%d bytes of services", len(v))
	}
	s := &said{time: start, ip: ip("10.0.0.1")}
	for i := range 500 {
		s.facts = s.facts.set(fmt.Sprint(i), strings.Repeat("é", 500))
	}
	out := o.inst.devices.learn(s)
	if len(out) != 1 || len(out[0].Facts) != maxFacts {
		t.Fatalf("%+v", out)
	}
	for _, v := range out[0].Facts {
		if len(v) > maxText || v != strings.ToValidUTF8(v, "") {
			t.Errorf("a fact of %d bytes: %q", len(v), v)
		}
	}
}

// What is kept lies in memory of its own, and what comes again and again costs none.
func TestRepetitionCostsNothing(t *testing.T) {
	o := observe(t, `{}`)
	answer := sdk.Batch{OT: []sdk.OT{{Seen: back, Protocol: "modbus", Response: true}}}
	o.batch(answer)
	if n := testing.AllocsPerRun(100, func() { o.batch(answer) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	served := message(back, "ftp", "banner", false)
	o.batch(served)
	if n := testing.AllocsPerRun(100, func() { o.batch(served) }); n > 0 {
		t.Errorf("%v allocations for a server of which no more is known", n)
	}
	for i := range 2 * maxMeanings {
		o.inst.means.of(fmt.Sprint("Linux ", i))
	}
	if n := len(o.inst.means); n > maxMeanings {
		t.Errorf("%d meanings are remembered", n)
	}
	for _, s := range []string{"", "a", "a b", " a", "a ", "a  b", "a\tb", "é", strings.Repeat("a", maxText+1)} {
		if want := strings.Join(strings.Fields(s), " "); isPlain(s) && text(s) != want {
			t.Errorf("%q became %q", s, text(s))
		}
	}
}

// A server that was told by its service alone is told again when it is due, in the next capture, and when it was forgotten; its
// other services are told, too.
func TestServersAreToldAgain(t *testing.T) {
	o := observe(t, `{"refresh": "1m", "max_devices": 16}`)
	say := func(after time.Duration, protocol string) int {
		seen := back
		seen.Time = start.Add(after)
		return len(o.batch(message(seen, protocol, "banner", false)))
	}
	crowd := func() {
		for i := range 16 {
			o.batch(sdk.Batch{ARP: []sdk.ARP{{Seen: link, Protocol: "arp", Operation: "reply", SenderIP: netip.AddrFrom4([4]byte{10, 9, 9, byte(i)})}}})
		}
	}
	for i, c := range []struct {
		after    time.Duration
		protocol string
		before   func()
		want     int
	}{
		{0, "ftp", nil, 1}, {time.Second, "ftp", nil, 0}, {2 * time.Second, "smtp", nil, 1}, {3 * time.Second, "smtp", nil, 0}, {63 * time.Second, "ftp", nil, 1},
		{64 * time.Second, "ftp", crowd, 1}, {65 * time.Second, "ftp", func() { _ = o.inst.EndCapture(t.Context(), o) }, 1},
	} {
		if c.before != nil {
			c.before()
		}
		if have := say(c.after, c.protocol); have != c.want {
			t.Errorf("%d: %d sightings, want %d", i, have, c.want)
		}
	}
}

// Of many devices, the one that was silent for longest is forgotten first.
func TestWhoIsForgotten(t *testing.T) {
	const most = 40
	d := newDevices(most, time.Hour)
	var order []netip.Addr // the one that spoke last at the end
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		s := &said{time: start, ip: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(60))})}
		if at := slices.Index(order, s.ip); at >= 0 {
			order = slices.Delete(order, at, at+1)
		} else if len(order) == most {
			order = order[1:]
		}
		order = append(order, s.ip)
		d.learn(s)
		if len(d.byIP) != len(order) || slices.ContainsFunc(order, func(a netip.Addr) bool { return d.byIP[a] == nil }) {
			t.Fatalf("after %d: %d devices, want %d that spoke last", i, len(d.byIP), len(order))
		}
	}
}
