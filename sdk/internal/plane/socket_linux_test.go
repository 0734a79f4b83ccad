package plane

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/sdk/internal/epoll"
)

func sockets(t *testing.T) (a, b *socket) {
	t.Helper()
	fa, fb, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer fa.Close()
	defer fb.Close()
	out := [2]*socket{}
	for i, f := range []*os.File{fa, fb} {
		if out[i], err = openSocket(f); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { out[i].Close() })
	}
	return out[0], out[1]
}

// ready says whether the runtime is woken because of a watch.
func ready(t *testing.T, w *epoll.Watch) bool {
	t.Helper()
	var n int
	var failure error
	err := w.Raw().Control(func(ep uintptr) { n, failure = unix.Poll([]unix.PollFd{{Fd: int32(ep), Events: unix.POLLIN}}, 0) })
	if err := errors.Join(err, failure); err != nil {
		t.Fatal(err)
	}
	return n > 0
}

func TestASocketIsNotWokenByWhatTheOtherReads(t *testing.T) {
	a, b := sockets(t)
	text := []byte("a message")
	if _, err := a.write([][]byte{text[:3], text[3:]}, nil); err != nil {
		t.Fatal(err)
	}
	if !ready(t, &b.in) {
		t.Error("nobody hears of a message")
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("got %q, %v", got, err)
	}
	if ready(t, &a.in) || ready(t, &a.out) {
		t.Error("the writer is woken because the other side has read")
	}
}

func TestASocketWritesMoreThanThereIsRoomFor(t *testing.T) {
	a, b := sockets(t)
	big := bytes.Repeat([]byte("0123456789abcde"), 8*socketBuffer/15)
	done := make(chan error, 1)
	go func() {
		n, err := a.write([][]byte{big[:100], big[100:]}, nil)
		if n != len(big) {
			err = errors.Join(err, io.ErrShortWrite)
		}
		done <- err
	}()
	got := make([]byte, len(big))
	if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("other bytes arrive, %v", err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if ready(t, &a.out) {
		t.Error("the writer still listens for room")
	}
}

func TestASocketEndsWhatWaits(t *testing.T) {
	a, b := sockets(t)
	if err := a.setReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read after its deadline: %v", err)
	}
	if err := a.setReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 2)
	go func() {
		_, err := a.Read(make([]byte, 1))
		waiting <- err
	}()
	go func() {
		_, err := a.write([][]byte{make([]byte, 8*socketBuffer)}, nil)
		waiting <- err
	}()
	for !ready(t, &b.in) { // the write has begun
		time.Sleep(time.Millisecond)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-waiting; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		t.Errorf("the other side: %v", err)
	}
	if _, err := b.write([][]byte{[]byte("x")}, nil); !reset(err) {
		t.Errorf("a write to a closed socket: %v", err)
	}
}

func TestOnlyUnixSockets(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s, err := openSocket(f); err == nil {
		s.Close()
		t.Error("a file is a socket")
	}
}
