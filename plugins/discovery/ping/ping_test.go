package ping

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/ping") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/ping"), sdktest.Options{
		Config: []byte(`{"targets": ["127.0.0.1/32"]}`),
	})
}

// network is a host whose ICMP socket leads to made-up machines.
type network struct {
	sdk.Host
	answer func(from netip.Addr, request *icmp.Echo) []reply // what comes back for a request
	refuse error                                             // what sending answers, if set

	mu   sync.Mutex // guards sent
	sent []netip.Addr
}

type reply struct {
	from netip.Addr
	echo icmp.Echo
}

func (n *network) Now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func (n *network) ListenICMP(family string) (net.PacketConn, error) {
	if family != "ip4" {
		return nil, sdk.Errorf(sdk.Unsupported, "%s is not here", family)
	}
	return &socket{net: n, inbox: make(chan reply, 1024), closed: make(chan struct{})}, nil
}

func (n *network) asked() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent)
}

type socket struct {
	net.PacketConn
	net    *network
	inbox  chan reply
	closed chan struct{}
}

func (s *socket) LocalAddr() net.Addr { return &net.IPAddr{} }

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, _ := netip.AddrFromSlice(to.(*net.IPAddr).IP)
	addr = addr.Unmap()
	m, err := icmp.ParseMessage(1, b)
	if err != nil {
		return 0, err
	}
	s.net.mu.Lock()
	s.net.sent = append(s.net.sent, addr)
	s.net.mu.Unlock()
	if s.net.refuse != nil {
		return 0, s.net.refuse
	}
	for _, r := range s.net.answer(addr, m.Body.(*icmp.Echo)) {
		s.inbox <- r
	}
	return len(b), nil
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case <-s.closed:
		return 0, nil, net.ErrClosed
	case r := <-s.inbox:
		m := icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: &r.echo}
		packet, err := m.Marshal(nil)
		return copy(b, packet), &net.IPAddr{IP: r.from.AsSlice()}, err
	}
}

func (s *socket) Close() error {
	close(s.closed)
	return nil
}

func honest(from netip.Addr, request *icmp.Echo) []reply { return []reply{{from, *request}} }

type sightings []sdk.Sighting

func (s *sightings) Sighting(one sdk.Sighting) error {
	*s = append(*s, one)
	return nil
}

func (s sightings) addresses() string {
	var out []netip.Addr
	for _, one := range s {
		out = append(out, one.IP)
	}
	return join(out)
}

func join(addrs []netip.Addr) string {
	slices.SortFunc(addrs, netip.Addr.Compare)
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return strings.Join(out, " ")
}

func scope(prefixes ...string) sdk.Scope {
	var s sdk.Scope
	for _, p := range prefixes {
		s.Prefixes = append(s.Prefixes, netip.MustParsePrefix(p))
	}
	return s
}

