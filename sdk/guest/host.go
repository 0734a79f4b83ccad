package guest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// imports are the host functions that package abi describes. In a guest there is one set; tests have their own.
type imports struct {
	log  func(level slog.Level, line []byte)
	now  func() time.Time
	take func(into []byte) uint32

	dial, open, fetch, stateGet, statePut func(request []byte) int64

	read, write func(handle uint32, b []byte) int64
	seek        func(handle uint32, offset int64, whence uint32) int64
	deadline    func(handle, which uint32, when int64) int64
	close       func(handle uint32) int64
}

// answer takes what waits after a host function returned n.
func (i *imports) answer(n int64) ([]byte, error) {
	if n < 0 {
		return nil, i.failure(n)
	}
	if n == 0 {
		return nil, nil
	}
	out := make([]byte, n)
	return out[:i.take(out)], nil
}

// failure takes the error that waits after a host function returned n < 0.
func (i *imports) failure(n int64) error {
	if n < -math.MaxUint16*16 {
		return sdk.Errorf(sdk.Internal, "the host gives an error of %d bytes", -n)
	}
	data := make([]byte, -n)
	data = data[:i.take(data)]
	var e abi.HostError
	if err := json.Unmarshal(data, &e); err != nil {
		return sdk.Errorf(sdk.Internal, "the host's error %.100q cannot be read: %w", data, err)
	}
	if e.Timeout {
		return &sdk.Error{Class: e.Class, Message: e.Message, Err: os.ErrDeadlineExceeded}
	}
	return e.Err()
}

// ask sends a JSON request and reads the JSON answer.
func (i *imports) ask(call func([]byte) int64, request, answer any) error {
	data, err := json.Marshal(request)
	if err != nil {
		return sdk.Errorf(sdk.Internal, "pack a request to the host: %w", err)
	}
	out, err := i.answer(call(data))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return sdk.Errorf(sdk.Internal, "the host's answer: %w", err)
	}
	return nil
}

// host is the outside world of an instance in a guest.
type host struct {
	cfg  abi.InstanceConfig
	log  *slog.Logger
	host *imports
}

func newHost(cfg abi.InstanceConfig, i *imports) *host {
	return &host{cfg: cfg, log: slog.New(newLogHandler(i.log)).With("instance", cfg.Instance), host: i}
}

func (h *host) Log() *slog.Logger { return h.log }
func (h *host) Now() time.Time    { return h.host.now() }
func (h *host) State() sdk.State  { return state{h} }

func (h *host) Secret(name string) (string, error) {
	if err := sdk.Grants(h.cfg.Grants).Secret(name); err != nil {
		return "", err
	}
	v, ok := h.cfg.Secrets[name]
	if !ok {
		return "", sdk.Errorf(sdk.InvalidConfig, "the secret %q is not set", name)
	}
	return v, nil
}

// timeout is the time until ctx ends, 0 when it does not.
func timeout(ctx context.Context) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, nil
	}
	return max(time.Until(deadline), 1), nil
}

func (h *host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	within, err := timeout(ctx)
	if err != nil {
		return nil, err
	}
	var o abi.Opened
	req := abi.DialRequest{Instance: h.cfg.Instance, Network: network, Address: address, Timeout: within}
	if err := h.host.ask(h.host.dial, req, &o); err != nil {
		return nil, err
	}
	return &conn{
		handle: handle{h.host, o.Handle, false}, packets: strings.HasPrefix(network, "udp"),
		local: parseAddr(network, o.Local), remote: parseAddr(network, o.Remote),
	}, nil
}

func (h *host) Fetch(ctx context.Context, req sdk.Request) (sdk.Response, error) {
	var none sdk.Response
	within, err := timeout(ctx)
	if err != nil {
		return none, err
	}
	if len(req.Body) > sdk.MaxFetch {
		return none, sdk.Errorf(sdk.Unsupported, "fetch: a body of %d bytes is larger than %d", len(req.Body), sdk.MaxFetch)
	}
	data, err := abi.AppendFramed(nil, abi.FetchRequest{Instance: h.cfg.Instance, Method: req.Method, URL: req.URL, Header: req.Header, Roots: req.Roots, Timeout: within})
	if err != nil {
		return none, err
	}
	out, err := h.host.answer(h.host.fetch(append(data, req.Body...)))
	if err != nil {
		return none, err
	}
	var answer abi.FetchAnswer
	body, err := abi.ParseFramed(out, &answer)
	if err != nil {
		return none, sdk.Errorf(sdk.Internal, "the host's answer: %w", err)
	}
	return sdk.Response{Status: answer.Status, Header: answer.Header, Body: body}, nil
}

func (h *host) Open(name string) (fs.File, error) {
	var o abi.Opened
	if err := h.host.ask(h.host.open, abi.OpenRequest{Instance: h.cfg.Instance, Name: name}, &o); err != nil {
		return nil, err
	}
	f := &file{handle: handle{h.host, o.Handle, false}}
	if o.File != nil {
		f.info = *o.File
	}
	return f, nil
}

