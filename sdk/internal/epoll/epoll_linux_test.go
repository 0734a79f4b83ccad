package epoll

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestAWatchHearsOfItsDirectionAlone(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	var in Watch
	if err := in.Close(); err != nil {
		t.Errorf("a watch that was never opened: %v", err)
	}
	if err := in.Open(pair[0], unix.EPOLLIN|unix.EPOLLET); err != nil {
		t.Fatal(err)
	}
	tries, heard := 0, make(chan error, 1)
	waiting := make(chan struct{})
	go func() {
		heard <- in.Raw().Read(func(uintptr) bool {
			if tries++; tries == 1 {
				close(waiting)
			}
			n, _ := unix.Read(pair[0], make([]byte, 8))
			return n > 0
		})
	}()
	<-waiting // the socket has room all the time, which is none of its business
	if _, err := unix.Write(pair[1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-heard; err != nil || tries > 2 {
		t.Errorf("tried %d times: %v", tries, err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := in.Raw().Read(func(uintptr) bool { return false }); err == nil {
		t.Error("it can be waited for after its end")
	}
}
