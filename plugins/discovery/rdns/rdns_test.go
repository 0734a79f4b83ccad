package rdns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
	"golang.org/x/net/dns/dnsmessage"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/rdns") }

func TestConformance(t *testing.T) {
	s := newServer(t, known)
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, map[string]any{"server": s.address}))})
}

// server is a DNS server of the test, over UDP and TCP. answer changes what it says; nil says nothing.
type server struct {
	address string
	answer  func(m *dnsmessage.Message, tcp bool) *dnsmessage.Message

	mu    sync.Mutex // guards asked
	asked []string
}

func newServer(t *testing.T, answer func(m *dnsmessage.Message, tcp bool) *dnsmessage.Message) *server {
	t.Helper()
	s := &server{address: fmt.Sprintf("127.0.0.1:%d", plugintest.FreePort(t)), answer: answer}
	udp, err := net.ListenPacket("udp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close(); tcp.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if a := s.reply(buf[:n], false); a != nil {
				_, _ = udp.WriteTo(a, from)
			}
		}
	}()
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	q := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, q); err != nil {
		return
	}
	if a := s.reply(q, true); a != nil {
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
	}
}

func (s *server) reply(packet []byte, tcp bool) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		return nil
	}
	s.mu.Lock()
	s.asked = append(s.asked, m.Questions[0].Name.String())
	s.mu.Unlock()
	m.Response = true
	a := s.answer(&m, tcp)
	if a == nil {
		return nil
	}
	out, err := a.Pack()
	if err != nil {
		return nil
	}
	return out
}

func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// with adds names to an answer.
func with(m *dnsmessage.Message, names ...string) *dnsmessage.Message {
	for _, n := range names {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(n)},
		})
	}
	return m
}

// known answers for 192.0.2.1 and .2 and knows no other.
func known(m *dnsmessage.Message, _ bool) *dnsmessage.Message {
	switch m.Questions[0].Name.String() {
	case "1.2.0.192.in-addr.arpa.":
		return with(m, "Router.example.org.")
	case "2.2.0.192.in-addr.arpa.":
		return with(m, "www.example.org.", "files.example.org.", "www.example.org.")
	}
	m.RCode = dnsmessage.RCodeNameError
	return m
}

type sightings []sdk.Sighting

func (s *sightings) Sighting(one sdk.Sighting) error {
	*s = append(*s, one)
	return nil
}

