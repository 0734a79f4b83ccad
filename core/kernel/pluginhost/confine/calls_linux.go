package confine

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// How many refused calls of one process are answered: so many a second, and so many at once. A process that makes more
// waits for each answer, instead of keeping the host busy.
const (
	callsPerSecond = 1000
	callsBurst     = 1000
)

// allCalls is the same for all processes together: each answer wakes the host, and that is on nobody's account.
var allCalls = rate.NewLimiter(2*callsPerSecond, 2*callsBurst)

// notification and response are what the kernel and a listener tell each other: struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	data  struct {
		number  int32
		arch    uint32
		pointer uint64
		args    [6]uint64
	}
}

type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// canListen reports whether this kernel gives refused calls to somebody else to answer, in the form that we know.
func canListen() bool {
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	if seccomp(unix.SECCOMP_GET_ACTION_AVAIL, &action) != nil {
		return false
	}
	_, err := notificationSizes()
	return err == nil
}

// notificationSizes are what the kernel writes and reads; younger ones may write more than we know of.
var notificationSizes = sync.OnceValues(func() (sizes [3]uint16, err error) {
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes))); errno != 0 {
		return sizes, errno
	}
	if uintptr(sizes[0]) < unsafe.Sizeof(notification{}) || uintptr(sizes[1]) < unsafe.Sizeof(response{}) {
		return sizes, errors.New("smaller than any kernel's")
	}
	return sizes, nil
})

// listener answers the refused calls of one process with the errno that the kernel would give, and tells of each.
type listener struct {
	file  *os.File
	tell  func(RefusedCall) // may be nil
	pace  *rate.Limiter
	all   *rate.Limiter // what it shares with the others
	info  *arch.Info
	in    []uint64 // a notification, and what a younger kernel adds
	out   []uint64
	ended chan struct{}
	// harmless is whether the last call was one that a library makes by itself: it is refused, and told nobody.
	harmless bool
	probes   int // how many calls of gRPC's may still come
}

// grpcProbes is how often the core of gRPC asks while a server starts whether the network knows a socket option, twice for
// each kind of address. A plugin that is served by it makes all of these calls, so one of its own is one too many.
const grpcProbes = 4

// probe reports whether a call is one of them. Python itself opens sockets with another flag.
func (l *listener) probe(call *notification) bool {
	d := &call.data
	if l.probes == 0 || d.number != unix.SYS_SOCKET || d.args[0] != unix.AF_INET && d.args[0] != unix.AF_INET6 || d.args[1] != unix.SOCK_STREAM || d.args[2] != 0 {
		return false
	}
	l.probes--
	return true
}

// nscd is where that daemon would listen.
const nscd = "/var/run/nscd/socket"

// toNSCD reads where a call to connect leads: the C library asks a daemon for the names of users before it reads files. It is refused in any case: who changes the address meanwhile hides nothing but
// that he tried.
func toNSCD(call *notification) bool {
	if call.data.number != unix.SYS_CONNECT {
		return false
	}
	buf := make([]byte, 2+len(nscd)+1)
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	n, err := unix.ProcessVMReadv(int(call.pid), local, []unix.RemoteIovec{{Base: uintptr(call.data.args[1]), Len: len(buf)}}, 0)
	return err == nil && n == len(buf) && string(buf[2:]) == nscd+"\x00"
}

// listen takes fd over. probes is how many calls of gRPC's are told nobody.
func listen(fd int, tell func(RefusedCall), probes int) (*listener, error) {
	sizes, err := notificationSizes()
	if err == nil {
		err = unix.SetNonblock(fd, true) // the runtime waits for it together with everything else
	}
	info, infoErr := arch.GetInfo("")
	if err = errors.Join(err, infoErr); err != nil {
		unix.Close(fd)
		return nil, err
	}
	words := func(size uint16) []uint64 { return make([]uint64, (int(size)+7)/8) }
	l := &listener{
		file: os.NewFile(uintptr(fd), "refused calls"), tell: tell, pace: rate.NewLimiter(callsPerSecond, callsBurst), all: allCalls, info: info,
		in: words(sizes[0]), out: words(sizes[1]), ended: make(chan struct{}), probes: probes,
	}
	go l.serve()
	return l, nil
}

// close ends it. What the process still asks then, the kernel answers.
func (l *listener) close() {
	l.file.Close()
	<-l.ended
}

// serve answers until the process is gone.
func (l *listener) serve() {
	defer close(l.ended)
	raw, err := l.file.SyscallConn()
	if err != nil {
		return
	}
	for gone := false; err == nil && !gone; {
		var call *notification
		err = raw.Read(func(fd uintptr) bool {
			call, gone = l.take(fd)
			return gone || call != nil
		})
		if call == nil {
			continue
		}
		// The process goes on before anybody thinks about what it did.
		c := describeCall(l.info.SyscallNumbers[int(call.data.number)], call.data.arch == uint32(l.info.ID), call.data.args)
		if l.tell != nil && !l.harmless {
			l.tell(c)
		}
		if wait := max(l.pace.Reserve().Delay(), l.all.Reserve().Delay()); wait > 0 {
			time.Sleep(wait)
		}
	}
}

// take answers one call if there is one.
func (l *listener) take(fd uintptr) (call *notification, gone bool) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 0); err != nil {
		return nil, false
	}
	if fds[0].Revents&unix.POLLIN == 0 { // to receive now would wait
		return nil, fds[0].Revents != 0
	}
	clear(l.in) // the kernel asks for that
	if err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&l.in[0])); err != nil {
		return nil, false // the caller has been ended meanwhile
	}
	call = (*notification)(unsafe.Pointer(&l.in[0]))
	l.harmless = call.data.arch == uint32(l.info.ID) && (toNSCD(call) || l.probe(call))
	clear(l.out)
	answer := (*response)(unsafe.Pointer(&l.out[0]))
	answer.id, answer.errno = call.id, -int32(unix.EPERM)
	if call.data.arch != uint32(l.info.ID) {
		answer.errno = -int32(unix.ENOSYS)
	}
	_ = ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&l.out[0])) // who does not wait any more needs no answer
	return call, false
}

func ioctl(fd, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return errno
		}
	}
}
