package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// maxStateRequest is the largest request of state_put.
const maxStateRequest = 1<<20 + abi.MaxHostRequest

// outside does for the guest what package abi promises. What it has open and what waits to be taken is only touched
// during a call of the guest, which are one at a time.
type outside struct {
	newHost func(abi.InstanceConfig) sdk.Host
	ctx     context.Context // of the running call
	handles map[uint32]*opened
	last    uint32
	waiting []byte

	mu    sync.Mutex // guards hosts
	hosts map[string]sdk.Host
}

// opened is a connection or a file.
type opened struct {
	instance    string
	conn        net.Conn // nil for a file
	file        fs.File
	read, write time.Time // the guest's deadlines
}

func (o *opened) close() error {
	if o.conn != nil {
		return o.conn.Close()
	}
	return o.file.Close()
}

func newOutside(newHost func(abi.InstanceConfig) sdk.Host) *outside {
	return &outside{newHost: newHost, ctx: context.Background(), handles: map[uint32]*opened{}, hosts: map[string]sdk.Host{}}
}

// add makes the outside world of an instance, before the guest hears of it.
func (o *outside) add(cfg abi.InstanceConfig) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.hosts[cfg.Instance] == nil { // the guest refuses a second one of the same name
		o.hosts[cfg.Instance] = o.newHost(cfg)
	}
}

// remove takes it away. What the instance has left open goes when the guest is not at work.
func (o *outside) remove(instance string) {
	o.mu.Lock()
	host := o.hosts[instance]
	delete(o.hosts, instance)
	o.mu.Unlock()
	if c, ok := host.(interface{ Close() }); ok {
		c.Close()
	}
}

// sweep closes what instances that are gone left open. The caller has the turn.
func (o *outside) sweep() {
	for id, h := range o.handles {
		if _, err := o.host(h.instance); err != nil {
			h.close() // nobody is left to hear of an error
			delete(o.handles, id)
		}
	}
}

func (o *outside) host(instance string) (sdk.Host, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.hosts[instance]
	if h == nil {
		return nil, sdk.Errorf(sdk.Internal, "there is no instance %.100q in this guest", instance)
	}
	return h, nil
}

// export offers the functions.
func (o *outside) export(b wazero.HostModuleBuilder) wazero.HostModuleBuilder {
	for name, f := range map[string]any{
		abi.ImportDial:     o.request(abi.MaxHostRequest, o.dial),
		abi.ImportOpen:     o.request(abi.MaxHostRequest, o.open),
		abi.ImportFetch:    o.request(sdk.MaxFetch+abi.MaxHostRequest, o.fetch),
		abi.ImportStateGet: o.request(abi.MaxHostRequest, o.stateGet),
		abi.ImportStatePut: o.request(maxStateRequest, o.statePut),
		abi.ImportRead:     o.buffer(o.read),
		abi.ImportWrite:    o.buffer(o.write),
		abi.ImportSeek: func(handle uint32, offset int64, whence uint32) int64 {
			return o.result(o.seek(handle, offset, whence))
		},
		abi.ImportDeadline: func(handle, which uint32, when int64) int64 {
			return o.result(0, o.deadline(handle, which, when))
		},
		abi.ImportClose: func(handle uint32) int64 { return o.result(0, o.close(handle)) },
		abi.ImportTake:  o.take,
	} {
		b = b.NewFunctionBuilder().WithFunc(f).Export(name)
	}
	return b
}

var errMemory = sdk.Errorf(sdk.Internal, "the address lies outside of the guest's memory")

// request is a function that takes a request and leaves an answer to be taken. The request is the guest's memory.
func (o *outside) request(limit uint32, do func([]byte) ([]byte, error)) func(context.Context, api.Module, uint32, uint32) int64 {
	return func(_ context.Context, m api.Module, ptr, length uint32) int64 {
		if length > limit {
			return o.result(0, sdk.Errorf(sdk.Unsupported, "a request of %d bytes is larger than %d", length, limit))
		}
		data, ok := m.Memory().Read(ptr, length)
		if !ok {
			return o.result(0, errMemory)
		}
		answer, err := do(data)
		if err != nil {
			return o.result(0, err)
		}
		o.waiting = answer
		return int64(len(answer))
	}
}

