package reach

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/sdk"
)

// What is no regular file is not even opened: to open a device or a pipe can do something.
func TestOpenTouchesNothingElse(t *testing.T) {
	dir := realTemp(t)
	pipe, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "file")
	write(t, file, "x")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	for _, name := range []string{pipe, file} {
		if _, err := unix.InotifyAddWatch(watch, name, unix.IN_OPEN); err != nil {
			t.Fatal(err)
		}
	}
	opened := func() bool {
		n, _ := unix.Read(watch, make([]byte, 4096))
		return n > 0
	}
	r := &Reach{Grants: sdk.Grants{grant(sdk.CapFSRead, "paths", dir)}}
	if _, err := r.Open(pipe); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a pipe: %v", err)
	}
	if opened() {
		t.Error("the pipe was opened")
	}
	f, err := r.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if !opened() {
		t.Error("the kernel tells of no file that is opened: this test sees nothing")
	}
}
