//go:build unix

package prochost

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

func testHost(grants ...sdk.Permission) *Host {
	return New(abi.InstanceConfig{Instance: "i", Grants: grants, Secrets: map[string]string{"a": "1"}}, slog.New(slog.DiscardHandler))
}

func dial(to ...string) sdk.Permission {
	return sdk.Permission{Cap: sdk.CapNetDial, Args: map[string][]string{"to": to}}
}

// answering accepts one connection after the other and says hello.
func answering(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello") //nolint:errcheck // the test reads what came
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l
}

func TestDial(t *testing.T) {
	l := answering(t)
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(_ context.Context, network, host string) ([]netip.Addr, error) {
		switch host {
		case "metadata.example.org":
			return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
		case "inside.example.org", "localhost":
			return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		case "mixed.example.org":
			return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, errors.New("no such name on " + network)
	}
	cases := []struct {
		name    string
		grants  []sdk.Permission
		network string
		address string
		class   sdk.Class // "" when it is allowed
	}{
		{"granted address", []sdk.Permission{dial("127.0.0.1")}, "tcp", "127.0.0.1:" + port, ""},
		{"granted address and port", []sdk.Permission{dial("127.0.0.1:" + port)}, "tcp4", "127.0.0.1:" + port, ""},
		{"no grant", nil, "tcp", "127.0.0.1:" + port, sdk.PermissionDenied},
		{"another port", []sdk.Permission{dial("127.0.0.1:1")}, "tcp", "127.0.0.1:" + port, sdk.PermissionDenied},
		{"localhost by name", []sdk.Permission{dial("localhost")}, "tcp", "localhost:" + port, ""},
		{"a name that points inside", []sdk.Permission{dial("*.example.org")}, "tcp", "inside.example.org:" + port, sdk.PermissionDenied},
		{"a name that points inside, both granted", []sdk.Permission{dial("*.example.org", "127.0.0.1")}, "tcp", "inside.example.org:" + port, ""},
		{"the metadata service", []sdk.Permission{{Cap: sdk.CapNetDial}}, "tcp", "metadata.example.org:80", sdk.PermissionDenied},
		{"one of two addresses is allowed", []sdk.Permission{dial("mixed.example.org", "127.0.0.0/8")}, "tcp", "mixed.example.org:" + port, ""},
		{"a name that does not resolve", []sdk.Permission{{Cap: sdk.CapNetDial}}, "tcp", "gone.example.org:80", sdk.Temporary},
		{"a unix socket", []sdk.Permission{{Cap: sdk.CapNetDial}}, "unix", "/run/x", sdk.PermissionDenied},
		{"another protocol", []sdk.Permission{{Cap: sdk.CapNetDial}}, "sctp", "127.0.0.1:80", sdk.Unsupported},
		{"no port", []sdk.Permission{{Cap: sdk.CapNetDial}}, "tcp", "127.0.0.1", sdk.InvalidConfig},
		{"a named port", []sdk.Permission{{Cap: sdk.CapNetDial}}, "tcp", "127.0.0.1:http", sdk.InvalidConfig},
		{"no host", []sdk.Permission{{Cap: sdk.CapNetDial}}, "tcp", ":80", sdk.InvalidConfig},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := testHost(c.grants...)
			h.rules.Lookup = lookup
			conn, err := h.Dial(t.Context(), c.network, c.address)
			if c.class != "" {
				if sdk.ClassOf(err) != c.class || err == nil {
					t.Errorf("got %v, want class %s", err, c.class)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// The owner of the machine denies addresses; a granted name that points there is of no use.
func TestDialOfDeniedAddresses(t *testing.T) {
	l := answering(t)
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		deny    []string
		address string
		fine    bool
	}{
		"nothing denied":      {nil, "inside.example.org", true},
		"another network":     {[]string{"10.0.0.0/8", "::1/128"}, "inside.example.org", true},
		"by name":             {[]string{"10.0.0.0/8", "127.0.0.0/8"}, "inside.example.org", false},
		"by address":          {[]string{"127.0.0.1/32"}, "127.0.0.1", false},
		"by its IPv6 form":    {[]string{"::ffff:127.0.0.0/104"}, "127.0.0.1", false},
		"what cannot be read": {[]string{"nonsense"}, "127.0.0.1", false},
		"the IPv6 form of it": {[]string{"127.0.0.0/8"}, "[::ffff:127.0.0.1]", false},
		"everything of IPv4":  {[]string{"0.0.0.0/0"}, "127.0.0.1", false},
		"everything of IPv6":  {[]string{"::/0"}, "127.0.0.1", true},
	} {
		h := New(abi.InstanceConfig{Grants: []sdk.Permission{dial("*.example.org", "127.0.0.1", "::ffff:127.0.0.1")}, DenyDial: c.deny}, slog.New(slog.DiscardHandler))
		h.rules.Lookup = func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		}
		conn, err := h.Dial(t.Context(), "tcp", c.address+":"+port)
		if (err == nil) != c.fine || err != nil && sdk.ClassOf(err) != sdk.PermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestHTTPFollowsTheGrants(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "other") })) //nolint:errcheck // a test server
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, other.URL, http.StatusFound)
		}
	}))
	defer first.Close()
	h := testHost(dial(first.Listener.Addr().String()))
	defer h.HTTP().CloseIdleConnections()
	get := func(url string) error {
		resp, err := h.HTTP().Get(url)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get(first.URL + "/"); err != nil {
		t.Errorf("the granted server: %v", err)
	}
	if err := get(other.URL); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("another server: %v", err)
	}
	if err := get(first.URL + "/away"); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("a redirect to another server: %v", err)
	}
}

