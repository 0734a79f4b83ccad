package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/reach"
)

const (
	requestsPerSecond = 2000 // of one process; beyond that it waits
	transferTime      = 10 * time.Second
	maxWords          = 512 // bytes of an error's text: it may repeat what the plugin said, at length
	maxTransfers      = 4   // values of the state in memory at once
)

// session is one process and all that it has open.
type session struct {
	b         *Broker
	conn      *brokerwire.Conn
	state     sdk.State
	models    []Model
	house     *House // whose front it is, nil when it answers itself
	guest     bool   // the connection is that of others too
	ctx       context.Context
	cancel    context.CancelFunc
	requests  chan struct{} // holds one element for each request at work
	transfers chan struct{} // holds one element for each value on its way
	rate      *rate.Limiter
	hasty     bool           // it has had to wait; read's alone
	work      sync.WaitGroup // requests and relays

	mu    sync.Mutex // guards all below
	ended bool
	open  map[io.Closer]bool
}

func newSession(b *Broker, conn *brokerwire.Conn, own Belongings) *session {
	s := &session{
		b: b, conn: conn, state: own.State, models: own.Models, open: map[io.Closer]bool{},
		requests:  make(chan struct{}, brokerwire.MaxRequests),
		transfers: make(chan struct{}, maxTransfers),
		rate:      rate.NewLimiter(requestsPerSecond, requestsPerSecond),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// serve answers until the process is gone, breaks the protocol, or the broker is closed.
func (s *session) serve() error {
	err := s.read()
	s.end()
	s.work.Wait()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) || brokerwire.CauseOf(err) == brokerwire.CauseReset {
		return nil
	}
	return fmt.Errorf("the plugin breaks the protocol of the broker: %w", err)
}

// end closes everything. Whoever works on something notices.
func (s *session) end() {
	s.cancel()
	if !s.guest {
		s.conn.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.open {
		c.Close()
	}
}

func (s *session) read() error {
	for {
		data, _, err := s.conn.Receive(false)
		if err != nil {
			return err
		}
		req, err := brokerwire.ParseRequest(data)
		if err != nil {
			return err
		}
		if s.rate.Tokens() < 1 && !s.hasty {
			s.hasty = true
			s.b.cfg.Limited(fmt.Sprintf("broker: it asks more than %d times a second and has to wait", requestsPerSecond))
		}
		if err := s.rate.Wait(s.ctx); err != nil {
			return err
		}
		select {
		case s.requests <- struct{}{}:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		s.work.Go(func() {
			defer func() { <-s.requests }()
			if own := s.whose(req); own != nil {
				own.answer(req)
			}
		})
	}
}

// answer does one request. A process that does not read its answers stops being read.
func (s *session) answer(req brokerwire.Request) {
	ans, f, begin, err := s.do(req)
	ans.ID, ans.Error = req.ID, brokerwire.ErrorOf(err)
	if ans.Error != nil && len(ans.Error.Message) > maxWords {
		ans.Error.Message = strings.ToValidUTF8(ans.Error.Message[:maxWords], "") + "…"
	}
	sent := s.conn.Send(ans, f)
	if f != nil {
		f.Close() // the process has its own by now
	}
	if sent != nil {
		s.conn.Close() // of all that share it
		s.end()        // the process would wait for ever; begin finds everything closed, and lets go of it
	}
	if begin != nil {
		begin()
	}
}

// do opens what is asked for: f goes to the process, begin is called once it was sent.
func (s *session) do(req brokerwire.Request) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout(req.Timeout))
	defer cancel()
	switch req.Op {
	case brokerwire.OpDial:
		return s.dial(ctx, req)
	case brokerwire.OpListen:
		return s.listen(ctx, req)
	case brokerwire.OpListenPacket:
		return s.listenPacket(ctx, req)
	case brokerwire.OpICMP:
		return s.icmp(req)
	case brokerwire.OpOpen:
		if sdk.ValidID(req.Name) { // no path looks like it
			return s.openModel(req.Name)
		}
		f, err := s.openFile(req.Name)
		return ans, f, nil, err
	case brokerwire.OpStateGet:
		return s.stateGet(req.Key)
	case brokerwire.OpStatePut:
		return s.statePut(req.Key, req.Size)
	}
	return ans, nil, nil, sdk.Errorf(sdk.Unsupported, "the broker does not know %q", req.Op)
}

func timeout(asked time.Duration) time.Duration {
	if asked <= 0 || asked > reach.DialTimeout {
		return reach.DialTimeout
	}
	return asked
}

// count notes how a request ended. Only what the rules refuse is a refusal; a server that is down is none.
func (s *session) count(t target, err error) *entry {
	if sdk.ClassOf(err) == sdk.PermissionDenied && err != nil {
		s.b.uses.refused(t, err)
	}
	if err != nil {
		return nil
	}
	return s.b.uses.allowed(t)
}

// slot takes one of the instance's connections.
func (s *session) slot() (release func(), err error) {
	select {
	case s.b.conns <- struct{}{}:
		return func() { <-s.b.conns }, nil
	default:
		s.b.cfg.Limited("connections: it wants more open at once than it may have")
		return nil, sdk.Errorf(sdk.Temporary, "the instance has %d connections open, which is all that it may have", cap(s.b.conns))
	}
}

// track makes the end of the session close c. When that has come already, it closes c at once.
func (s *session) track(closers ...io.Closer) (untrack func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range closers {
		if s.ended {
			c.Close()
		}
		s.open[c] = true
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range closers {
			c.Close()
			delete(s.open, c)
		}
	}
}

func (s *session) dial(ctx context.Context, req brokerwire.Request) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	release, err := s.slot()
	if err != nil {
		return ans, nil, nil, err
	}
	conn, err := s.b.reach.Dial(reach.WithLookupTime(ctx, &ans.Lookup), req.Network, req.Address)
	t := dialTarget(req, conn)
	use := s.count(t, err)
	if err != nil {
		release()
		return ans, nil, nil, err
	}
	ans.Local, ans.Remote = conn.LocalAddr().String(), conn.RemoteAddr().String()
	if req.Network == "unix" {
		ans.Local, ans.Remote = "", req.Address
	}
	udp, isUDP := conn.(*net.UDPConn)
	plugin, f, err := pair(isUDP)
	if err != nil {
		conn.Close()
		release()
		return ans, nil, nil, err
	}
	return ans, f, func() {
		if isUDP {
			s.relayPackets(plugin, connected{udp}, use, release)
		} else {
			s.relayStream(plugin, conn, use, release)
		}
	}, nil
}

