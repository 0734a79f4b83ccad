package live

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/packetsocket"
)

// link is two machines, each a network namespace, with a cable between their eth0.
type link struct {
	t           *testing.T
	left, right string
}

const leftAddress, rightAddress = "10.77.0.1", "10.77.0.2"

func newLink(t *testing.T) *link {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("machines of their own need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("iproute2 is not installed")
	}
	l := &link{t: t, left: fmt.Sprintf("pkl%d-a", os.Getpid()), right: fmt.Sprintf("pkl%d-b", os.Getpid())}
	for _, ns := range []string{l.left, l.right} {
		l.must("ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	}
	l.must("ip", "-n", l.left, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", l.right)
	for ns, address := range map[string]string{l.left: leftAddress, l.right: rightAddress} {
		l.must("ip", "-n", ns, "address", "add", address+"/24", "dev", "eth0")
		l.must("ip", "-n", ns, "address", "add", "fd77::"+address[len(address)-1:]+"/64", "dev", "eth0", "nodad")
		l.must("ip", "-n", ns, "link", "set", "lo", "up")
		l.must("ip", "-n", ns, "link", "set", "eth0", "up")
	}
	l.connected(l.left)
	l.connected(l.right)
	return l
}

// connected waits until the cable carries something.
func (l *link) connected(ns string) {
	l.t.Helper()
	l.in(ns, func() error {
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if iface, err := net.InterfaceByName("eth0"); err != nil {
				return err
			} else if iface.Flags&net.FlagRunning != 0 {
				return nil
			}
		}
		return fmt.Errorf("eth0 of %s has no carrier", ns)
	})
}

func (l *link) must(name string, args ...string) {
	l.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// start runs a program on a machine until the test ends, or stop is called.
func (l *link) start(ns string, args ...string) (stop func()) {
	l.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
	var says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &says, &says
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
		if l.t.Failed() && says.Len() > 0 {
			l.t.Logf("%v said: %s", args, says.String())
		}
	}
	l.t.Cleanup(stop)
	return stop
}

// in runs work within the network of a machine.
func (l *link) in(ns string, work func() error) {
	l.t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, in whatever network it is
		f, err := os.Open("/var/run/netns/" + ns)
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = work()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		l.t.Fatal(err)
	}
}

// open opens a socket on a machine's eth0.
func (l *link) open(ns string, cfg packetsocket.Config) *packetsocket.Socket {
	l.t.Helper()
	var s *packetsocket.Socket
	l.in(ns, func() (err error) {
		s, err = packetsocket.Open(cfg)
		return err
	})
	l.t.Cleanup(func() { _ = s.Close() })
	return s
}

// ring maps a socket as a worker does, with descriptors of its own.
func (l *link) ring(ctx context.Context, s *packetsocket.Socket) *Ring {
	l.t.Helper()
	ring, wake := s.Files()
	r, err := Open(ctx, duplicate(l.t, ring), duplicate(l.t, wake), s.Geometry(), false)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func duplicate(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := os.NewFile(uintptr(fd), f.Name())
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// send puts frames on the cable at the end of a machine.
func (l *link) send(ns string, frames ...[]byte) {
	l.t.Helper()
	l.in(ns, func() error {
		iface, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: iface.Index}); err != nil {
				return err
			}
		}
		return nil
	})
}

// answers waits until somebody listens.
func (l *link) answers(ns string, ports ...string) {
	l.t.Helper()
	for _, port := range ports {
		l.in(ns, func() error {
			var err error
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				var c net.Conn
				if c, err = net.Dial("tcp", "127.0.0.1:"+port); err == nil {
					return c.Close()
				}
			}
			return err
		})
	}
}
