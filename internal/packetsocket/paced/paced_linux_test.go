package paced

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// capture writes packets of these lengths.
func capture(t *testing.T, link uint32, lengths ...uint32) string {
	t.Helper()
	var b bytes.Buffer
	for _, v := range []any{uint32(0xa1b2c3d4), uint16(2), uint16(4), uint64(0), uint32(65535), link} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	for i, n := range lengths {
		_ = binary.Write(&b, binary.LittleEndian, []uint32{uint32(i), 0, n, n})
		if n < maxFrame {
			b.Write(bytes.Repeat([]byte{byte(i)}, int(n)))
		}
	}
	file := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoad(t *testing.T) {
	frames, err := Load(capture(t, 1, 60, 70, 80), 100)
	if err != nil || len(frames) != 2 || len(frames[1]) != 70 || frames[1][0] != 1 {
		t.Errorf("%d frames, %v", len(frames), err)
	}
	for _, wrong := range []string{capture(t, 113, 60), capture(t, 1, maxFrame+1), capture(t, 1, 0), filepath.Join(t.TempDir(), "none")} {
		if _, err := Load(wrong, 1000); err == nil {
			t.Errorf("%s was read", wrong)
		}
	}
}

// TestSendKeepsItsRate sends over loopback, where nobody listens, and goes on where it stopped.
func TestSendKeepsItsRate(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to send frames needs root")
	}
	if _, err := net.InterfaceByName("lo"); err != nil {
		t.Skip(err)
	}
	s := &Sender{Interface: "lo", Frames: [][]byte{make([]byte, 60), make([]byte, 60), make([]byte, 60)}}
	total := 0
	for range 2 {
		sent, took, err := s.Send(10_000, 50*time.Millisecond)
		if err != nil || sent == 0 || float64(sent) > 10_000*took.Seconds()+64 {
			t.Errorf("%d in %s, %v", sent, took, err)
		}
		total += sent
	}
	if s.next != total%3 {
		t.Errorf("frame %d is next after %d", s.next, total)
	}
	if _, _, err := (&Sender{Interface: "none0"}).Send(1, time.Millisecond); err == nil {
		t.Error("sent where there is no interface")
	}
}
