package arp

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/arp") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/arp"), sdktest.Options{
		Config: []byte(`{"targets": ["127.0.0.1/32"], "trigger": true, "wait": "10ms"}`),
	})
}

// dialler is a host that notes where datagrams go.
type dialler struct {
	sdk.Host
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	dialed []string
}

func (d *dialler) Now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func (d *dialler) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.dialed = append(d.dialed, network+" "+address)
	if d.dial != nil {
		return d.dial(ctx, network, address)
	}
	return nil, errors.New("no route to host")
}

type sightings []sdk.Sighting

func (s *sightings) Sighting(one sdk.Sighting) error {
	*s = append(*s, one)
	return nil
}

func scope(prefixes ...string) sdk.Scope {
	var s sdk.Scope
	for _, p := range prefixes {
		s.Prefixes = append(s.Prefixes, netip.MustParsePrefix(p))
	}
	return s
}

// discover runs the plugin over a made-up table, or over the kernel's when table is nil.
func discover(t *testing.T, host sdk.Host, table []neighbour, config string, in sdk.Scope) (sightings, error) {
	t.Helper()
	d := New()
	if table != nil {
		d.table = func(sdk.Host) ([]neighbour, error) { return table, nil }
		d.pause = func(context.Context, time.Duration) {}
	}
	plugintest.Configure(t, d, config)
	if err := d.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	var got sightings
	err := d.Discover(t.Context(), in, &got)
	return got, err
}

func entry(addr, mac, iface string, s state) neighbour {
	return neighbour{addr: netip.MustParseAddr(addr), mac: mac, iface: iface, state: s}
}

var office = []neighbour{
	entry("192.0.2.1", "02:00:00:00:00:01", "eth0", stateReachable),
	entry("192.0.2.2", "02:00:00:00:00:02", "eth0", stateStale),
	entry("192.0.2.3", "", "eth0", stateIncomplete),
	entry("192.0.2.4", "02:00:00:00:00:04", "eth0", stateFailed), // it was there once
	entry("192.0.2.5", "00:00:00:00:00:00", "eth0", statePermanent),
	entry("192.0.2.255", "ff:ff:ff:ff:ff:ff", "eth0", stateNoARP),
	entry("224.0.0.22", "01:00:5e:00:00:16", "eth0", stateNoARP),
	entry("198.51.100.9", "02:00:00:00:00:09", "eth0", stateReachable),
	entry("192.0.2.6", "02:00:00:00:00:06", "docker0", statePermanent),
	entry("fe80::1", "02:00:00:00:00:01", "eth0", stateProbe),
	entry("ff02::1", "33:33:00:00:00:01", "eth0", stateNoARP),
}

func TestNeighboursAreSighted(t *testing.T) {
	host := &dialler{}
	got, err := discover(t, host, office, `{"interfaces": {"exclude": ["docker*"]}}`, scope("192.0.2.0/24", "fe80::/10"))
	if err != nil {
		t.Fatal(err)
	}
	sighting := func(addr, mac, state string, confidence float64) sdk.Sighting {
		return sdk.Sighting{
			Time: host.Now(), IP: netip.MustParseAddr(addr), MAC: mac, Confidence: confidence,
			Facts: map[string]string{"interface": "eth0", "neighbour_state": state},
		}
	}
	want := sightings{
		sighting("192.0.2.1", "02:00:00:00:00:01", "reachable", .95),
		sighting("192.0.2.2", "02:00:00:00:00:02", "stale", .6),
		sighting("fe80::1", "02:00:00:00:00:01", "probe", .95),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("sightings (-want +got):\n%s", diff)
	}
	if len(host.dialed) != 0 {
		t.Errorf("something was sent without trigger: %v", host.dialed)
	}
}

func TestTargetsNarrowTheScope(t *testing.T) {
	got, err := discover(t, &dialler{}, office, `{"targets": ["192.0.2.2/31", "198.51.100.0/24"]}`, scope("192.0.2.0/24"))
	if err != nil || len(got) != 1 || got[0].IP.String() != "192.0.2.2" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEmptyScopeIsRefused(t *testing.T) {
	if _, err := discover(t, &dialler{}, office, `{}`, sdk.Scope{}); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("error %v", err)
	}
}

