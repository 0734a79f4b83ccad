package probe

import (
	"context"
	"math"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
)

// nameServer answers each question as answer says, in a process of a moment.
func nameServer(t *testing.T, answer func(m *dnsmessage.Message)) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			m.Response = true
			late := m
			late.ID++ // an answer to somebody else comes first
			for _, m := range []dnsmessage.Message{late, m} {
				answer(&m)
				if b, err := m.Pack(); err == nil {
					_, _ = conn.WriteTo(b, from)
				}
			}
		}
	}()
	return conn.LocalAddr().String()
}

func TestDNS(t *testing.T) {
	var asked dnsmessage.Question
	server := nameServer(t, func(m *dnsmessage.Message) {
		asked = m.Questions[0]
		if asked.Name.String() == "none.example.org." {
			m.RCode = dnsmessage.RCodeNameError
		}
	})
	got, err := collect(t, map[string]any{}, "dns://"+server+"/www.example.org?type=AAAA")
	if m := got.byName(); err != nil || m["probe.up"] != 1 || m["probe.dns.rcode"] != 0 || !(m["probe.duration"] > 0) || names(m) != "probe.dns.rcode, probe.duration, probe.up" {
		t.Errorf("%v, %v", m, err)
	}
	if asked.Type != dnsmessage.TypeAAAA || got[0].Labels["probe.target"] != "dns://"+server+"/www.example.org?type=AAAA" {
		t.Errorf("asked %v; %v", asked, got[0].Labels)
	}
	got, err = collect(t, map[string]any{}, "dns://"+server+"/none.example.org")
	if m := got.byName(); err != nil || m["probe.up"] != 1 || m["probe.dns.rcode"] != 3 {
		t.Errorf("no such name: %v, %v", m, err)
	}
	other := nameServer(t, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("other.example.org.") })
	got, err = collect(t, map[string]any{"timeout": "200ms"}, "dns://"+other+"/www.example.org")
	if m := got.byName(); err != nil || names(m) != "probe.up" || m["probe.up"] != 0 {
		t.Errorf("an answer to another question: %v, %v", m, err)
	}
}

func TestLatencyTargetsAreChecked(t *testing.T) {
	for _, target := range []string{
		"icmp://", "icmp://a:1", "icmp://a/b", "dns://a/b?type=WRONG", "dns://a/b?x=1", "dns://a/b..c", "dns://a/" + strings.Repeat("x", 64), "dns://u@a/b",
	} {
		if err := plugintest.Decode(New(), plugintest.JSON(t, map[string]any{"targets": []string{target}})); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// away is a host that reaches the namespace of the test.
type away struct{ sdk.Host }

func (away) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func (away) ListenICMP(network string) (net.PacketConn, error) {
	if network == "ip6" {
		return net.ListenPacket("ip6:ipv6-icmp", "::")
	}
	return net.ListenPacket("ip4:icmp", "0.0.0.0")
}

func TestLostEchoesTouchNoAverage(t *testing.T) {
	e := &echoes{}
	for _, took := range []time.Duration{2 * time.Millisecond, 0, 4 * time.Millisecond, 0} {
		e.add(took)
	}
	if e.loss() != 0.5 || e.sum/time.Duration(e.answered) != 3*time.Millisecond || e.least != 2*time.Millisecond || e.most != 4*time.Millisecond {
		t.Errorf("%+v", e)
	}
}

// Echoes over a cable between two kernels take as long as fping says, and nobody answers for who is not there.
func TestAgainstFping(t *testing.T) {
	fping, err := exec.LookPath("fping")
	if err != nil {
		t.Skip("needs fping (Debian package fping)")
	}
	if !plugintest.InNetwork(t, []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"}) {
		return
	}
	const delay = 20.0 // ms, where the kernel can
	slowed := exec.CommandContext(t.Context(), "tc", "qdisc", "add", "dev", "near0", "root", "netem", "delay", "20ms").Run() == nil
	for _, target := range []string{"192.0.2.2", "[2001:db8::2]"} {
		for range 100 { // the cards need a moment until they know each other
			if r := ask(t.Context(), away{}, mustTarget(t, "icmp://"+target), 1); r.err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		out, _ := exec.CommandContext(t.Context(), fping, "-c", "3", "-p", "100", "-q", strings.Trim(target, "[]")).CombinedOutput()
		found := regexp.MustCompile(`min/avg/max = [0-9.]+/([0-9.]+)/`).FindSubmatch(out)
		if found == nil {
			t.Fatalf("fping says %s", out)
		}
		theirs, _ := strconv.ParseFloat(string(found[1]), 64)
		r := ask(t.Context(), away{}, mustTarget(t, "icmp://"+target), 3)
		if r.err != nil || r.echoes.loss() != 0 {
			t.Fatalf("%s: %+v", target, r)
		}
		ours := r.total.Seconds() * 1000
		t.Logf("%s: fping %.3f ms, here %.3f ms (delay of the cable: %v)", target, theirs, ours, slowed)
		if math.Abs(ours-theirs) > 15 || slowed && ours < delay {
			t.Errorf("%s: %v ms, fping says %v ms", target, ours, theirs)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if r := ask(ctx, away{}, mustTarget(t, "icmp://192.0.2.99"), 2); r.err == nil || r.total != 0 || r.echoes == nil || r.echoes.answered != 0 {
		t.Errorf("nobody: %+v", r)
	}
}

func mustTarget(t *testing.T, text string) target {
	t.Helper()
	out, err := parseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func FuzzParseAnswer(f *testing.F) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("a."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}, Questions: []dnsmessage.Question{q}}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if rcode, ok := parseAnswer(b, 7, q); ok && rcode < 0 {
			t.Errorf("%x: %d", b, rcode)
		}
	})
}

// slowName is a host that looks up names slowly, and says so.
type slowName struct{ sdk.Host }

type named struct{ net.Conn }

const lookup = 30 * time.Millisecond

func (slowName) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	time.Sleep(lookup)
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return named{conn}, err
}

func (named) LookupTime() time.Duration { return lookup }

func TestTheLookupIsAPhaseOfItsOwn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := ask(t.Context(), slowName{}, mustTarget(t, "tcp://"+l.Addr().String()), 1)
	if r.err != nil || r.lookup == nil || *r.lookup != lookup || *r.lookup+*r.connect > r.total {
		t.Errorf("%+v", r)
	}
}
