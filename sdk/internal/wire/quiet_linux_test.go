package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// quietPair is a connection by a Unix socket, both ends quiet.
func quietPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	lis, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	dialed, err := net.Dial("unix", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = Quiet(dialed), Quiet(accepted)
	t.Cleanup(func() { a.Close(); b.Close() })
	for _, c := range []net.Conn{a, b} {
		if _, ok := c.(*quietConn); !ok {
			t.Fatalf("a %T", c)
		}
	}
	return a, b
}

func TestAQuietConnectionCarriesMoreThanTheKernelKeeps(t *testing.T) {
	a, b := quietPair(t)
	if a.RemoteAddr().String() != b.LocalAddr().String() || a.RemoteAddr().Network() != "unix" {
		t.Errorf("%v, %v", a.RemoteAddr(), b.LocalAddr())
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB, in both directions at once
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			if n, err := ends[0].Write(sent); n != len(sent) || err != nil {
				t.Error(n, err)
			}
		}()
	}
	for _, c := range []net.Conn{a, b} {
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("other bytes came, %v", err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read after the end: %d, %v", n, err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("a write to nobody succeeds")
	}
}

func TestAQuietConnectionThatWaitsCanBeEnded(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(net.Conn) error
		want error
	}{
		{"deadline", func(c net.Conn) error { return c.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{"close", func(c net.Conn) error { return c.Close() }, net.ErrClosed},
	} {
		t.Run(end.name, func(t *testing.T) {
			a, _ := quietPair(t)
			ends := make(chan error, 2)
			go func() {
				_, err := a.Read(make([]byte, 1))
				ends <- err
			}()
			go func() {
				_, err := a.Write(make([]byte, 16<<20)) // nobody reads it
				ends <- err
			}()
			if err := end.do(a); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-ends; !errors.Is(err, end.want) {
					t.Errorf("it ended with %v", err)
				}
			}
		})
	}
	a, b := quietPair(t)
	if err := errors.Join(a.SetDeadline(time.Unix(1, 0)), a.SetDeadline(time.Time{})); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Read(make([]byte, 4)); n != 1 || err != nil {
		t.Errorf("after a deadline that was taken back: %d, %v", n, err)
	}
}

func TestOtherConnectionsStayAsTheyAre(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Quiet(a) != a {
		t.Error("another connection")
	}
	packets, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	if Quiet(packets) != net.Conn(packets) {
		t.Error("a socket of messages became a stream")
	}
}