// buffer is a function that moves bytes between a handle and the guest's memory.
func (o *outside) buffer(do func(*opened, []byte) (int, error)) func(context.Context, api.Module, uint32, uint32, uint32) int64 {
	return func(_ context.Context, m api.Module, handle, ptr, length uint32) int64 {
		if length > abi.MaxChunk {
			return o.result(0, sdk.Errorf(sdk.Unsupported, "%d bytes at once are more than %d", length, abi.MaxChunk))
		}
		b, ok := m.Memory().Read(ptr, length)
		if !ok {
			return o.result(0, errMemory)
		}
		h, err := o.handle(handle)
		if err != nil {
			return o.result(0, err)
		}
		n, err := do(h, b)
		return o.result(int64(n), err)
	}
}

// result is what a function returns; an error waits to be taken.
func (o *outside) result(n int64, err error) int64 {
	o.waiting = nil
	if err == nil {
		return n
	}
	e := abi.HostError{Error: *abi.ErrorOf(err)}
	var timeout net.Error
	e.Timeout = errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	data, err := json.Marshal(e)
	if err != nil { // a class and a text always can
		data = []byte(`{"class":"internal","message":"the error cannot be sent"}`)
	}
	o.waiting = data
	return -int64(len(data))
}

func (o *outside) take(_ context.Context, m api.Module, ptr, length uint32) uint32 {
	n := min(length, uint32(len(o.waiting)))
	if !m.Memory().Write(ptr, o.waiting[:n]) {
		n = 0
	}
	o.waiting = nil
	return n
}

func (o *outside) handle(id uint32) (*opened, error) {
	h := o.handles[id]
	if h == nil {
		return nil, sdk.Errorf(sdk.Internal, "there is no handle %d", id)
	}
	return h, nil
}

// keep gives what was opened a handle.
func (o *outside) keep(h *opened, answer abi.Opened) ([]byte, error) {
	for o.last++; o.last == 0 || o.handles[o.last] != nil; o.last++ {
	}
	o.handles[o.last] = h
	answer.Handle = o.last
	return json.Marshal(answer)
}

func (o *outside) room() error {
	if len(o.handles) >= abi.MaxHandles {
		return sdk.Errorf(sdk.Temporary, "the guest has %d handles, which is all that it may have", len(o.handles))
	}
	return nil
}

// within is the context of the running call, or less of it.
func (o *outside) within(timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(o.ctx)
	}
	return context.WithTimeout(o.ctx, timeout)
}

func (o *outside) dial(data []byte) ([]byte, error) {
	var req abi.DialRequest
	host, err := o.parse(data, &req, &req.Instance)
	if err != nil {
		return nil, err
	}
	if err := o.room(); err != nil {
		return nil, err
	}
	ctx, cancel := o.within(req.Timeout)
	defer cancel()
	conn, err := host.Dial(ctx, req.Network, req.Address)
	if err != nil {
		return nil, err
	}
	return o.keep(&opened{instance: req.Instance, conn: conn}, abi.Opened{Local: conn.LocalAddr().String(), Remote: conn.RemoteAddr().String()})
}

// parse reads a JSON request and finds the host of the instance that it names.
func (o *outside) parse(data []byte, req any, instance *string) (sdk.Host, error) {
	if err := json.Unmarshal(data, req); err != nil {
		return nil, sdk.Errorf(sdk.Internal, "a request that is no JSON: %w", err)
	}
	return o.host(*instance)
}