func dialTarget(req brokerwire.Request, conn net.Conn) target {
	if req.Network == "unix" {
		return target{cap: sdk.CapUnixConnect, host: req.Address}
	}
	t := target{cap: sdk.CapNetDial, network: req.Network}
	var err error
	if t.host, t.port, err = reach.SplitAddress(req.Network, req.Address); err != nil {
		t.host = req.Address
	}
	if conn != nil {
		if at, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			t.addr = at.Addr().Unmap()
		}
	}
	return t
}

func (s *session) listen(ctx context.Context, req brokerwire.Request) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	release, err := s.slot()
	if err != nil {
		return ans, nil, nil, err
	}
	l, err := s.b.reach.Listen(ctx, req.Network, req.Address)
	use := s.count(listenTarget(req), err)
	if err != nil {
		release()
		return ans, nil, nil, err
	}
	plugin, f, err := packetPair()
	if err != nil {
		l.Close()
		release()
		return ans, nil, nil, err
	}
	ans.Local = l.Addr().String()
	return ans, f, func() { s.relayListener(plugin, l, use, release) }, nil
}

func (s *session) listenPacket(ctx context.Context, req brokerwire.Request) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	return s.packets(listenTarget(req), func() (net.PacketConn, error) { return s.b.reach.ListenPacket(ctx, req.Network, req.Address) })
}

func (s *session) icmp(req brokerwire.Request) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	t := target{cap: sdk.CapNetRaw, network: req.Network}
	return s.packets(t, func() (net.PacketConn, error) { return s.b.reach.ListenICMP(req.Network) })
}

