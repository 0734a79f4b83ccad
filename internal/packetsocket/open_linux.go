package packetsocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/packetsocket/filter"
)

// Socket is one that was opened. Its methods may be called from several goroutines.
type Socket struct {
	geometry Geometry
	name     string
	index    int
	file     *os.File
	wake     *os.File

	mu     sync.Mutex // guards counts
	counts Counts
}

// vlanRoom is left before each packet, where the reader puts a tag back that the kernel took off.
const vlanRoom = 4

// Open opens a socket. Packets arrive from when it returns.
func Open(cfg Config) (_ *Socket, err error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	iface, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("capture on %s: there is no such interface", cfg.Interface)
	}
	// Without a protocol nothing arrives until bind, when the filter is in place.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("capture on %s: this process may not (it lacks CAP_NET_RAW): run it as root, or give it the capability (systemd: AmbientCapabilities=CAP_NET_RAW)", cfg.Interface)
	}
	if err != nil {
		return nil, fmt.Errorf("capture on %s: %w", cfg.Interface, err)
	}
	s := &Socket{name: cfg.Interface, index: iface.Index, file: os.NewFile(uintptr(fd), "packets of "+cfg.Interface),
		geometry: Geometry{Blocks: cfg.RingBytes / blockSize, BlockSize: blockSize}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	link, err := linkOf(fd, cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("capture on %s: %w", cfg.Interface, err)
	}
	s.geometry.RawIP = link == filter.RawIP
	program, err := filter.Compile(cfg.Filter, link, cfg.SnapLen)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(fd, iface, program, cfg.Promiscuous); err != nil {
		return nil, fmt.Errorf("capture on %s: %w", cfg.Interface, err)
	}
	return s, nil
}

// linkOf says what the packets of an interface begin with.
func linkOf(fd int, name string) (filter.Link, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	//nolint:gosec // the request lives until the call has returned
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFHWADDR, uintptr(unsafe.Pointer(request))); no != 0 {
		return 0, fmt.Errorf("find out its kind: %w", no)
	}
	switch kind := request.Uint16(); kind {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return filter.Ethernet, nil
	case unix.ARPHRD_NONE, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT, unix.ARPHRD_IPGRE:
		return filter.RawIP, nil
	default:
		return 0, fmt.Errorf("packets of an interface of its kind (%d) are not understood; Ethernet and IP are", kind)
	}
}

func (s *Socket) prepare(fd int, iface *net.Interface, program []bpf.RawInstruction, promiscuous bool) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("ring of version 3: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_RESERVE, vlanRoom); err != nil {
		return fmt.Errorf("room for tags: %w", err)
	}
	// Packets are stamped as they arrive, not when this socket's turn comes.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("time stamps: %w", err)
	}
	if err := attach(fd, program); err != nil {
		return fmt.Errorf("attach the filter: %w", err)
	}
	if iface.Flags&net.FlagLoopback != 0 { // all that it sends is also received
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("take loopback packets once: %w", err)
		}
	}
	g := s.geometry
	ring := unix.TpacketReq3{Block_size: uint32(g.BlockSize), Block_nr: uint32(g.Blocks), Frame_size: uint32(g.BlockSize), Frame_nr: uint32(g.Blocks),
		Retire_blk_tov: uint32(blockTime.Milliseconds())}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &ring); err != nil {
		return fmt.Errorf("a ring of %d bytes: %w", g.Blocks*g.BlockSize, err)
	}
	if promiscuous {
		want := unix.PacketMreq{Ifindex: int32(s.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &want); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	if err := s.watch(fd); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: s.index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// attach sets the filter, which then nobody can take off: the worker gets this socket.
func attach(fd int, program []bpf.RawInstruction) error {
	list := make([]unix.SockFilter, len(program))
	for i, in := range program {
		list[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	//nolint:gosec // the kernel copies the program during the call
	prog := unix.SockFprog{Len: uint16(len(list)), Filter: (*unix.SockFilter)(unsafe.Pointer(&list[0]))}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1)
}

// watch makes the descriptor by which a worker waits. Each block wakes it once.
func (s *Socket) watch(fd int) error {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	s.wake = os.NewFile(uintptr(poll), "packets of "+s.name+" to come")
	return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)})
}

func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// Geometry describes the ring.
func (s *Socket) Geometry() Geometry { return s.geometry }

// Files are the descriptors for the worker: the ring, and what wakes it. They stay the socket's.
func (s *Socket) Files() (ring, wake *os.File) { return s.file, s.wake }

// Counts asks the kernel.
func (s *Socket) Counts() (Counts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, err := s.file.SyscallConn()
	if err != nil {
		return s.counts, err
	}
	var now *unix.TpacketStatsV3
	if err2 := raw.Control(func(fd uintptr) {
		now, err = unix.GetsockoptTpacketStatsV3(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); err2 != nil {
		err = err2
	}
	if err != nil {
		return s.counts, err
	}
	s.counts.Packets += uint64(now.Packets) // asking sets them back to 0
	s.counts.Dropped += uint64(now.Drops)
	s.counts.Frozen += uint64(now.Freeze_q_cnt)
	return s.counts, nil
}

// Gone reports that the interface was removed: one of the same name is another. One that is merely down comes back.
func (s *Socket) Gone() bool {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		bound, err := unix.Getsockname(int(fd))
		where, ok := bound.(*unix.SockaddrLinklayer)
		gone = err == nil && (!ok || where.Ifindex != s.index)
	})
	return gone || err != nil
}

// Close ends the capture once the last worker has let go of the ring.
func (s *Socket) Close() error {
	err := s.file.Close()
	if s.wake != nil {
		err = errors.Join(err, s.wake.Close())
	}
	return err
}