func targets(s sdk.Scope) string {
	var out []string
	for _, p := range s.Prefixes {
		out = append(out, strconv.Quote(p.String()))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// fast keeps the sweeps of the tests short; the silent machines cost their timeout.
const fast = `"rate": 10000, "timeout": "300ms"`

func discover(t *testing.T, host sdk.Host, config string, in sdk.Scope) (sightings, error) {
	t.Helper()
	d := New()
	if !strings.Contains(config, "targets") { // ask for all that is allowed
		config = strings.Replace(config, "{", `{"targets": `+targets(in)+`, `, 1)
	}
	plugintest.Configure(t, d, config)
	if err := d.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	var got sightings
	err := d.Discover(t.Context(), in, &got)
	return got, err
}

func TestAnswersAreSighted(t *testing.T) {
	n := &network{answer: func(from netip.Addr, request *icmp.Echo) []reply {
		if from.As4()[3]%2 == 1 {
			return nil
		}
		return honest(from, request)
	}}
	got, err := discover(t, n, `{`+fast+`}`, scope("192.0.2.0/29"))
	if err != nil {
		t.Fatal(err)
	}
	if got.addresses() != "192.0.2.2 192.0.2.4 192.0.2.6" {
		t.Errorf("sighted %s", got.addresses())
	}
	for _, s := range got {
		if rtt, err := strconv.ParseFloat(s.Facts["rtt_seconds"], 64); err != nil || rtt < 0 || rtt > 60 {
			t.Errorf("rtt_seconds = %q", s.Facts["rtt_seconds"])
		}
		if s.Confidence != 0.9 || !s.Time.Equal(n.Now()) || s.MAC != "" {
			t.Errorf("sighting %+v", s)
		}
	}
	if asked := join(n.asked()); asked != "192.0.2.1 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.5 192.0.2.6" {
		t.Errorf("asked %s: the silent ones twice, the others once", asked)
	}
}

func TestLostRequestIsRepeated(t *testing.T) {
	var mu sync.Mutex
	lost := map[netip.Addr]int{}
	n := &network{answer: func(from netip.Addr, request *icmp.Echo) []reply {
		mu.Lock()
		defer mu.Unlock()
		if lost[from]++; lost[from] <= 2 {
			return nil
		}
		return honest(from, request)
	}}
	if got, _ := discover(t, n, `{`+fast+`, "retries": 1}`, scope("192.0.2.1/32")); len(got) != 0 {
		t.Errorf("one retry after two losses: %v", got)
	}
	clear(lost)
	if got, _ := discover(t, n, `{`+fast+`, "retries": 2}`, scope("192.0.2.1/32")); len(got) != 1 {
		t.Errorf("two retries after two losses: %v", got)
	}
}

func TestForeignAnswersAreNotBelieved(t *testing.T) {
	other := netip.MustParseAddr("198.51.100.9")
	for what, answer := range map[string]func(netip.Addr, *icmp.Echo) []reply{
		"from another address": func(_ netip.Addr, r *icmp.Echo) []reply { return []reply{{other, *r}} },
		"with another token": func(from netip.Addr, r *icmp.Echo) []reply {
			data := slices.Clone(r.Data)
			data[0] ^= 1
			return []reply{{from, icmp.Echo{ID: r.ID, Seq: r.Seq, Data: data}}}
		},
		"to an earlier request": func(from netip.Addr, r *icmp.Echo) []reply {
			data := slices.Clone(r.Data)
			data[len(data)-1]--
			return []reply{{from, icmp.Echo{ID: r.ID, Seq: r.Seq, Data: data}}}
		},
		"with more data": func(from netip.Addr, r *icmp.Echo) []reply {
			return []reply{{from, icmp.Echo{ID: r.ID, Seq: r.Seq, Data: append(slices.Clone(r.Data), 0)}}}
		},
		"without data": func(from netip.Addr, r *icmp.Echo) []reply { return []reply{{from, icmp.Echo{ID: r.ID, Seq: r.Seq}}} },
	} {
		t.Run(what, func(t *testing.T) {
			got, err := discover(t, &network{answer: answer}, `{`+fast+`}`, scope("192.0.2.0/29"))
			if err != nil || len(got) != 0 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestDuplicatesCountOnce(t *testing.T) {
	n := &network{answer: func(from netip.Addr, r *icmp.Echo) []reply { return []reply{{from, *r}, {from, *r}, {from, *r}} }}
	got, err := discover(t, n, `{`+fast+`}`, scope("192.0.2.0/29"))
	if err != nil || len(got) != 6 {
		t.Errorf("%d sightings, %v", len(got), err)
	}
}

func TestNothingOutsideTheScopeIsAsked(t *testing.T) {
	n := &network{answer: honest}
	got, err := discover(t, n, `{`+fast+`, "targets": ["192.0.0.0/16", "10.0.0.0/8"]}`, scope("192.0.2.0/29", "198.51.100.1/32"))
	if err != nil {
		t.Fatal(err)
	}
	if got.addresses() != "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6" {
		t.Errorf("sighted %s", got.addresses())
	}
	for _, a := range n.asked() {
		if !scope("192.0.2.0/29").Contains(a) {
			t.Errorf("asked %s", a)
		}
	}
}

func TestTooLargeARangeIsRefusedBeforeAnythingIsSent(t *testing.T) {
	n := &network{answer: honest}
	_, err := discover(t, n, `{"max_addresses": 100}`, scope("192.0.2.0/24"))
	if sdk.ClassOf(err) != sdk.InvalidConfig || !strings.Contains(err.Error(), "256 addresses and max_addresses is 100") {
		t.Errorf("error %v", err)
	}
	if len(n.asked()) != 0 {
		t.Errorf("asked %v", n.asked())
	}
}

func TestOneFamilyMissing(t *testing.T) {
	got, err := discover(t, &network{answer: honest}, `{`+fast+`}`, scope("192.0.2.1/32", "2001:db8::1/128"))
	if sdk.ClassOf(err) != sdk.Unsupported || !strings.Contains(err.Error(), "ip6") {
		t.Errorf("error %v", err)
	}
	if got.addresses() != "192.0.2.1" {
		t.Errorf("sighted %s", got.addresses())
	}
}

func TestSendingThatIsRefusedIsAnError(t *testing.T) {
	n := &network{answer: honest, refuse: os.NewSyscallError("sendto", os.ErrPermission)}
	_, err := discover(t, n, `{`+fast+`}`, scope("192.0.2.0/30"))
	if err == nil || !strings.Contains(err.Error(), "none of 4 echo requests could be sent") {
		t.Errorf("error %v", err)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	d := New()
	plugintest.Configure(t, d, `{"targets": ["192.0.2.0/27"], "rate": 10000, "concurrency": 3, "timeout": "30s"}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	third := make(chan struct{}, 1)
	n := &network{}
	n.answer = func(netip.Addr, *icmp.Echo) []reply { // nobody answers, so three requests hold all three places
		if len(n.asked()) == 3 {
			third <- struct{}{}
		}
		return nil
	}
	if err := d.Start(ctx, n); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- d.Discover(ctx, scope("192.0.2.0/27"), &sightings{}) }()
	<-third
	time.Sleep(50 * time.Millisecond) // time in which a fourth would be asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(n.asked()) != 3 {
		t.Errorf("%d addresses were waited for at once", len(n.asked()))
	}
}

func TestCancelledSweepEnds(t *testing.T) {
	d := New()
	plugintest.Configure(t, d, `{"targets": ["192.0.2.0/24"], "timeout": "30s", "rate": 10000}`)
	ctx, cancel := context.WithCancel(t.Context())
	n := &network{answer: func(netip.Addr, *icmp.Echo) []reply { cancel(); return nil }}
	if err := d.Start(ctx, n); err != nil {
		t.Fatal(err)
	}
	if err := d.Discover(ctx, scope("192.0.2.0/24"), &sightings{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type full struct{ err error }

func (f full) Sighting(sdk.Sighting) error { return f.err }

func TestSinkErrorEndsTheSweep(t *testing.T) {
	d := New()
	plugintest.Configure(t, d, `{"targets": ["192.0.2.0/24"], `+fast+`}`)
	n := &network{answer: honest}
	if err := d.Start(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("full")
	if err := d.Discover(t.Context(), scope("192.0.2.0/24"), full{stop}); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{}`,
		`{"targets": []}`,
		`{"targets": ["192.0.2.1"]}`,
		`{"targets": ["192.0.2.0/24"], "rate": 0}`,
		`{"targets": ["192.0.2.0/24"], "max_addresses": 100000}`,
		`{"targets": ["192.0.2.0/24"], "range": "x"}`,
	} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// TestRealNetwork sweeps real kernels in namespaces, over both kinds of socket.
func TestRealNetwork(t *testing.T) {
	if !plugintest.InNetwork(t,
		[]string{"192.0.2.1/24", "2001:db8::1/64"},
		[]string{"192.0.2.2/24", "192.0.2.3/24", "192.0.2.77/24", "2001:db8::2/64", "2001:db8::99/64"}) {
		return
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, host := range map[string]realHost{
		"raw socket":          {ip4: "ip4:icmp", ip6: "ip6:ipv6-icmp"},
		"unprivileged socket": {ip4: "udp4", ip6: "udp6"},
	} {
		got, err := discover(t, host, `{"rate": 10000, "timeout": "500ms"}`, scope("192.0.2.0/29", "2001:db8::/125"))
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if want := "192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1 2001:db8::2"; got.addresses() != want {
			t.Errorf("%s: sighted %s, want %s", what, got.addresses(), want)
		}
	}
	// Whoever asks for an address leaves a trace in the kernel's neighbour table, answered or not.
	table := plugintest.IP(t, "neigh")
	if !strings.Contains(table, "192.0.2.2 ") {
		t.Errorf("the table does not show what was asked:\n%s", table)
	}
	for line := range strings.Lines(table) {
		addr, err := netip.ParseAddr(strings.Fields(line)[0])
		if err == nil && !addr.IsLinkLocalUnicast() && !scope("192.0.2.0/29", "2001:db8::/125").Contains(addr) {
			t.Errorf("the sweep touched %s", addr)
		}
	}
}

// realHost opens sockets of the kernel, as a host that granted net.raw does.
type realHost struct {
	sdk.Host
	ip4, ip6 string
}

func (realHost) Now() time.Time { return time.Now() }

func (h realHost) ListenICMP(family string) (net.PacketConn, error) {
	if family == "ip6" {
		return icmp.ListenPacket(h.ip6, "::")
	}
	return icmp.ListenPacket(h.ip4, "0.0.0.0")
}