func TestTriggerStaysInTheScope(t *testing.T) {
	host := &dialler{}
	config := `{"trigger": true, "rate": 5000, "targets": ["192.0.2.0/28", "203.0.113.0/24", "fe80::/120"]}`
	got, err := discover(t, host, office, config, scope("192.0.2.0/29", "fe80::/10"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"udp 192.0.2.1:9", "udp 192.0.2.2:9", "udp 192.0.2.3:9", "udp 192.0.2.4:9", "udp 192.0.2.5:9", "udp 192.0.2.6:9"}
	if !reflect.DeepEqual(host.dialed, want) {
		t.Errorf("sent to %v", host.dialed)
	}
	if len(got) == 0 {
		t.Error("the table was not read, because no datagram found a way")
	}
}

func TestTriggerWithoutAGrantIsAnError(t *testing.T) {
	host := &dialler{dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, sdk.Errorf(sdk.PermissionDenied, "no grant")
	}}
	_, err := discover(t, host, office, `{"trigger": true, "targets": ["192.0.2.0/24"]}`, scope("192.0.2.0/24"))
	if sdk.ClassOf(err) != sdk.PermissionDenied || len(host.dialed) != 1 {
		t.Errorf("error %v after %d datagrams", err, len(host.dialed))
	}
}

func TestTriggerRefusesALargeRange(t *testing.T) {
	host := &dialler{}
	_, err := discover(t, host, office, `{"trigger": true, "targets": ["10.0.0.0/8"]}`, scope("10.0.0.0/8"))
	if sdk.ClassOf(err) != sdk.InvalidConfig || len(host.dialed) != 0 {
		t.Errorf("error %v after %d datagrams", err, len(host.dialed))
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{`{"trigger": true}`, `{"trigger": true, "targets": ["2001:db8::/64"]}`, `{"targets": ["eth0"]}`, `{"rate": 0}`, `{"interface": "eth0"}`} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func TestParseProc(t *testing.T) {
	const text = `IP address       HW type     Flags       HW address            Mask     Device
192.0.2.1        0x1         0x2         02:FC:00:00:00:05     *        eth0
192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        eth0
192.0.2.8        0x1         0x6         02:fc:00:00:00:08     *        br-lan
`
	got, err := parseProc(strings.NewReader(text))
	want := []neighbour{
		entry("192.0.2.1", "02:fc:00:00:00:05", "eth0", stateStale),
		entry("192.0.2.7", "00:00:00:00:00:00", "eth0", stateIncomplete),
		entry("192.0.2.8", "02:fc:00:00:00:08", "br-lan", statePermanent),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = parseProc(strings.NewReader(text + "nonsense\n192.0.2.9 0x1 0x2 02:fc:00:00:00:09 * eth0\n"))
	if err == nil || !strings.Contains(err.Error(), `line "nonsense"`) || len(got) != 4 {
		t.Errorf("a bad line: %d entries, %v", len(got), err)
	}
}

// message builds one netlink message as the kernel would.
func message(kind uint16, body []byte) []byte {
	b := make([]byte, nlHeaderLen, nlHeaderLen+len(body))
	binary.NativeEndian.PutUint32(b, uint32(nlHeaderLen+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	b = append(b, body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func neighbourBody(ifindex int32, s state, attrs ...[]byte) []byte {
	b := make([]byte, neighLen)
	binary.NativeEndian.PutUint32(b[4:], uint32(ifindex))
	binary.NativeEndian.PutUint16(b[8:], uint16(s))
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

func attr(kind uint16, value ...byte) []byte {
	b := make([]byte, attrLen)
	binary.NativeEndian.PutUint16(b, uint16(attrLen+len(value)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestARouterIsSaidToBeOne(t *testing.T) {
	n := entry("fe80::1", "02:00:00:00:00:0a", "eth0", stateReachable)
	if got := n.sighting(time.Time{}).Facts["role"]; got != "" {
		t.Errorf("any neighbour is a %s", got)
	}
	n.router = true
	if got := n.sighting(time.Time{}).Facts["role"]; got != "router" {
		t.Errorf("role %q", got)
	}
}

func TestParseNetlink(t *testing.T) {
	good := message(rtmNewNeigh, neighbourBody(3, stateReachable, attr(attrDst, 192, 0, 2, 1), attr(attrLLAddr, 2, 0, 0, 0, 0, 0xa), attr(99, 1, 2, 3)))
	without := message(rtmNewNeigh, neighbourBody(3, stateFailed, attr(attrDst, 192, 0, 2, 2)))
	noAddress := message(rtmNewNeigh, neighbourBody(3, stateFailed))
	announced := neighbourBody(3, stateReachable, attr(attrDst, netip.MustParseAddr("fe80::1").AsSlice()...))
	announced[10] = neighRouter
	router := entry("fe80::1", "", "", stateReachable)
	router.router = true
	want := []row{
		{router, 3},
		{entry("192.0.2.1", "02:00:00:00:00:0a", "", stateReachable), 3},
		{entry("192.0.2.2", "", "", stateFailed), 3},
	}
	dump := append(append(append(append(message(rtmNewNeigh, announced), good...), noAddress...), without...), message(nlDone, nil)...)
	got, err := parseNetlink(dump)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for what, c := range map[string]struct {
		dump []byte
		rows int
	}{
		"cut message":         {append(append([]byte{}, good...), good[:len(good)-4]...), 1},
		"length of nothing":   {append(append([]byte{}, good...), make([]byte, 16)...), 1},
		"error of the kernel": {append(append([]byte{}, good...), message(nlError, make([]byte, 4))...), 1},
	} {
		if rows, err := parseNetlink(c.dump); err == nil || len(rows) != c.rows {
			t.Errorf("%s: %d rows, %v", what, len(rows), err)
		}
	}
}

func FuzzParseNetlink(f *testing.F) {
	f.Add(message(rtmNewNeigh, neighbourBody(3, stateReachable, attr(attrDst, 192, 0, 2, 1), attr(attrLLAddr, 2, 0, 0, 0, 0, 1))))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, _ := parseNetlink(b)
		for _, r := range rows {
			if !r.addr.IsValid() {
				t.Errorf("a row without an address from %x", b)
			}
		}
	})
}

func FuzzParseProc(f *testing.F) {
	f.Add("IP address\n192.0.2.1 0x1 0x2 02:fc:00:00:00:05 * eth0\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, _ := parseProc(strings.NewReader(text))
		for _, r := range rows {
			if !r.addr.IsValid() || r.mac == "" {
				t.Errorf("a row without address or hardware address from %q", text)
			}
		}
	})
}

// TestRealTable fills a real kernel's table in namespaces and compares with what the program ip says of it.
func TestRealTable(t *testing.T) {
	if !plugintest.InNetwork(t,
		[]string{"192.0.2.1/24", "2001:db8::1/64"},
		[]string{"192.0.2.2/24", "192.0.2.77/24", "2001:db8::2/64"}) {
		return
	}
	host := &dialler{dial: (&net.Dialer{}).DialContext}
	ask(t, "[2001:db8::2]:9") // the kernel learns IPv6 neighbours by itself; here, by this

	got := untilSighted(t, host, `{"trigger": true, "targets": ["192.0.2.0/29", "2001:db8::/64"], "wait": "200ms"}`, 2)
	mac := farMAC(t)
	for _, s := range got {
		if s.MAC != mac || s.Facts["interface"] != "near0" {
			t.Errorf("%+v, want the hardware address %s", s, mac)
		}
	}
	if got[0].IP.Is4() == got[1].IP.Is4() {
		t.Errorf("sighted %v and %v, want one of each family", got[0].IP, got[1].IP)
	}
	for line := range strings.Lines(plugintest.IP(t, "-4", "neigh")) {
		if addr := netip.MustParseAddr(strings.Fields(line)[0]); !scope("192.0.2.0/29").Contains(addr) {
			t.Errorf("trigger touched %s", addr)
		}
	}

	text, err := os.ReadFile("/proc/thread-self/net/arp")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := parseProc(strings.NewReader(string(text)))
	if err != nil {
		t.Error(err)
	}
	found := false
	for _, r := range rows {
		found = found || r.addr.String() == "192.0.2.2" && r.mac == mac && r.iface == "near0"
	}
	if !found {
		t.Errorf("/proc/net/arp does not give the same: %+v", rows)
	}
}

// untilSighted repeats the discovery until the kernel has heard from as many as are there.
func untilSighted(t *testing.T, host sdk.Host, config string, want int) sightings {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		got, err := discover(t, host, nil, config, scope("192.0.2.0/24", "2001:db8::/64"))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == want {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("sighted %+v", got)
		}
	}
}

func ask(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
}

// farMAC asks the program ip for the hardware address at the other end.
func farMAC(t *testing.T) string {
	t.Helper()
	f := strings.Fields(plugintest.IP(t, "neigh", "show", "192.0.2.2"))
	for i, word := range f {
		if word == "lladdr" {
			return f[i+1]
		}
	}
	t.Fatalf("ip neigh says %q", f)
	return ""
}

func TestThisMachinesTableCanBeRead(t *testing.T) {
	rows, err := readTable(nil)
	if runtime.GOOS != "linux" {
		if sdk.ClassOf(err) != sdk.Unsupported {
			t.Errorf("error %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d entries", len(rows))
}