func (s sightings) text() string {
	var out []string
	for _, one := range s {
		out = append(out, one.IP.String()+"="+one.Hostname)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func scope(prefixes ...string) sdk.Scope {
	var s sdk.Scope
	for _, p := range prefixes {
		s.Prefixes = append(s.Prefixes, netip.MustParsePrefix(p))
	}
	return s
}

func discover(t *testing.T, server string, more map[string]any, in sdk.Scope) (sightings, error) {
	t.Helper()
	fields := map[string]any{"server": server, "rate": 5000, "timeout": "300ms"}
	for k, v := range more {
		fields[k] = v
	}
	d := New()
	plugintest.Start(t, d, plugintest.JSON(t, fields))
	var got sightings
	err := d.Discover(t.Context(), in, &got)
	return got, err
}

func TestNamesAreSighted(t *testing.T) {
	s := newServer(t, known)
	got, err := discover(t, s.address, nil, scope("192.0.2.0/29", "198.51.100.1/32"))
	if err != nil || got.text() != "192.0.2.1=router.example.org 192.0.2.2=files.example.org" {
		t.Fatalf("%s, %v", got.text(), err)
	}
	for _, one := range got {
		if one.Confidence != 0.3 || one.MAC != "" || one.Facts["name_source"] != "dns" || one.Time.IsZero() {
			t.Errorf("%+v", one)
		}
		if want := map[string]string{"192.0.2.2": "www.example.org"}[one.IP.String()]; one.Facts["other_names"] != want {
			t.Errorf("%+v", one)
		}
	}
	if asked := s.questions(); len(asked) != 7 || slices.Contains(asked, "0.2.0.192.in-addr.arpa.") {
		t.Errorf("asked %v", asked)
	}
}

func TestTargetsNarrowTheScope(t *testing.T) {
	s := newServer(t, known)
	if _, err := discover(t, s.address, map[string]any{"targets": []string{"192.0.2.0/31", "10.0.0.0/8"}}, scope("192.0.2.0/24")); err != nil {
		t.Fatal(err)
	}
	if asked := s.questions(); len(asked) != 2 {
		t.Errorf("asked %v", asked)
	}
	if _, err := discover(t, s.address, map[string]any{"max_addresses": 10}, scope("192.0.2.0/24")); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("a range that is too large: %v", err)
	}
}

func TestReverseNames(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.10":         "10.2.0.192.in-addr.arpa.",
		"::ffff:192.0.2.10":  "10.2.0.192.in-addr.arpa.",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
	} {
		if got := reverseName(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestLongAnswersComeOverTCP(t *testing.T) {
	s := newServer(t, func(m *dnsmessage.Message, tcp bool) *dnsmessage.Message {
		if !tcp {
			m.Truncated = true
			return m
		}
		return with(m, "long.example.org.")
	})
	if got, err := discover(t, s.address, nil, scope("192.0.2.1/32")); err != nil || got.text() != "192.0.2.1=long.example.org" {
		t.Errorf("%s, %v", got.text(), err)
	}
}

func TestForeignAnswersAreNotBelieved(t *testing.T) {
	for what, forge := range map[string]func(m *dnsmessage.Message) *dnsmessage.Message{
		"another id": func(m *dnsmessage.Message) *dnsmessage.Message { m.ID++; return with(m, "evil.example.org.") },
		"another question": func(m *dnsmessage.Message) *dnsmessage.Message {
			m.Questions[0].Name = dnsmessage.MustNewName("9.2.0.192.in-addr.arpa.")
			return with(m, "evil.example.org.")
		},
		"no answer but a question": func(m *dnsmessage.Message) *dnsmessage.Message {
			m.Response = false
			return with(m, "evil.example.org.")
		},
		"no question": func(m *dnsmessage.Message) *dnsmessage.Message {
			m = with(m, "evil.example.org.")
			m.Questions = nil
			return m
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newServer(t, func(m *dnsmessage.Message, _ bool) *dnsmessage.Message { return forge(m) })
			got, err := discover(t, s.address, map[string]any{"retries": 0}, scope("192.0.2.1/32"))
			if len(got) != 0 || sdk.ClassOf(err) != sdk.Temporary {
				t.Errorf("%s, %v", got.text(), err)
			}
		})
	}
}

func TestWhatIsNoHostNameIsLeftOut(t *testing.T) {
	for name, want := range map[string]string{
		"A.Example.ORG.": "a.example.org", "host_1.example.": "host_1.example", ".": "", "": "", "a..b.": "",
		"<script>.example.org.": "", "a b.example.": "", "ümlaut.example.": "", strings.Repeat("a", 64) + ".example.": "",
	} {
		if got := hostname(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestALostQuestionIsRepeated(t *testing.T) {
	n := 0
	s := newServer(t, func(m *dnsmessage.Message, _ bool) *dnsmessage.Message {
		if n++; n == 1 {
			return nil
		}
		return with(m, "late.example.org.")
	})
	if got, err := discover(t, s.address, nil, scope("192.0.2.1/32")); err != nil || got.text() != "192.0.2.1=late.example.org" {
		t.Errorf("%s, %v", got.text(), err)
	}
}

func TestADeadServerIsGivenUp(t *testing.T) {
	s := newServer(t, func(*dnsmessage.Message, bool) *dnsmessage.Message { return nil })
	_, err := discover(t, s.address, map[string]any{"timeout": "50ms", "concurrency": 4}, scope("192.0.2.0/24"))
	if sdk.ClassOf(err) != sdk.Temporary || !strings.Contains(err.Error(), "has not answered any of") {
		t.Errorf("error %v", err)
	}
	if n := len(s.questions()); n > deadServer+8 {
		t.Errorf("%d questions to a dead server", n)
	}
}

func TestRefusals(t *testing.T) {
	s := newServer(t, func(m *dnsmessage.Message, _ bool) *dnsmessage.Message {
		m.RCode = dnsmessage.RCodeRefused
		return m
	})
	_, err := discover(t, s.address, nil, scope("192.0.2.0/29"))
	if sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), "refused all 6 questions: the server answered Refused") {
		t.Errorf("error %v", err)
	}
	if n := len(s.questions()); n != 6 {
		t.Errorf("%d questions: a refusal is an answer", n)
	}
}

func TestTheRateIsKept(t *testing.T) {
	s := newServer(t, known)
	began := time.Now()
	if _, err := discover(t, s.address, map[string]any{"rate": 20}, scope("192.0.2.0/29")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 240*time.Millisecond { // 6 questions, 50 ms apart; slower never fails
		t.Errorf("6 questions in %s", took)
	}
}

func TestWhatIsNotGrantedIsDenied(t *testing.T) {
	s := newServer(t, known)
	d := New()
	plugintest.Start(t, d, plugintest.JSON(t, map[string]any{"server": s.address}))
	d.config.Server = "127.0.0.2:53"
	if err := d.Discover(t.Context(), scope("192.0.2.0/24"), &sightings{}); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("error %v", err)
	}
}

func TestCancelledRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, func(*dnsmessage.Message, bool) *dnsmessage.Message { cancel(); return nil })
	d := New()
	plugintest.Start(t, d, plugintest.JSON(t, map[string]any{"server": s.address, "timeout": "30s"}))
	if err := d.Discover(ctx, scope("192.0.2.0/24"), &sightings{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{}`, `{"server": "192.0.2.53"}`, `{"server": "0.0.0.0:53"}`, `{"server": "224.0.0.1:53"}`,
		`{"server": "192.0.2.53:53", "targets": ["x"]}`, `{"server": "192.0.2.53:53", "rate": 0}`,
	} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// A real server.
func TestDnsmasq(t *testing.T) {
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		t.Skip("needs dnsmasq (Debian package dnsmasq-base)")
	}
	port := plugintest.FreePort(t)
	args := []string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--log-facility=-", "--listen-address=127.0.0.1", "--bind-interfaces",
		fmt.Sprint("--port=", port), "--user=", "--pid-file=", "--ptr-record=1.2.0.192.in-addr.arpa,gateway.example.org", "--host-record=printer.example.org,192.0.2.4,2001:db8::4"}
	for i := range 40 { // more names than fit into a datagram
		args = append(args, fmt.Sprintf("--ptr-record=5.2.0.192.in-addr.arpa,one-of-the-many-names-of-this-server-%02d.example.org", i))
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	got, err := discover(t, address, map[string]any{"timeout": "5s"}, scope("192.0.2.0/29", "2001:db8::4/128"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"192.0.2.1=gateway.example.org", "192.0.2.4=printer.example.org", "2001:db8::4=printer.example.org", "192.0.2.5=one-of-the-many-names"} {
		if !strings.Contains(got.text(), want) {
			t.Errorf("%s lacks %s", got.text(), want)
		}
	}
}

// The same source builds as a guest.
func TestBuildsAsAGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a whole program")
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", filepath.Join(t.TempDir(), "rdns.wasm"), "./cmd")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

func FuzzParse(f *testing.F) {
	q, err := newQuestion(netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		f.Fatal(err)
	}
	q.id = 7
	m := &dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true},
		Questions: []dnsmessage.Question{{Name: q.name, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}}}
	packet, err := with(m, "a.example.org.", "b.example.org.").Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet)
	f.Fuzz(func(t *testing.T, packet []byte) {
		names, err := q.parse(packet)
		if err != nil && len(names) > 0 || len(names) > maxNames {
			t.Errorf("%q, %v", names, err)
		}
		for _, n := range names {
			if hostname(n) != n || n == "" {
				t.Errorf("name %q", n)
			}
		}
	})
}
