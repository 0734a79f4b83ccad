//go:build linux

package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/serve"
)

func grant(capability string, args ...string) sdk.Permission {
	p := sdk.Permission{Cap: capability}
	for i := 0; i+1 < len(args); i += 2 {
		if p.Args == nil {
			p.Args = map[string][]string{}
		}
		p.Args[args[i]] = append(p.Args[args[i]], args[i+1])
	}
	return p
}

// lookup stands in for DNS.
func lookup(_ context.Context, network, host string) ([]netip.Addr, error) {
	switch host {
	case "inside.example.org":
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	case "metadata.example.org":
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
	}
	return nil, errors.New("no such name on " + network)
}

type rig struct {
	*Broker
	sdk.Host
	stop   func() // the plugin's end goes away
	served <-chan error
	log    *lockedWriter
}

// openConns counts the connections of a broker.
func openConns(b *Broker) int { return len(b.conns) }

// start returns a broker and a plugin's view of it, and checks at the end that nothing is left of either.
func start(t *testing.T, cfg Config) *rig {
	t.Helper()
	return startWith(t, cfg)
}

// startWith is start for a process that has models.
func startWith(t *testing.T, cfg Config, models ...Model) *rig {
	t.Helper()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	r := &rig{log: &lockedWriter{w: &bytes.Buffer{}}}
	cfg.Instance, cfg.Log = "test", slog.New(slog.NewTextHandler(r.log, nil))
	if cfg.Lookup == nil {
		cfg.Lookup = lookup
	}
	r.Broker = New(cfg)
	host, child, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	r.served = served
	go func() { served <- r.ServeWith(host, Belongings{State: r.state, Models: models}) }()
	r.Host, r.stop, err = serve.NewHostOver(child, abi.InstanceConfig{Instance: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.stop()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if n := openConns(r.Broker); n != 0 {
			t.Errorf("%d connections are still counted", n)
		}
		eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, "descriptors are closed", func() bool {
			runtime.GC() // package net keeps pipes for splice until then
			return openDescriptors(t) <= descriptors
		})
	})
	return r
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// eventually gives what happens beside the test time to happen.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("it did not come to pass that %s", what)
}

// echo answers on a port of loopback until the test ends.
func echo(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveEcho(t, l)
	return l
}

func serveEcho(t *testing.T, l net.Listener) {
	t.Helper()
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				io.Copy(c, c) //nolint:errcheck // the test reads what came
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
	})
}

func find(t *testing.T, b *Broker, capability, detail string) Use {
	t.Helper()
	list, _ := b.Use()
	for _, u := range list {
		if u.Cap == capability && u.Detail == detail {
			return u
		}
	}
	t.Fatalf("no use of %s %s in %+v", capability, detail, list)
	return Use{}
}

func TestDialTCP(t *testing.T) {
	l := echo(t)
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetDial, "to", "inside.example.org", "to", "127.0.0.1", "proto", "tcp")}})
	conn, err := r.Dial(t.Context(), "tcp", "inside.example.org:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().String(); got != l.Addr().String() {
		t.Errorf("the remote address is %s, want %s", got, l.Addr())
	}
	if took := conn.(sdk.LookupTimer).LookupTime(); took <= 0 {
		t.Errorf("the lookup took %v", took)
	}
	if direct, err := r.Dial(t.Context(), "tcp", l.Addr().String()); err != nil || direct.(sdk.LookupTimer).LookupTime() != 0 {
		t.Errorf("an address needs no lookup: %v", err)
	} else {
		direct.Close()
	}
	if local, ok := conn.LocalAddr().(*net.TCPAddr); !ok || local.Port == 0 {
		t.Errorf("the local address is %v", conn.LocalAddr())
	}
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		conn.Write(sent)                                    //nolint:errcheck // the reader sees what is missing
		conn.(interface{ CloseWrite() error }).CloseWrite() //nolint:errcheck // as above
	}()
	got, err := io.ReadAll(conn) // ends because the half-close went through to the echo and its end came back
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(sent), err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read after its deadline: %v", err)
	}
	u := find(t, r.Broker, sdk.CapNetDial, "tcp inside.example.org:"+port)
	if u.Count != 1 || u.BytesIn != uint64(len(sent)) || u.BytesOut != uint64(len(sent)) || u.First.IsZero() {
		t.Errorf("the use is %+v", u)
	}
}