// Model reads through the same functions as a file.
func (h *host) Model(id string) (*sdk.Model, error) {
	if !sdk.ValidID(id) { // the host would take it for a path
		return nil, sdk.Errorf(sdk.Internal, "open model %.128q: that is not the id of a release, namespace/name", id)
	}
	var o abi.Opened
	if err := h.host.ask(h.host.open, abi.OpenRequest{Instance: h.cfg.Instance, Name: id}, &o); err != nil {
		return nil, err
	}
	f := &file{handle: handle{h.host, o.Handle, false}}
	if o.Model == nil || o.File == nil {
		f.Close() // the answer is of no use
		return nil, sdk.Errorf(sdk.Internal, "open model %s: the host answers without its release", id)
	}
	return &sdk.Model{
		ID: id, Version: o.Model.Version, Digest: o.Model.Digest, SectionReader: io.NewSectionReader(&readerAt{file: f}, 0, o.File.Size), Closer: f,
	}, nil
}

// readerAt reads a file at an offset.
type readerAt struct {
	mu   sync.Mutex // makes seeking and reading one
	file *file
}

func (r *readerAt) ReadAt(b []byte, offset int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file.closed {
		return 0, fs.ErrClosed
	}
	if _, err := r.file.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r.file, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func notInAGuest(what string) error {
	return sdk.Errorf(sdk.Unsupported, "a WASM guest cannot %s; this plugin needs the runtime process", what)
}

func (h *host) ListenICMP(string) (net.PacketConn, error) { return nil, notInAGuest("ping") }

func (h *host) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, notInAGuest("listen")
}

func (h *host) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, notInAGuest("listen")
}

// state is a store that the host keeps.
type state struct{ h *host }

func (s state) Get(key string) ([]byte, error) {
	data, err := json.Marshal(abi.StateKey{Instance: s.h.cfg.Instance, Key: key})
	if err != nil {
		return nil, err
	}
	out, err := s.h.host.answer(s.h.host.stateGet(data))
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, sdk.Errorf(sdk.Internal, "the host's answer is empty")
	}
	if out[0] == 0 {
		return nil, nil
	}
	return out[1:], nil
}

func (s state) Put(key string, value []byte) error {
	data, err := abi.AppendFramed(nil, abi.StateKey{Instance: s.h.cfg.Instance, Key: key})
	if err != nil {
		return err
	}
	_, err = s.h.host.answer(s.h.host.statePut(append(data, value...)))
	return err
}

// handle is something that the host has open for this guest.
type handle struct {
	host   *imports
	id     uint32
	closed bool
}

// Read reads what there is, at most a chunk.
func (h *handle) Read(b []byte) (int, error) {
	if h.closed {
		return 0, fs.ErrClosed
	}
	if len(b) == 0 {
		return 0, nil
	}
	n := h.host.read(h.id, b[:min(len(b), abi.MaxChunk)])
	if n < 0 {
		return 0, h.host.failure(n)
	}
	return int(n), nil
}

// Close gives the handle back.
func (h *handle) Close() error {
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	_, err := h.host.answer(h.host.close(h.id))
	return err
}

// conn is a connection that the host opened.
type conn struct {
	handle
	local, remote net.Addr
	packets       bool
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.handle.Read(b)
	if n == 0 && err == nil && len(b) > 0 && !c.packets {
		err = io.EOF
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	done := 0
	for done < len(b) || c.packets {
		part := b[done:min(len(b), done+abi.MaxChunk)]
		if n := c.host.write(c.id, part); n < 0 {
			return done, c.host.failure(n)
		}
		if done += len(part); c.packets {
			break
		}
	}
	return done, nil
}

func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadline(abi.DeadlineRead|abi.DeadlineWrite, t)
}
func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadline(abi.DeadlineRead, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(abi.DeadlineWrite, t) }

func (c *conn) setDeadline(which uint32, t time.Time) error {
	var when int64
	if !t.IsZero() {
		when = max(t.UnixNano(), 1)
	}
	_, err := c.host.answer(c.host.deadline(c.id, which, when))
	return err
}

// parseAddr turns the text of an address into the type that package net has for its network.
func parseAddr(network, text string) net.Addr {
	if network == "unix" {
		return &net.UnixAddr{Name: text, Net: "unix"}
	}
	at, _ := netip.ParseAddrPort(text)
	if strings.HasPrefix(network, "udp") {
		return net.UDPAddrFromAddrPort(at)
	}
	return net.TCPAddrFromAddrPort(at)
}

// file is a file that the host opened. It can also seek.
type file struct {
	handle
	info abi.FileInfo
}

func (f *file) Read(b []byte) (int, error) {
	n, err := f.handle.Read(b)
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	n := f.host.seek(f.id, offset, uint32(whence))
	if n < 0 {
		return 0, f.host.failure(n)
	}
	return n, nil
}

// Stat says what the file was when it was opened.
func (f *file) Stat() (fs.FileInfo, error) { return fileInfo{f.info}, nil }

type fileInfo struct{ i abi.FileInfo }

func (i fileInfo) Name() string       { return i.i.Name }
func (i fileInfo) Size() int64        { return i.i.Size }
func (i fileInfo) Mode() fs.FileMode  { return i.i.Mode }
func (i fileInfo) ModTime() time.Time { return i.i.Modified }
func (i fileInfo) IsDir() bool        { return i.i.Mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }
