package broker

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/brokerwire"
)

const (
	relayBuffer = 16 << 10
	// goneCheck is how often a connection whose plugin sends no more is looked at: it may have closed it for good.
	goneCheck = 250 * time.Millisecond
	// acceptPause is how long a listener rests when the machine has no descriptors left.
	acceptPause = 100 * time.Millisecond
)

// relayStream copies both ways until both have ended or one has failed.
func (s *session) relayStream(plugin *net.UnixConn, outside net.Conn, use *entry, release func()) {
	finish := s.track(plugin, outside)
	inbound := make(chan struct{})
	s.work.Go(func() {
		defer close(inbound)
		if pump(plugin, outside, &use.in) != nil || plugin.CloseWrite() != nil {
			plugin.Close()
			outside.Close()
		}
	})
	s.work.Go(func() {
		defer release()
		defer finish()
		defer func() { <-inbound }()
		if pump(outside, plugin, &use.out) != nil || closeWrite(outside) != nil || gone(plugin, inbound) {
			plugin.Close()
			outside.Close()
		}
	})
}

// pump copies until src ends, and counts while it does.
func pump(dst io.Writer, src io.Reader, count *atomic.Uint64) error {
	buf := make([]byte, relayBuffer)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			count.Add(uint64(n))
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func closeWrite(conn net.Conn) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// gone waits for the end of the other direction and returns true when the plugin closed its end before: nobody is left
// to read what still comes.
func gone(plugin *net.UnixConn, inbound <-chan struct{}) bool {
	tick := time.NewTicker(goneCheck)
	defer tick.Stop()
	for {
		if hungUp(plugin) {
			return true
		}
		select {
		case <-inbound:
			return false
		case <-tick.C:
		}
	}
}

// relayListener hands each connection over as a relay of its own.
func (s *session) relayListener(plugin *brokerwire.Conn, l net.Listener, use *entry, release func()) {
	finish := s.track(plugin, l)
	s.work.Go(func() { // the plugin sends nothing: this waits for it to close
		plugin.Receive(false) //nolint:errcheck // whatever it is, the listener ends
		l.Close()
	})
	s.work.Go(func() {
		defer release()
		defer finish()
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				s.pause(acceptPause)
				continue
			}
			if err := s.accept(plugin, conn, use); err != nil {
				conn.Close()
			}
		}
	})
}

func (s *session) pause(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}

func (s *session) accept(plugin *brokerwire.Conn, conn net.Conn, use *entry) error {
	release, err := s.slot()
	if err != nil {
		return err
	}
	ours, theirs, err := pair(false)
	if err != nil {
		release()
		return err
	}
	defer theirs.Close()
	err = plugin.Send(brokerwire.Accepted{Local: conn.LocalAddr().String(), Remote: conn.RemoteAddr().String()}, theirs)
	if err != nil {
		ours.Close()
		release()
		return err
	}
	s.relayStream(ours, conn, use, release)
	return nil
}

// connected makes a UDP socket with one peer a PacketConn.
type connected struct{ *net.UDPConn }

func (c connected) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := c.Read(b)
	return n, nil, err
}

func (c connected) WriteTo(b []byte, to net.Addr) (int, error) {
	if to != nil {
		return 0, errAddressed
	}
	return c.Write(b)
}

var errAddressed = errors.New("a datagram with an address on a connected socket")

// relayPackets copies datagrams both ways until the plugin closes its end.
func (s *session) relayPackets(plugin *net.UnixConn, outside net.PacketConn, use *entry, release func()) {
	finish := s.track(plugin, outside)
	inbound := make(chan struct{})
	s.work.Go(func() {
		defer close(inbound)
		s.packetsIn(plugin, outside, use)
		plugin.Close()
	})
	s.work.Go(func() {
		defer release()
		defer finish()
		defer func() { <-inbound }()
		if lost := s.packetsOut(plugin, outside, use); lost > 0 {
			s.b.cfg.Log.Warn("the plugin does not read what came of its datagrams", "detail", printable(use.target.detail()), "lost", lost)
		}
		outside.Close()
		plugin.Close()
	})
}

// packetsIn waits when the plugin does not read: the kernel drops what comes meanwhile, as for every slow reader.
func (s *session) packetsIn(plugin *net.UnixConn, outside net.PacketConn, use *entry) {
	buf := make([]byte, brokerwire.MaxDatagram)
	const headRoom = 300
	out := make([]byte, 0, brokerwire.MaxDatagram+headRoom)
	for {
		n, from, err := outside.ReadFrom(buf)
		cause := brokerwire.CauseOf(err)
		switch {
		case err == nil:
			use.in.Add(uint64(n))
			out = append(brokerwire.AppendDatagram(out[:0], addrPort(from)), buf[:n]...)
		case cause == brokerwire.CauseRefused || cause == brokerwire.CauseUnreachable:
			out = brokerwire.AppendDatagramError(out[:0], cause)
		default:
			return
		}
		if _, err := plugin.Write(out); err != nil {
			return
		}
	}
}

// packetsOut ends when the plugin has closed its end or sends what is no datagram. It returns how many failures it could
// not tell the plugin.
func (s *session) packetsOut(plugin *net.UnixConn, outside net.PacketConn, use *entry) (lost uint64) {
	_, overIP := outside.LocalAddr().(*net.IPAddr)
	icmp := overIP || use.target.cap == sdk.CapNetRaw
	buf := make([]byte, brokerwire.MaxDatagram)
	for {
		n, err := plugin.Read(buf)
		if err != nil {
			return lost
		}
		to, payload, err := brokerwire.ParseDatagram(buf[:n])
		if err != nil {
			return lost
		}
		if _, err = outside.WriteTo(payload, netAddr(to, icmp)); err == nil {
			use.out.Add(uint64(len(payload)))
			continue
		}
		if errors.Is(err, net.ErrClosed) || errors.Is(err, errAddressed) {
			return lost
		}
		if !s.undelivered(plugin, to, err) {
			lost++
		}
	}
}

// undelivered tells the plugin and counts what the grants refused. It returns false when the plugin does not read: to wait
// for it would hold up what it sends.
func (s *session) undelivered(plugin *net.UnixConn, to netip.AddrPort, err error) bool {
	cause := brokerwire.CauseOf(err)
	if sdk.ClassOf(err) == sdk.PermissionDenied {
		cause = brokerwire.CausePermission
		s.b.uses.refused(target{cap: sdk.CapNetDial, network: "udp", host: to.Addr().String(), port: int(to.Port())}, err)
	}
	return cause == "" || writeNow(plugin, brokerwire.AppendDatagramError(nil, cause))
}

func addrPort(addr net.Addr) netip.AddrPort {
	switch a := addr.(type) {
	case *net.UDPAddr:
		return a.AddrPort()
	case *net.IPAddr:
		ip, _ := netip.AddrFromSlice(a.IP)
		return netip.AddrPortFrom(ip.Unmap().WithZone(a.Zone), 0)
	}
	return netip.AddrPort{}
}

// netAddr returns nil for the connected peer.
func netAddr(to netip.AddrPort, icmp bool) net.Addr {
	switch {
	case !to.IsValid():
		return nil
	case icmp:
		return &net.IPAddr{IP: to.Addr().AsSlice(), Zone: to.Addr().Zone()}
	}
	return net.UDPAddrFromAddrPort(to)
}