func TestDialRefusals(t *testing.T) {
	l := echo(t)
	r := start(t, Config{
		Grants: []sdk.Permission{grant(sdk.CapNetDial, "to", "*.example.org", "to", "127.0.0.0/8", "to", "10.0.0.0/8")},
		Deny:   []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("10.1.0.0/16")},
	})
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()
	for _, c := range []struct {
		network, address string
		class            sdk.Class
		cause            error
	}{
		{"tcp", "192.0.2.1:80", sdk.PermissionDenied, nil},
		{"tcp", "metadata.example.org:80", sdk.PermissionDenied, nil},
		{"tcp", "10.1.2.3:80", sdk.PermissionDenied, nil},
		{"tcp", "169.254.169.254:80", sdk.PermissionDenied, nil},
		{"tcp", "gone.example.org:80", sdk.Temporary, nil},
		{"tcp", "nonsense", sdk.InvalidConfig, nil},
		{"sctp", l.Addr().String(), sdk.Unsupported, nil},
		{"unix", "/run/docker.sock", sdk.PermissionDenied, nil},
		{"tcp", unused.Addr().String(), sdk.Temporary, syscall.ECONNREFUSED},
	} {
		conn, err := r.Dial(t.Context(), c.network, c.address)
		if err == nil {
			conn.Close()
		}
		if err == nil || sdk.ClassOf(err) != c.class {
			t.Errorf("%s %s: got %v, want class %s", c.network, c.address, err, c.class)
		}
		if c.cause != nil && !errors.Is(err, c.cause) {
			t.Errorf("%s %s: %v is not %v", c.network, c.address, err, c.cause)
		}
	}
	u := find(t, r.Broker, sdk.CapNetDial, "tcp 169.254.169.254:80")
	if u.Denied != 1 || u.Count != 0 || !strings.Contains(u.LastRefusal, "169.254.169.254") {
		t.Errorf("the refusal is %+v", u)
	}
	if log := r.log.String(); !strings.Contains(log, "169.254.169.254") || !strings.Contains(log, "instance=test") {
		t.Errorf("the log does not name the refusal: %s", log)
	}
}

func TestContextOfADial(t *testing.T) {
	blocked := make(chan struct{})
	r := start(t, Config{
		Grants: []sdk.Permission{grant(sdk.CapNetDial)},
		Lookup: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			close(blocked)
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-blocked
		cancel()
	}()
	if _, err := r.Dial(ctx, "tcp", "slow.example.org:80"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDialUDP(t *testing.T) {
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetDial, "to", "127.0.0.1")}})
	conn, err := r.Dial(t.Context(), "udp", peer.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 70_000)
	for _, text := range []string{"hello", "", strings.Repeat("x", 60_000)} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		n, from, err := peer.ReadFrom(buf)
		if err != nil || string(buf[:n]) != text || from.String() != conn.LocalAddr().String() {
			t.Fatalf("the peer got %d bytes from %v, %v", n, from, err)
		}
		if _, err := peer.WriteTo(buf[:n], from); err != nil {
			t.Fatal(err)
		}
		if n, err = conn.Read(buf); err != nil || string(buf[:n]) != text {
			t.Errorf("%d bytes came back of %d, %v", n, len(text), err)
		}
	}
	peer.Close()
	for range 2 { // the system answers the first one with an error
		if _, err = conn.Write([]byte("x")); err != nil {
			break
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(buf); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens there any more: %v", err)
	}
}

func TestListen(t *testing.T) {
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetListen)}})
	l, err := r.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if conn.RemoteAddr().String() != peer.LocalAddr().String() {
			t.Errorf("the peer is %s, want %s", conn.RemoteAddr(), peer.LocalAddr())
		}
		if _, err := io.WriteString(peer, "in"); err != nil {
			t.Fatal(err)
		}
		peer.(*net.TCPConn).CloseWrite() //nolint:errcheck // the reader would wait for ever
		if got, err := io.ReadAll(conn); err != nil || string(got) != "in" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := io.WriteString(conn, "out"); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got, err := io.ReadAll(peer); err != nil || string(got) != "out" {
			t.Errorf("the peer got %q, %v", got, err)
		}
		peer.Close()
	}
	if err := l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("accept after the deadline: %v", err)
	}
	address := l.Addr().String()
	l.Close()
	eventually(t, "nobody listens there", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if _, err := r.Listen(t.Context(), "tcp", "example.org:1"); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("listening on a name: %v", err)
	}
}

