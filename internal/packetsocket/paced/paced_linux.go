// Package paced sends frames at a rate, for benchmarks of what reads them. In goes a capture, out go its frames past the queues of
// an interface of the network namespace that the caller's thread is in.
package paced

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxFrame bounds a frame of a capture.
const maxFrame = 256 << 10

// Load reads the first frames of a classic capture of Ethernet, up to so many bytes of them.
func Load(file string, most int) (out [][]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var head [24]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if magic := binary.LittleEndian.Uint32(head[:]); magic != 0xa1b2c3d4 && magic != 0xa1b23c4d || binary.LittleEndian.Uint16(head[20:]) != 1 {
		return nil, fmt.Errorf("%s is no classic capture of Ethernet in the order of this machine", file)
	}
	for total := 0; total < most; {
		_, err := io.ReadFull(r, head[:16])
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		size := binary.LittleEndian.Uint32(head[8:])
		if err == nil && (size == 0 || size > maxFrame) {
			err = fmt.Errorf("it has %d bytes", size)
		}
		if err != nil {
			return out, fmt.Errorf("%s: packet %d: %w", file, len(out)+1, err)
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(r, frame); err != nil {
			return out, fmt.Errorf("%s: packet %d: %w", file, len(out)+1, err)
		}
		total += len(frame)
		out = append(out, frame)
	}
	return out, nil
}

// Sender sends frames one after the other, and begins again behind the last.
type Sender struct {
	Interface string
	Frames    [][]byte
	next      int
}

// outgoing is the kernel's struct mmsghdr.
type outgoing struct {
	head unix.Msghdr
	_    uint32 // bytes that were sent
	_    [4]byte
}

// Send sends at a rate, in packets a second, for a while.
func (s *Sender) Send(rate float64, during time.Duration) (sent int, took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // the thread's; it sleeps between two batches
	iface, err := net.InterfaceByName(s.Interface)
	if err != nil {
		return 0, 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: iface.Index}); err != nil {
		return 0, 0, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	const batch = 64
	var messages [batch]outgoing
	var parts [batch]unix.Iovec
	began := time.Now()
	for time.Since(began) < during {
		for i := range messages {
			frame := s.Frames[(s.next+i)%len(s.Frames)]
			parts[i].Base = &frame[0]
			parts[i].SetLen(len(frame))
			messages[i].head.Iov = &parts[i]
			messages[i].head.Iovlen = 1
		}
		n, _, no := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])), batch, 0, 0, 0)
		if no == unix.ENOBUFS {
			n, no = 0, 0
		}
		if no != 0 {
			return sent, time.Since(began), no
		}
		sent, s.next = sent+int(n), (s.next+int(n))%len(s.Frames)
		wait(began.Add(time.Duration(float64(sent) / rate * float64(time.Second))))
	}
	return sent, time.Since(began), nil
}

// shortest is what is worth to be slept; less is waited for.
const shortest = 100 * time.Microsecond

// wait returns at a time. It sleeps where it can, because what is measured shares the processors with it.
func wait(until time.Time) {
	for left := time.Until(until); left > 0; left = time.Until(until) {
		if left < shortest {
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			continue
		}
		pause := unix.NsecToTimespec(int64(left - shortest/2))
		_ = unix.Nanosleep(&pause, nil) // the runtime's own timers are coarser
	}
}
