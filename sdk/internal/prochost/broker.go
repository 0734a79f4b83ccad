//go:build !wasip1

package prochost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/reach"
)

// inherited returns the broker of this process, nil when it has none. A variable that names no socket gives a broker
// that refuses everything: a process that should be confined must not open anything by itself.
var inherited = sync.OnceValue(func() *broker {
	text, ok := os.LookupEnv(brokerwire.Env)
	if !ok {
		return nil
	}
	b, err := fromEnv(text)
	if err != nil {
		return &broker{err: err}
	}
	return b
})

func fromEnv(text string) (*broker, error) {
	if err := os.Unsetenv(brokerwire.Env); err != nil {
		return nil, err
	}
	fd, err := strconv.ParseUint(text, 10, 16)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is not a descriptor", brokerwire.Env, text)
	}
	return newBroker(os.NewFile(uintptr(fd), "broker")) // whose copy of it is closed at exec
}

// broker asks the host for what this process may not open by itself.
type broker struct {
	conn *brokerwire.Conn

	mu      sync.Mutex // guards all below
	last    uint64
	waiting map[uint64]chan<- reply
	err     error // why there is no broker any more
}

type reply struct {
	answer brokerwire.Answer
	file   *os.File
}

// newBroker takes the socket over. A goroutine reads from it until it ends.
func newBroker(f *os.File) (*broker, error) {
	conn, err := brokerwire.NewConn(f)
	if err != nil {
		return nil, err
	}
	b := &broker{conn: conn, waiting: map[uint64]chan<- reply{}}
	go b.read()
	return b, nil
}

// close is for tests: a process keeps its broker.
func (b *broker) close() { b.conn.Close() }

func (b *broker) read() {
	for {
		data, f, err := b.conn.Receive(true)
		var answer brokerwire.Answer
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		if err != nil {
			if f != nil {
				f.Close()
			}
			b.conn.Close()
			b.fail(fmt.Errorf("the broker of this process is gone: %w", err))
			return
		}
		b.mu.Lock()
		wait := b.waiting[answer.ID]
		delete(b.waiting, answer.ID)
		b.mu.Unlock()
		switch {
		case wait != nil:
			wait <- reply{answer, f}
		case f != nil:
			f.Close() // whoever asked has given up
		}
	}
}

func (b *broker) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	for id, wait := range b.waiting {
		close(wait)
		delete(b.waiting, id)
	}
}

// ask sends a request and waits for its answer. The file, if any, is the caller's.
func (b *broker) ask(ctx context.Context, req brokerwire.Request) (brokerwire.Answer, *os.File, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if req.Timeout = time.Until(deadline); req.Timeout <= 0 {
			return brokerwire.Answer{}, nil, context.DeadlineExceeded
		}
	}
	wait := make(chan reply, 1)
	b.mu.Lock()
	if b.err != nil {
		defer b.mu.Unlock()
		return brokerwire.Answer{}, nil, b.err
	}
	b.last++
	req.ID = b.last
	b.waiting[req.ID] = wait
	b.mu.Unlock()
	if err := b.conn.Send(req, nil); err != nil {
		b.forget(req.ID, wait)
		return brokerwire.Answer{}, nil, fmt.Errorf("ask the broker: %w", err)
	}
	select {
	case r, ok := <-wait:
		if !ok {
			b.mu.Lock()
			defer b.mu.Unlock()
			return brokerwire.Answer{}, nil, b.err
		}
		return r.answer, r.file, r.answer.Error.Err()
	case <-ctx.Done():
		b.forget(req.ID, wait)
		return brokerwire.Answer{}, nil, ctx.Err()
	}
}

// forget gives up on an answer. One that has just come is thrown away.
func (b *broker) forget(id uint64, wait chan reply) {
	b.mu.Lock()
	_, pending := b.waiting[id]
	delete(b.waiting, id)
	b.mu.Unlock()
	if pending {
		return
	}
	if r := <-wait; r.file != nil {
		r.file.Close()
	}
}

// asked is the broker as one instance of this process asks it.
type asked struct {
	*broker
	instance string
}

func (b asked) ask(ctx context.Context, req brokerwire.Request) (brokerwire.Answer, *os.File, error) {
	req.Instance = b.instance
	return b.broker.ask(ctx, req)
}

// socket asks for something that comes with a socket.
func (b asked) socket(ctx context.Context, req brokerwire.Request) (brokerwire.Answer, *net.UnixConn, error) {
	answer, f, err := b.ask(ctx, req)
	if err != nil {
		return answer, nil, err
	}
	if f == nil {
		return answer, nil, fmt.Errorf("the broker answers %s without a descriptor", req.Op)
	}
	conn, err := brokerwire.Socket(f)
	return answer, conn, err
}