func TestListenPacket(t *testing.T) {
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetListen, "proto", "udp")}})
	conn, err := r.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := peer.Write([]byte("<34>hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, from, err := conn.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "<34>hello" || from.String() != peer.LocalAddr().String() {
		t.Fatalf("got %q from %v, %v", buf[:n], from, err)
	}
	if _, err := conn.WriteTo([]byte("fine"), from); err != nil {
		t.Fatal(err)
	}
	if n, err = peer.Read(buf); err != nil || string(buf[:n]) != "fine" {
		t.Errorf("the answer is %q, %v", buf[:n], err)
	}
	if _, err := conn.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadFrom(buf); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a datagram to somebody who never asked: %v", err)
	}
	if u := find(t, r.Broker, sdk.CapNetDial, "udp 127.0.0.1:9"); u.Denied != 1 {
		t.Errorf("it was counted as %+v", u)
	}
	if _, err := r.ListenPacket(t.Context(), "tcp", "127.0.0.1:0"); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("datagrams over tcp: %v", err)
	}
}

func TestUnix(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "broker") //nolint:usetesting // the path of a socket has a bound
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	serveEcho(t, l)
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapUnixConnect, "path", filepath.Join(dir, "s"))}})
	conn, err := r.Dial(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil || conn.RemoteAddr().String() != filepath.Join(dir, "s") {
		t.Errorf("%v from %v", err, conn.RemoteAddr())
	}
	if _, err := r.Dial(t.Context(), "unix", filepath.Join(dir, "other")); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("another socket: %v", err)
	}
}

func TestICMP(t *testing.T) {
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetRaw, "proto", "icmp")}})
	conn, err := r.ListenICMP("ip4")
	if err != nil {
		t.Skipf("this machine allows neither ping nor raw sockets: %v", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	request := []byte{8, 0, 0, 0, 0, 0, 0x10, 0x92}
	sum := ^(uint16(0x0800) + 0x1092)
	request[2], request[3] = byte(sum>>8), byte(sum)
	if _, err := conn.WriteTo(request, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n < 8 || buf[0] != 0 || buf[6] != 0x10 || buf[7] != 0x92 {
			continue // somebody else's
		}
		if ip, ok := from.(*net.IPAddr); !ok || !ip.IP.IsLoopback() {
			t.Errorf("the reply comes from %T %v", from, from)
		}
		break
	}
	if _, err := conn.WriteTo([]byte{5, 0, 0, 0, 0, 0, 0, 0}, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err = conn.ReadFrom(buf); err != nil {
			break
		}
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a redirect: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"logs/a.log": "line", "secret": "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(logs, "escape")); err != nil {
		t.Fatal(err)
	}
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapFSRead, "paths", logs)}})
	f, err := r.Open(logs + "/a.log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Name() != "a.log" || info.Size() != 4 {
		t.Errorf("%+v, %v", info, err)
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != "line" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := r.Open(logs + "/escape"); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("a link that leads outside: %v", err)
	}
	if _, err := r.Open(logs + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if u := find(t, r.Broker, sdk.CapFSRead, logs+"/escape"); u.Denied != 1 {
		t.Errorf("the attempt is %+v", u)
	}
}

func TestState(t *testing.T) {
	folder := t.TempDir()
	r := start(t, Config{State: folder})
	state := r.State()
	if v, err := state.Get("a"); v != nil || err != nil {
		t.Fatalf("a missing key gave %q, %v", v, err)
	}
	for _, value := range [][]byte{[]byte("x"), {}, bytes.Repeat([]byte("y"), 1<<20)} {
		if err := state.Put("a", value); err != nil {
			t.Fatal(err)
		}
		if got, err := state.Get("a"); err != nil || got == nil || !bytes.Equal(got, value) {
			t.Errorf("%d bytes came back of %d, %v", len(got), len(value), err)
		}
	}
	if err := state.Put("b", make([]byte, 1<<20+1)); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a value that is too large: %v", err)
	}
	if err := state.Put(strings.Repeat("k", 129), nil); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a key that is too long: %v", err)
	}
	var work sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs { // together 20 MiB, more than all may have
		work.Go(func() { errs[i] = state.Put(fmt.Sprint("../", i), make([]byte, 1<<20)) })
	}
	work.Wait()
	fine := 0
	for _, err := range errs {
		if err == nil {
			fine++
		} else if sdk.ClassOf(err) != sdk.Unsupported {
			t.Errorf("a value beyond the quota: %v", err)
		}
	}
	if fine != 15 {
		t.Errorf("%d values of 1 MiB found room beside the first one, want 15", fine)
	}
}