func TestSecretAndState(t *testing.T) {
	if _, err := testHost().Secret("a"); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("without a grant: %v", err)
	}
	h := testHost(sdk.Permission{Cap: sdk.CapSecretRead})
	if v, err := h.Secret("a"); err != nil || v != "1" {
		t.Errorf("got %q, %v", v, err)
	}
	if _, err := h.Secret("b"); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("a secret that is not set: %v", err)
	}
	if err := h.State().Put("k", nil); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("state without a folder: %v", err)
	}
}

// echoRequest is an ICMP echo request with its checksum (RFC 792).
func echoRequest(sequence uint16) []byte {
	b := make([]byte, 8)
	b[0] = 8
	binary.BigEndian.PutUint16(b[6:], sequence)
	sum := uint32(8<<8) + uint32(sequence)
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}

func TestListenICMP(t *testing.T) {
	if _, err := testHost().ListenICMP("ip4"); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("without a grant: %v", err)
	}
	h := testHost(sdk.Permission{Cap: sdk.CapNetRaw, Args: map[string][]string{"proto": {"icmp"}}})
	if _, err := h.ListenICMP("udp"); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("another network: %v", err)
	}
	conn, err := h.ListenICMP("ip4")
	if err != nil {
		t.Skipf("this machine allows neither ping nor raw sockets: %v", err)
	}
	ping(t, conn)
}

func ping(t *testing.T, conn net.PacketConn) {
	t.Helper()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const sequence = 4242
	if _, err := conn.WriteTo(echoRequest(sequence), &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Skipf("nothing can be sent to loopback: %v", err)
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n < 8 || buf[0] != 0 || binary.BigEndian.Uint16(buf[6:]) != sequence {
			continue // the request itself, or somebody else's
		}
		addr, ok := from.(*net.IPAddr)
		if !ok || !addr.IP.IsLoopback() {
			t.Errorf("the reply comes from %T %v", from, from)
		}
		return
	}
}

func TestAllowed(t *testing.T) {
	h := testHost(dial("example.org"))
	for port, want := range map[int]bool{80: true, 0: false} {
		if err := h.Allowed("tcp", "example.org:"+strconv.Itoa(port)); (err == nil) != want {
			t.Errorf("port %d: %v", port, err)
		}
	}
}
