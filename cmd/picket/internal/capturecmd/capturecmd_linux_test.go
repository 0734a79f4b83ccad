package capturecmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/traffic/capture"
)

// TestCaptureOnLoopback sends datagrams to itself until as many were captured as were asked for.
func TestCaptureOnLoopback(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to capture needs root")
	}
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	_, port, _ := net.SplitHostPort(to.LocalAddr().String())
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		from, err := net.Dial("udp4", to.LocalAddr().String())
		if err != nil {
			return
		}
		defer from.Close()
		buf := make([]byte, 100)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, _ = from.Write([]byte("picket"))
			_, _, _ = to.ReadFrom(buf)
		}
	}()
	file := filepath.Join(t.TempDir(), "lo.pcap")
	_, said, err := try(t, "-i", "lo", "-w", file, "-c", "5", "--ring", "2MiB", "udp", "port", port)
	close(stop)
	<-stopped
	if err != nil || !strings.Contains(said, "5 packets (240 B) written") {
		t.Fatalf("%v: %s", err, said)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var p capture.Packet
	for ; r.Next(&p) == nil; n++ {
		if !strings.HasSuffix(string(p.Data), "picket") {
			t.Errorf("%q", p.Data)
		}
	}
	if err := r.Next(&p); n != 5 || !errors.Is(err, io.EOF) {
		t.Errorf("%d packets, %v", n, err)
	}
}

// TestCaptureEnds after a while without a packet.
func TestCaptureEnds(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to capture needs root")
	}
	out, said, err := try(t, "-i", "lo", "-w", "-", "--for", "100ms", "--ring", "2MiB", "udp and port 9 and host 127.1.2.3")
	if err != nil || len(out) != 24 || !strings.Contains(said, "0 packets (0 B) written") {
		t.Errorf("%d bytes, %q, %v", len(out), said, err)
	}
}

// begun is standard error, and tells when something was written there.
type begun struct {
	bytes.Buffer
	once sync.Once
	tell chan struct{}
}

func (b *begun) Write(p []byte) (int, error) {
	n, err := b.Buffer.Write(p)
	b.once.Do(func() { close(b.tell) })
	return n, err
}

// TestWhatCameBeforeTheEndIsWritten ends a capture while all its packets are in the ring.
func TestWhatCameBeforeTheEndIsWritten(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to capture needs root")
	}
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	_, port, _ := net.SplitHostPort(to.LocalAddr().String())
	from, err := net.Dial("udp4", to.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := &begun{tell: make(chan struct{})}
	o := options{file: "-", socket: packetsocket.Config{Interface: "lo", Filter: "udp port " + port, RingBytes: 2 << 20}}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, io.Discard, said) }()
	select {
	case <-said.tell:
	case err := <-ended:
		t.Fatal(err)
	}
	const packets = 500
	for range packets {
		if _, err := from.Write([]byte("picket")); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil || !strings.Contains(said.String(), "500 packets (23.4 kB) written") {
		t.Errorf("%v: %s", err, said)
	}
}