func TestHTTPOverTheBroker(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/away":
			http.Redirect(w, req, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		case "/large":
			w.Write(make([]byte, sdk.MaxFetch+1)) //nolint:errcheck // a test server
		default:
			body, _ := io.ReadAll(req.Body)
			w.Header().Set("X-Method", req.Method)
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, "%s %s", req.Header.Get("X-Asked"), body)
		}
	}))
	t.Cleanup(server.Close)
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetDial, "to", server.Listener.Addr().String())}})
	resp, err := r.Fetch(t.Context(), sdk.Request{Method: "PUT", URL: server.URL + "/", Header: map[string][]string{"X-Asked": {"yes"}}, Body: []byte("body")})
	if err != nil || resp.Status != http.StatusTeapot || string(resp.Body) != "yes body" || resp.Header["X-Method"][0] != "PUT" {
		t.Errorf("got %d %v %q, %v", resp.Status, resp.Header, resp.Body, err)
	}
	if resp, err = r.Fetch(t.Context(), sdk.Request{URL: server.URL + "/away"}); err != nil || resp.Status != http.StatusFound {
		t.Errorf("a redirect is not the answer: %d, %v", resp.Status, err)
	}
	if away, err := r.HTTP().Get(server.URL + "/away"); sdk.ClassOf(err) != sdk.PermissionDenied {
		if err == nil {
			away.Body.Close()
		}
		t.Errorf("a redirect to a link-local address: %v", err)
	}
	if _, err = r.Fetch(t.Context(), sdk.Request{URL: server.URL + "/large"}); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("an answer that is too large: %v", err)
	}
	for _, url := range []string{"file:///etc/passwd", "http://", "::", "ftp://example.org"} {
		if _, err = r.Fetch(t.Context(), sdk.Request{URL: url}); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err = r.Fetch(t.Context(), sdk.Request{URL: "http://192.0.2.1/?token=secret"}); sdk.ClassOf(err) != sdk.PermissionDenied || strings.Contains(err.Error(), "secret") {
		t.Errorf("another server: %v", err)
	}
	r.HTTP().CloseIdleConnections()
}

func TestConnectionsAreBounded(t *testing.T) {
	l := echo(t)
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetDial, "to", "127.0.0.1")}})
	var conns []net.Conn
	for range DefaultConns {
		conn, err := r.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("connection %d: %v", len(conns)+1, err)
		}
		conns = append(conns, conn)
	}
	if _, err := r.Dial(t.Context(), "tcp", l.Addr().String()); sdk.ClassOf(err) != sdk.Temporary || !strings.Contains(err.Error(), "256") {
		t.Errorf("connection 257: %v", err)
	}
	for _, c := range conns[1:] {
		c.Close()
	}
	defer conns[0].Close()
	eventually(t, "closed connections make room", func() bool { return openConns(r.Broker) == 1 })
}

// A server that sends nothing and never closes does not keep a connection that the plugin closed.
func TestClosedByThePlugin(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetDial, "to", "127.0.0.1")}})
	conn, err := r.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	silent, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	conn.Close()
	eventually(t, "the relay ends", func() bool { return openConns(r.Broker) == 0 })
}

// Everything dies with the process.
func TestEndOfTheProcess(t *testing.T) {
	l := echo(t)
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetDial, "to", "127.0.0.1"), grant(sdk.CapNetListen)}})
	conn, err := r.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	listener, err := r.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r.stop()
	if err := <-r.served; err != nil {
		t.Errorf("the end of a process is no fault: %v", err)
	}
	if n := openConns(r.Broker); n != 0 {
		t.Errorf("%d connections outlive the process", n)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Logf("the connection ended with %v", err)
	}
	if _, err := r.Dial(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("a dial without a broker worked")
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept without a broker: %v", err)
	}
}

