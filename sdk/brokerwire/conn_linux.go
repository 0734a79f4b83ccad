package brokerwire

import (
	"encoding/json"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Conn is one end of a socket of packets that may bring descriptors. Send and Receive may run at the same time; Receive
// from one goroutine only.
type Conn struct {
	socket *net.UnixConn
	buf    []byte
}

// NewConn takes over the socket.
func NewConn(f *os.File) (*Conn, error) {
	socket, err := unixConn(f)
	if err != nil {
		return nil, err
	}
	return &Conn{socket: socket, buf: make([]byte, MaxMessage)}, nil
}

// unixConn closes f: net.FileConn makes its own descriptor.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("a socket of the broker: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("a socket of the broker is a %T", conn)
	}
	return socket, nil
}

// Socket turns a descriptor of the protocol into a connection. It takes f over.
func Socket(f *os.File) (*net.UnixConn, error) { return unixConn(f) }

// Socket returns the socket, for deadlines.
func (c *Conn) Socket() *net.UnixConn { return c.socket }

// Close closes the socket. A Receive that waits fails.
func (c *Conn) Close() error { return c.socket.Close() }

// Send sends one message and, unless it is nil, a descriptor. The caller keeps f.
func (c *Conn) Send(message any, f *os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("pack a message: %w", err)
	}
	if len(data) > MaxMessage {
		return fmt.Errorf("a message of %d bytes is larger than %d", len(data), MaxMessage)
	}
	var rights []byte
	if f != nil {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { rights = unix.UnixRights(int(fd)) }); err != nil {
			return err
		}
	}
	_, _, err = c.socket.WriteMsgUnix(data, rights, nil)
	return err
}

// Receive returns the next message, valid until the next call. When descriptors is true it may come with one, which
// is the caller's; when not, bringing one is an error and the kernel throws it away.
func (c *Conn) Receive(descriptors bool) ([]byte, *os.File, error) {
	var rights []byte
	if descriptors {
		rights = make([]byte, unix.CmsgSpace(4))
	}
	n, rn, flags, _, err := c.socket.ReadMsgUnix(c.buf, rights)
	if err != nil {
		return nil, nil, err
	}
	f, err := descriptor(rights[:rn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("a message is larger than %d bytes or brings descriptors that nobody asked for", MaxMessage)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, nil, err
	}
	return c.buf[:n], f, nil
}

// descriptor takes the descriptor out of a control message, nil when there is none.
func descriptor(rights []byte) (*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("a control message: %w", err)
	}
	var out *os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return out, fmt.Errorf("a control message: %w", err)
		}
		for _, fd := range fds { // the room for them allows one
			if out != nil {
				out.Close()
			}
			out = os.NewFile(uintptr(fd), "from the broker")
		}
	}
	return out, nil
}

// Pair returns two connected sockets, of type SOCK_SEQPACKET when packets is true, else SOCK_STREAM.
func Pair(packets bool) (a, b *os.File, err error) {
	kind := unix.SOCK_STREAM
	if packets {
		kind = unix.SOCK_SEQPACKET
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "broker"), os.NewFile(uintptr(fds[1]), "broker, plugin's end"), nil
}