func (o *outside) open(data []byte) ([]byte, error) {
	var req abi.OpenRequest
	host, err := o.parse(data, &req, &req.Instance)
	if err != nil {
		return nil, err
	}
	if err := o.room(); err != nil {
		return nil, err
	}
	if sdk.ValidID(req.Name) { // no path looks like it
		return o.openModel(host, req)
	}
	f, err := host.Open(req.Name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return o.keep(&opened{instance: req.Instance, file: f}, abi.Opened{File: &abi.FileInfo{
		Name: info.Name(), Size: info.Size(), Mode: info.Mode(), Modified: info.ModTime(),
	}})
}

func (o *outside) openModel(host sdk.Host, req abi.OpenRequest) ([]byte, error) {
	m, err := host.Model(req.Name)
	if err != nil {
		return nil, err
	}
	return o.keep(&opened{instance: req.Instance, file: modelFile{m}}, abi.Opened{
		File:  &abi.FileInfo{Name: m.ID, Size: m.Size(), Mode: 0o400},
		Model: &abi.ModelInfo{Version: m.Version, Digest: m.Digest},
	})
}

// modelFile is a model where a file is wanted. Nothing asks for its Stat, which the guest has.
type modelFile struct{ *sdk.Model }

func (modelFile) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

func (o *outside) fetch(data []byte) ([]byte, error) {
	var req abi.FetchRequest
	body, err := abi.ParseFramed(data, &req)
	if err != nil {
		return nil, sdk.Errorf(sdk.Internal, "%w", err)
	}
	host, err := o.host(req.Instance)
	if err != nil {
		return nil, err
	}
	ctx, cancel := o.within(req.Timeout)
	defer cancel()
	// The connection may hold on to the body for longer than the guest's memory stays as it is.
	resp, err := host.Fetch(ctx, sdk.Request{Method: req.Method, URL: req.URL, Header: req.Header, Roots: req.Roots, Body: bytes.Clone(body)})
	if err != nil {
		return nil, err
	}
	out, err := abi.AppendFramed(nil, abi.FetchAnswer{Status: resp.Status, Header: resp.Header})
	return append(out, resp.Body...), err
}

func (o *outside) stateGet(data []byte) ([]byte, error) {
	var req abi.StateKey
	host, err := o.parse(data, &req, &req.Instance)
	if err != nil {
		return nil, err
	}
	value, err := host.State().Get(req.Key)
	if err != nil || value == nil {
		return []byte{0}, err
	}
	return append([]byte{1}, value...), nil
}

func (o *outside) statePut(data []byte) ([]byte, error) {
	var req abi.StateKey
	value, err := abi.ParseFramed(data, &req)
	if err != nil {
		return nil, sdk.Errorf(sdk.Internal, "%w", err)
	}
	host, err := o.host(req.Instance)
	if err != nil {
		return nil, err
	}
	return nil, host.State().Put(req.Key, value)
}

// read returns 0 at the end.
func (o *outside) read(h *opened, b []byte) (int, error) {
	if h.conn == nil {
		n, err := h.file.Read(b)
		return n, noEnd(n, err)
	}
	if err := h.conn.SetReadDeadline(o.earlier(h.read)); err != nil {
		return 0, err
	}
	n, err := h.conn.Read(b)
	return n, noEnd(n, err)
}

// noEnd drops an error that the next read gives again, and the end, for which 0 bytes stand.
func noEnd(n int, err error) error {
	if n > 0 || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (o *outside) write(h *opened, b []byte) (int, error) {
	if h.conn == nil {
		return 0, sdk.Errorf(sdk.Unsupported, "a file is open for reading only")
	}
	if err := h.conn.SetWriteDeadline(o.earlier(h.write)); err != nil {
		return 0, err
	}
	return h.conn.Write(b)
}

// earlier is the guest's deadline or that of the running call.
func (o *outside) earlier(t time.Time) time.Time {
	call, ok := o.ctx.Deadline()
	if !ok || !t.IsZero() && t.Before(call) {
		return t
	}
	return call
}

func (o *outside) seek(handle uint32, offset int64, whence uint32) (int64, error) {
	h, err := o.handle(handle)
	if err != nil {
		return 0, err
	}
	s, ok := h.file.(io.Seeker)
	if !ok || whence > 2 {
		return 0, sdk.Errorf(sdk.Unsupported, "handle %d cannot seek from %d", handle, whence)
	}
	return s.Seek(offset, int(whence))
}

func (o *outside) deadline(handle, which uint32, when int64) error {
	h, err := o.handle(handle)
	if err != nil {
		return err
	}
	if h.conn == nil || which == 0 || which > abi.DeadlineRead|abi.DeadlineWrite {
		return sdk.Errorf(sdk.Unsupported, "handle %d has no deadline %d", handle, which)
	}
	var t time.Time
	if when != 0 {
		t = time.Unix(0, when)
	}
	if which&abi.DeadlineRead != 0 {
		h.read = t
	}
	if which&abi.DeadlineWrite != 0 {
		h.write = t
	}
	return nil
}

func (o *outside) close(handle uint32) error {
	h, err := o.handle(handle)
	if err != nil {
		return err
	}
	delete(o.handles, handle)
	return h.close()
}