func TestUnused(t *testing.T) {
	l := echo(t)
	grants := []sdk.Permission{
		grant(sdk.CapNetDial, "to", "127.0.0.0/8"),
		grant(sdk.CapNetDial, "to", "10.0.0.0/8"),
		grant(sdk.CapFSRead, "paths", "/var/log"),
		grant(sdk.CapSecretRead),
	}
	r := start(t, Config{Grants: grants})
	conn, err := r.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := fmt.Sprint(r.Unused(grants)); got != "[net.dial(to=10.0.0.0/8) fs.read(paths=/var/log)]" {
		t.Errorf("unused are %s", got)
	}
}

func TestUsesAreBounded(t *testing.T) {
	u := newUses(time.Now, slog.New(slog.DiscardHandler), nil)
	for i := range 3 * maxUses {
		u.refused(target{cap: sdk.CapNetDial, network: "tcp", host: strings.Repeat("\x1b\n", 300), port: i}, errors.New("no"))
	}
	for i := range 5 {
		u.allowed(target{cap: sdk.CapFSRead, host: fmt.Sprint("/", i)}).in.Add(1)
	}
	list, more := u.list()
	if len(list) != maxUses || more != 2*maxUses+5 {
		t.Errorf("%d uses and %d more", len(list), more)
	}
	real := 0
	for _, e := range list {
		if e.Count == 1 && e.BytesIn == 1 {
			real++
		}
		if strings.ContainsAny(e.Detail, "\x1b\n") || len(e.Detail) > 4*maxDetail {
			t.Errorf("the detail is %q", e.Detail)
		}
	}
	if real != 5 {
		t.Errorf("attempts took the place of %d real uses", 5-real)
	}
}

// A plugin cannot try a hundred harmless things so that nobody sees the hundred and first.
func TestJunkHidesNoRefusal(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	var log bytes.Buffer
	var told []string
	u := newUses(func() time.Time { at = at.Add(time.Millisecond); return at }, slog.New(slog.NewTextHandler(&log, nil)),
		func(_, detail string, _ error) { told = append(told, detail) })
	try := func(host string) {
		u.refused(target{cap: sdk.CapNetDial, network: "tcp", host: host, port: 80}, errors.New("not granted"))
	}
	for i := range 10 * maxUses {
		try(fmt.Sprint("junk", i))
	}
	if len(told) != maxUses {
		t.Errorf("%d attempts at once were told, want %d", len(told), maxUses)
	}
	const aim = "169.254.169.254"
	try(aim)
	if list, _ := u.list(); !slices.ContainsFunc(list, func(x Use) bool { return strings.Contains(x.Detail, aim) }) {
		t.Error("it is not in the list")
	}
	at = at.Add(quietTime)
	try(aim)
	try("junk")
	if len(told) != maxUses+1 || !strings.Contains(told[maxUses], aim) || !strings.Contains(log.String(), aim) {
		t.Errorf("told after a minute: %q", told[maxUses:])
	}
	u = newUses(time.Now, slog.New(slog.NewTextHandler(&log, nil)), nil)
	for i := range maxUses {
		u.allowed(target{cap: sdk.CapFSRead, host: fmt.Sprint("/", i)})
	}
	log.Reset()
	try(aim)
	if !strings.Contains(log.String(), aim) {
		t.Error("no word about it when all places are real uses")
	}
}

// raw is a plugin's end that says what it likes.
func raw(t *testing.T, cfg Config) (*Broker, *net.UnixConn, <-chan error) {
	t.Helper()
	cfg.Log, cfg.Lookup = slog.New(slog.DiscardHandler), lookup
	b := New(cfg)
	host, child, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := brokerwire.Socket(child)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(host) }()
	t.Cleanup(func() {
		conn.Close()
		b.Close()
	})
	return b, conn, served
}