func (b asked) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, reach.DialTimeout)
	defer cancel()
	answer, conn, err := b.socket(ctx, brokerwire.Request{Op: brokerwire.OpDial, Network: network, Address: address})
	if err != nil {
		return nil, err
	}
	local, remote := parseAddr(network, answer.Local), parseAddr(network, answer.Remote)
	if isUDP(network) {
		return newPacketConn(conn, local, remote, false), nil
	}
	return &streamConn{UnixConn: conn, local: local, remote: remote, lookup: answer.Lookup}, nil
}

func (b asked) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	answer, f, err := b.ask(ctx, brokerwire.Request{Op: brokerwire.OpListen, Network: network, Address: address})
	if err == nil && f == nil {
		err = errors.New("the broker answers listen without a descriptor")
	}
	if err != nil {
		return nil, err
	}
	conn, err := brokerwire.NewConn(f)
	if err != nil {
		return nil, err
	}
	return &listener{conn: conn, network: network, local: parseAddr(network, answer.Local)}, nil
}

func (b asked) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	answer, conn, err := b.socket(ctx, brokerwire.Request{Op: brokerwire.OpListenPacket, Network: network, Address: address})
	if err != nil {
		return nil, err
	}
	return newPacketConn(conn, parseAddr(network, answer.Local), nil, false), nil
}

func (b asked) ListenICMP(network string) (net.PacketConn, error) {
	answer, conn, err := b.socket(context.Background(), brokerwire.Request{Op: brokerwire.OpICMP, Network: network})
	if err != nil {
		return nil, err
	}
	return newPacketConn(conn, &net.IPAddr{IP: net.ParseIP(answer.Local)}, nil, true), nil
}

func (b asked) Open(name string) (*os.File, error) {
	_, f, err := b.open(name)
	return f, err
}

func (b asked) open(name string) (brokerwire.Answer, *os.File, error) {
	answer, f, err := b.ask(context.Background(), brokerwire.Request{Op: brokerwire.OpOpen, Name: name})
	if err == nil && f == nil {
		err = errors.New("the broker answers open without a file")
	}
	if err != nil {
		return answer, nil, err
	}
	f, err = named(f, name)
	return answer, f, err
}

func (b asked) Model(id string) (*sdk.Model, error) {
	answer, f, err := b.open(id)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && answer.Model == nil {
		err = fmt.Errorf("the broker answers open of model %q without its release", id)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &sdk.Model{ID: id, Version: answer.Model.Version, Digest: answer.Model.Digest, SectionReader: io.NewSectionReader(f, 0, info.Size()), Closer: f}, nil
}

// brokerState is a state that the host keeps.
type brokerState struct{ b asked }

func (s brokerState) Get(key string) ([]byte, error) {
	answer, f, err := s.b.ask(context.Background(), brokerwire.Request{Op: brokerwire.OpStateGet, Key: key})
	if err != nil || !answer.Found {
		return nil, err
	}
	if answer.Size < 0 || answer.Size > reach.MaxStateValue || answer.Size > 0 != (f != nil) {
		return nil, fmt.Errorf("read state %q: the broker offers %d bytes", key, answer.Size)
	}
	value := make([]byte, answer.Size)
	if f == nil {
		return value, nil
	}
	defer f.Close()
	if _, err := io.ReadFull(f, value); err != nil {
		return nil, fmt.Errorf("read state %q: %w", key, err)
	}
	return value, nil
}

func (s brokerState) Put(key string, value []byte) error {
	_, conn, err := s.b.socket(context.Background(), brokerwire.Request{Op: brokerwire.OpStatePut, Key: key, Size: int64(len(value))})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err = conn.Write(value); err == nil {
		err = conn.CloseWrite()
	}
	if err != nil {
		return sdk.Errorf(sdk.Temporary, "store state %q: %w", key, err)
	}
	data, err := io.ReadAll(io.LimitReader(conn, brokerwire.MaxMessage))
	if err != nil {
		return sdk.Errorf(sdk.Temporary, "store state %q: %w", key, err)
	}
	var answer brokerwire.Answer
	if err := json.Unmarshal(data, &answer); err != nil {
		return sdk.Errorf(sdk.Temporary, "store state %q: the broker's answer: %w", key, err)
	}
	return answer.Error.Err()
}
