//go:build linux

package reach

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func grant(capability, arg string, values ...string) sdk.Permission {
	return sdk.Permission{Cap: capability, Args: map[string][]string{arg: values}}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// realTemp is a folder without links on the way to it.
func realTemp(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpen(t *testing.T) {
	dir := realTemp(t)
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	for _, d := range []string{open, closed, filepath.Join(open, "sub")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(open, "a"), "a")
	write(t, filepath.Join(open, "sub", "b"), "b")
	write(t, filepath.Join(closed, "secret"), "secret")
	for name, to := range map[string]string{"inside": "sub/b", "escape": "../closed/secret", "folder": "../closed", "absolute": filepath.Join(closed, "secret")} {
		if err := os.Symlink(to, filepath.Join(open, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := &Reach{Grants: sdk.Grants{grant(sdk.CapFSRead, "paths", open, "/proc", "/dev")}}
	for name, c := range map[string]struct {
		path  string
		want  string
		class sdk.Class
	}{
		"a file":                  {open + "/a", "a", ""},
		"a file further below":    {open + "/sub/b", "b", ""},
		"a link that stays":       {open + "/inside", "b", ""},
		"a link that escapes":     {open + "/escape", "", sdk.PermissionDenied},
		"an absolute link":        {open + "/absolute", "", sdk.PermissionDenied},
		"through a linked folder": {open + "/folder/secret", "", sdk.PermissionDenied},
		"dots":                    {open + "/../closed/secret", "", sdk.InvalidConfig},
		"another folder":          {closed + "/secret", "", sdk.PermissionDenied},
		"a relative path":         {"a", "", sdk.InvalidConfig},
		"a folder":                {open + "/sub", "", sdk.Unsupported},
		"a device":                {"/dev/zero", "", sdk.Unsupported},
		"nothing":                 {open + "/none", "", sdk.Temporary},
		"its own environment":     {"/proc/self/environ", "", sdk.PermissionDenied},
		"memory of a process":     {"/proc/1/mem", "", sdk.PermissionDenied},
		"memory of the kernel":    {"/proc/kcore", "", sdk.PermissionDenied},
	} {
		f, err := r.Open(c.path)
		if c.class != "" {
			if err == nil {
				f.Close()
			}
			if err == nil || sdk.ClassOf(err) != c.class {
				t.Errorf("%s: got %v, want class %s", name, err, c.class)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if _, err := f.Write([]byte("x")); err == nil {
			t.Errorf("%s: it can be written to", name)
		}
		f.Close()
	}
	if _, err := r.Open(open + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	f, err := r.Open("/proc/stat")
	if err != nil {
		t.Fatalf("the machine's figures: %v", err)
	}
	f.Close()
}

// What was put in place of a checked path does not open.
func TestOpenOfAPathThatChanged(t *testing.T) {
	dir := realTemp(t)
	write(t, filepath.Join(dir, "secret"), "secret")
	if err := os.Symlink("secret", filepath.Join(dir, "swapped")); err != nil {
		t.Fatal(err)
	}
	if f, err := openReal(filepath.Join(dir, "swapped")); err == nil {
		f.Close()
		t.Error("a link was followed")
	}
	if f, err := openAndCompare(filepath.Join(dir, "swapped"), 0); err == nil {
		f.Close()
		t.Error("a link was followed without openat2")
	}
	f, err := openAndCompare(filepath.Join(dir, "secret"), 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestDialUnix(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "reach") //nolint:usetesting // the path of a socket has a bound
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "s")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(name, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, c := range map[string]struct {
		grants sdk.Grants
		fine   bool
	}{
		name:                   {sdk.Grants{grant(sdk.CapUnixConnect, "path", name)}, true},
		dir + "/link":          {sdk.Grants{grant(sdk.CapUnixConnect, "path", dir+"/link")}, false},
		dir + "/../tmp/x":      {sdk.Grants{{Cap: sdk.CapUnixConnect}}, false},
		"@abstract":            {sdk.Grants{{Cap: sdk.CapUnixConnect}}, false},
		filepath.Dir(dir):      {sdk.Grants{{Cap: sdk.CapNetDial}}, false},
		dir + "/none":          {sdk.Grants{{Cap: sdk.CapUnixConnect}}, false},
		strings.Repeat("a", 9): {sdk.Grants{{Cap: sdk.CapUnixConnect}}, false},
	} {
		conn, err := (&Reach{Grants: c.grants}).Dial(t.Context(), "unix", path)
		if (err == nil) != c.fine {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestListen(t *testing.T) {
	any := sdk.Grants{{Cap: sdk.CapNetListen}}
	for name, c := range map[string]struct {
		grants  sdk.Grants
		network string
		address string
		class   sdk.Class
	}{
		"any port":         {any, "tcp", "127.0.0.1:0", ""},
		"everywhere":       {any, "tcp", ":0", ""},
		"no grant":         {nil, "tcp", "127.0.0.1:0", sdk.PermissionDenied},
		"another port":     {sdk.Grants{grant(sdk.CapNetListen, "port", "514")}, "tcp", "127.0.0.1:5514", sdk.PermissionDenied},
		"no port in grant": {sdk.Grants{grant(sdk.CapNetListen, "port", "514")}, "tcp", "127.0.0.1:0", sdk.PermissionDenied},
		"another protocol": {sdk.Grants{grant(sdk.CapNetListen, "proto", "udp")}, "tcp", "127.0.0.1:0", sdk.PermissionDenied},
		"udp":              {any, "udp", "127.0.0.1:0", sdk.Unsupported},
		"unix":             {any, "unix", "/tmp/x", sdk.Unsupported},
		"a name":           {any, "tcp", "example.org:0", sdk.InvalidConfig},
		"no port":          {any, "tcp", "127.0.0.1", sdk.InvalidConfig},
	} {
		l, err := (&Reach{Grants: c.grants}).Listen(t.Context(), c.network, c.address)
		if err == nil {
			l.Close()
		}
		if c.class == "" && err != nil || c.class != "" && (err == nil || sdk.ClassOf(err) != c.class) {
			t.Errorf("%s: got %v, want class %q", name, err, c.class)
		}
	}
}

// A receiver of datagrams answers who asked, and sends to nobody else without a grant to dial.
func TestListenPacketAnswersOnly(t *testing.T) {
	r := &Reach{Grants: sdk.Grants{{Cap: sdk.CapNetListen}}}
	conn, err := r.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := conn.WriteTo([]byte("hello"), peer.LocalAddr()); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Fatalf("to somebody who did not ask: %v", err)
	}
	if _, err := peer.WriteTo([]byte("ask"), conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadFrom(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WriteTo([]byte("answer"), peer.LocalAddr()); err != nil {
		t.Errorf("to who asked: %v", err)
	}
	r.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if _, err := conn.WriteTo([]byte("answer"), peer.LocalAddr()); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("to a denied address: %v", err)
	}
	c := conn.(*answeringConn)
	for port := range uint16(3 * maxHeard) {
		c.remember(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	}
	if len(c.heard) != maxHeard {
		t.Errorf("%d senders are remembered", len(c.heard))
	}
}

func TestICMPSendsOnlyEchoRequests(t *testing.T) {
	raw, err := listenICMP("ip4")
	if err != nil {
		t.Skipf("this machine allows neither ping nor raw sockets: %v", err)
	}
	r := &Reach{Deny: []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16")}}
	conn := &askingConn{PacketConn: raw, reach: r, request: 8}
	defer conn.Close()
	self := &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}
	redirect := echoRequest(1)
	redirect[0] = 5
	if _, err := conn.WriteTo(redirect, self); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("a redirect: %v", err)
	}
	if _, err := conn.WriteTo(nil, self); err == nil {
		t.Error("an empty message was sent")
	}
	if _, err := conn.WriteTo(echoRequest(1), &net.IPAddr{IP: net.IPv4(169, 254, 169, 254)}); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("to a denied address: %v", err)
	}
	ping(t, conn)
}

// Both kinds of socket behave the same.
func TestRawICMP(t *testing.T) {
	conn, err := listenRaw("ip4")
	if err != nil {
		t.Skipf("this machine allows no raw sockets: %v", err)
	}
	defer conn.Close()
	ping(t, conn)
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

func ping(t *testing.T, conn net.PacketConn) {
	t.Helper()
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
		if addr, ok := from.(*net.IPAddr); !ok || !addr.IP.IsLoopback() {
			t.Errorf("the reply comes from %T %v", from, from)
		}
		return
	}
}