func (s *session) packets(t target, open func() (net.PacketConn, error)) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	release, err := s.slot()
	if err != nil {
		return ans, nil, nil, err
	}
	conn, err := open()
	use := s.count(t, err)
	if err != nil {
		release()
		return ans, nil, nil, err
	}
	plugin, f, err := pair(true)
	if err != nil {
		conn.Close()
		release()
		return ans, nil, nil, err
	}
	ans.Local = conn.LocalAddr().String()
	return ans, f, func() { s.relayPackets(plugin, conn, use, release) }, nil
}

func listenTarget(req brokerwire.Request) target {
	t := target{cap: sdk.CapNetListen, network: req.Network, host: req.Address}
	if host, port, err := net.SplitHostPort(req.Address); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			t.host, t.port = host, int(n)
		}
	}
	return t
}

func joinHostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func (s *session) openFile(name string) (*os.File, error) {
	f, err := s.b.reach.Open(name)
	s.count(target{cap: sdk.CapFSRead, host: name}, err)
	return f, err
}

// pair returns our end as a connection and the plugin's end.
func pair(packets bool) (*net.UnixConn, *os.File, error) {
	ours, theirs, err := brokerwire.Pair(packets)
	if err != nil {
		return nil, nil, err
	}
	conn, err := brokerwire.Socket(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

func packetPair() (*brokerwire.Conn, *os.File, error) {
	ours, theirs, err := brokerwire.Pair(true)
	if err != nil {
		return nil, nil, err
	}
	conn, err := brokerwire.NewConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// transfer waits for room for one more value in memory.
func (s *session) transfer() (done func(), err error) {
	select {
	case s.transfers <- struct{}{}:
		return func() { <-s.transfers }, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *session) stateGet(key string) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	done, err := s.transfer()
	if err != nil {
		return ans, nil, nil, err
	}
	value, err := s.state.Get(key)
	ans.Found, ans.Size = value != nil, int64(len(value))
	if err != nil || len(value) == 0 {
		done()
		return ans, nil, nil, err
	}
	plugin, f, err := pair(false)
	if err != nil {
		done()
		return ans, nil, nil, err
	}
	return ans, f, func() {
		defer done()
		defer s.track(plugin)()
		plugin.SetDeadline(time.Now().Add(transferTime)) //nolint:errcheck // only fails on a closed socket
		plugin.Write(value)                              //nolint:errcheck // who does not read it all sees the end
	}, nil
}

func (s *session) statePut(key string, size int64) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	if size > reach.MaxStateValue {
		s.overfull()
		return ans, nil, nil, sdk.Errorf(sdk.Unsupported, "store state %.128q: %d bytes are more than %d", key, size, reach.MaxStateValue)
	}
	done, err := s.transfer()
	if err != nil {
		return ans, nil, nil, err
	}
	plugin, f, err := pair(false)
	if err != nil {
		done()
		return ans, nil, nil, err
	}
	return ans, f, func() {
		defer done()
		defer s.track(plugin)()
		s.store(plugin, key, size)
	}, nil
}

func (s *session) overfull() {
	s.b.cfg.Limited("state: it stores more or larger values, or longer keys, than its store takes")
}

// store reads a value, stores it, and says so.
func (s *session) store(plugin *net.UnixConn, key string, size int64) {
	plugin.SetDeadline(time.Now().Add(transferTime)) //nolint:errcheck // only fails on a closed socket
	value := make([]byte, size)
	_, err := io.ReadFull(plugin, value)
	if err == nil {
		if n, _ := plugin.Read(make([]byte, 1)); n != 0 {
			err = fmt.Errorf("more than the %d bytes that were announced", size)
		}
	}
	if err != nil {
		err = sdk.Errorf(sdk.Internal, "store state %.128q: %w", key, err)
	} else {
		err = s.state.Put(key, value)
		if sdk.ClassOf(err) == sdk.Unsupported && err != nil {
			s.overfull()
		}
	}
	ans := brokerwire.Answer{Error: brokerwire.ErrorOf(err)}
	data, err := json.Marshal(ans)
	if err == nil {
		plugin.Write(data) //nolint:errcheck // the plugin may be gone
	}
}