func TestBrokenProtocol(t *testing.T) {
	for name, message := range map[string]string{
		"no JSON":         "hello",
		"no id":           `{"op": "dial"}`,
		"negative size":   `{"id": 1, "op": "state_put", "size": -1}`,
		"a long text":     `{"id": 1, "op": "dial", "address": "` + strings.Repeat("a", 5000) + `"}`,
		"too large":       strings.Repeat(" ", brokerwire.MaxMessage+1) + `{"id": 1}`,
		"a wrong type":    `{"id": "one"}`,
		"an id too large": `{"id": 18446744073709551616}`,
	} {
		_, conn, served := raw(t, Config{})
		if _, err := conn.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err == nil {
			t.Errorf("%s: it is no fault", name)
		}
	}
	_, conn, served := raw(t, Config{})
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, _, err := conn.WriteMsgUnix([]byte(`{"id": 1, "op": "dial"}`), syscall.UnixRights(int(f.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err == nil {
		t.Error("a descriptor that nobody asked for: it is no fault")
	}
	_, conn, _ = raw(t, Config{})
	if _, err := conn.Write([]byte(`{"id": 7, "op": "reboot"}`)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, brokerwire.MaxMessage)
	n, err := conn.Read(buf)
	var ans brokerwire.Answer
	if err != nil || json.Unmarshal(buf[:n], &ans) != nil || ans.ID != 7 || ans.Error == nil || ans.Error.Class != sdk.Unsupported {
		t.Errorf("an unknown operation: %s, %v", buf[:n], err)
	}
}

// The text of an error repeats little of what the plugin said, and who closes the way of answers is not waited for.
func TestAnswersAreShortOrTheEnd(t *testing.T) {
	_, conn, served := raw(t, Config{})
	ask := func(id int) {
		if _, err := fmt.Fprintf(conn, `{"id": %d, "op": %q}`, id, strings.Repeat("é", 900)); err != nil {
			t.Fatal(err)
		}
	}
	ask(1)
	buf := make([]byte, brokerwire.MaxMessage)
	n, err := conn.Read(buf)
	var ans brokerwire.Answer
	if err != nil || json.Unmarshal(buf[:n], &ans) != nil || ans.Error == nil {
		t.Fatalf("%s, %v", buf[:n], err)
	}
	if m := ans.Error.Message; len(m) > maxWords+len("…") || !utf8.ValidString(m) || !strings.HasSuffix(m, "…") {
		t.Errorf("%d bytes: %q", len(m), m)
	}
	if err := conn.CloseRead(); err != nil {
		t.Fatal(err)
	}
	ask(2)
	select {
	case err := <-served:
		t.Log("the session ended:", err)
	case <-time.After(20 * time.Second):
		t.Fatal("the session goes on though nothing can be answered")
	}
}

// A plugin that does not read what became of its datagrams can go on sending.
func TestUnreadFailuresHoldUpNothing(t *testing.T) {
	r := start(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetListen, "proto", "udp")}})
	conn, err := r.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const many = 5000
	for i := range many {
		if _, err := conn.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}); err != nil {
			t.Fatalf("datagram %d: %v", i, err)
		}
	}
	eventually(t, "all were looked at", func() bool { return find(t, r.Broker, sdk.CapNetDial, "udp 127.0.0.1:9").Denied == many })
}

// A plugin that asks without end and reads no answer is not read any more, and holds nothing but its own requests.
func TestFloodIsBounded(t *testing.T) {
	b, conn, served := raw(t, Config{Grants: []sdk.Permission{grant(sdk.CapNetDial)}})
	before := runtime.NumGoroutine()
	stuck := false
	for i := 1; i < 1_000_000; i++ {
		if err := conn.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, `{"id": %d, "op": "dial", "network": "tcp", "address": "gone.example.org:80"}`, i); err != nil {
			stuck = errors.Is(err, os.ErrDeadlineExceeded)
			break
		}
	}
	if !stuck {
		t.Error("the flood was never held back")
	}
	if n := runtime.NumGoroutine() - before; n > brokerwire.MaxRequests+10 {
		t.Errorf("%d goroutines work on it", n)
	}
	b.Close()
	if err := <-served; err != nil {
		t.Errorf("the end of the broker is no fault: %v", err)
	}
}

// Whoever answers for the instance hears of each target once, however often it is tried.
func TestTheFirstRefusalIsTold(t *testing.T) {
	var told []string
	u := newUses(time.Now, slog.New(slog.DiscardHandler), func(capability, detail string, err error) {
		told = append(told, capability+" "+detail+": "+err.Error())
	})
	for range 3 {
		u.refused(target{cap: sdk.CapFSRead, host: "/etc/shadow"}, errors.New("not granted"))
		u.refused(target{cap: sdk.CapFSRead, host: "/etc/passwd"}, errors.New("not granted"))
	}
	u.allowed(target{cap: sdk.CapFSRead, host: "/etc/hosts"})
	if len(told) != 2 || !strings.Contains(told[0], "/etc/shadow") || !strings.HasSuffix(told[0], ": not granted") {
		t.Errorf("told %q", told)
	}
}

func (l *lockedWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.w)
}
