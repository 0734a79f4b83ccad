package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// Backend is a guest as package serve wants it.
type Backend struct {
	opened chan struct{} // closed once there is a guest
	guest  *Guest

	mu        sync.Mutex // guards instances and head
	instances map[string]*counts
	head      inspectHead
}

// inspectHead is the head of the last batch: in a stream it is the same each time.
type inspectHead struct {
	instance, capture string
	data              []byte
}

// counts is how far an instance has come.
type counts struct {
	progress atomic.Uint64
	busy     atomic.Int32
}

// NewBackend returns the backend of a guest.
func NewBackend(g *Guest) *Backend {
	b := NewPending()
	b.Opened(g)
	return b
}

// NewPending returns the backend of a guest that is still being opened: calls wait for Opened.
func NewPending() *Backend {
	return &Backend{opened: make(chan struct{}), instances: map[string]*counts{}}
}

// Opened gives the backend its guest, once.
func (b *Backend) Opened(g *Guest) {
	b.guest = g
	close(b.opened)
}

// wait waits for the guest.
func (b *Backend) wait(ctx context.Context) error {
	select {
	case <-b.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// control sends a request as JSON and reads the answer.
func (b *Backend) control(ctx context.Context, op abi.Op, req abi.Request) (abi.Response, error) {
	data, err := json.Marshal(req)
	if err != nil {
		return abi.Response{}, fmt.Errorf("pack a request for the guest: %w", err)
	}
	if err := b.wait(ctx); err != nil {
		return abi.Response{}, err
	}
	return parse(b.guest.do(ctx, op, data))
}

func parse(data []byte, err error) (abi.Response, error) {
	var resp abi.Response
	if err != nil || len(data) == 0 {
		return resp, err
	}
	if err := json.Unmarshal(data, &resp); err != nil {
		return abi.Response{}, fmt.Errorf("the guest's answer: %w", err)
	}
	return resp, resp.Error.Err()
}

func (b *Backend) Describe(ctx context.Context) ([]abi.Description, error) {
	resp, err := b.control(ctx, abi.OpDescribe, abi.Request{})
	return resp.Plugins, err
}

func (b *Backend) Configure(ctx context.Context, cfg abi.InstanceConfig) error {
	if len(cfg.Config) > 0 && !json.Valid(cfg.Config) {
		return sdk.Errorf(sdk.InvalidConfig, "read the configuration: it is not JSON")
	}
	if err := b.wait(ctx); err != nil {
		return err
	}
	b.guest.outside.add(cfg)
	if _, err := b.control(ctx, abi.OpConfigure, abi.Request{Configure: &cfg}); err != nil {
		b.mu.Lock()
		there := b.instances[cfg.Instance] != nil
		b.mu.Unlock()
		if !there {
			b.guest.outside.remove(cfg.Instance)
		}
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.instances[cfg.Instance] = &counts{}
	return nil
}

// begin counts a call of an instance. It returns what counts its end.
func (b *Backend) begin(instance string) func() {
	b.mu.Lock()
	c := b.instances[instance]
	b.mu.Unlock()
	if c == nil {
		return func() {}
	}
	c.busy.Add(1)
	c.progress.Add(1)
	return func() {
		c.progress.Add(1)
		c.busy.Add(-1)
	}
}

// Progress counts the calls that began and ended. What a call emits comes at its end.
func (b *Backend) Progress(instance string) (progress uint64, busy int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.instances[instance]
	if c == nil {
		return 0, 0
	}
	return c.progress.Load(), int(c.busy.Load())
}

func (b *Backend) Collect(ctx context.Context, instance string, req sdk.CollectRequest, sink sdk.SampleSink) error {
	defer b.begin(instance)()
	resp, err := b.control(ctx, abi.OpCollect, abi.Request{Instance: instance, Time: req.Time, Interval: req.Interval})
	for _, v := range resp.Samples {
		if err := sink.Sample(v); err != nil {
			return err
		}
	}
	return err
}

func (b *Backend) Discover(ctx context.Context, instance string, scope sdk.Scope, sink sdk.SightingSink) error {
	defer b.begin(instance)()
	resp, err := b.control(ctx, abi.OpDiscover, abi.Request{Instance: instance, Prefixes: scope.Prefixes})
	for _, v := range resp.Sightings {
		if err := sink.Sighting(v); err != nil {
			return err
		}
	}
	return err
}

// Watch is not for guests: one runs during a call only.
func (b *Backend) Watch(context.Context, string, sdk.SampleSink) error {
	return sdk.Errorf(sdk.Unsupported, "a WASM guest cannot watch; this plugin needs the runtime process")
}

// Inspect copies the frame into the guest in one write, from the message or straight from the ring.
func (b *Backend) Inspect(ctx context.Context, instance, capture string, frame []byte, sink sdk.FindingSink) error {
	defer b.begin(instance)()
	if err := b.wait(ctx); err != nil {
		return err
	}
	head, err := b.inspectHead(instance, capture)
	if err != nil {
		return err
	}
	resp, err := parse(b.guest.do(ctx, abi.OpInspect, head, frame))
	return errors.Join(emit(resp, sink), err)
}

// inspectHead returns what goes in front of a frame.
func (b *Backend) inspectHead(instance, capture string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.head.data != nil && b.head.instance == instance && b.head.capture == capture {
		return b.head.data, nil
	}
	data, err := abi.AppendInspect(nil, instance, capture)
	if err == nil {
		b.head = inspectHead{instance, capture, data}
	}
	return data, err
}

func (b *Backend) Flush(ctx context.Context, instance string, sink sdk.FindingSink) error {
	defer b.begin(instance)()
	resp, err := b.control(ctx, abi.OpFlush, abi.Request{Instance: instance})
	return errors.Join(emit(resp, sink), err)
}

// emit passes on what a guest said of a batch. Whoever serves it takes sightings too.
func emit(resp abi.Response, sink sdk.FindingSink) error {
	for _, v := range resp.Findings {
		if err := sink.Finding(v); err != nil {
			return err
		}
	}
	seen, _ := sink.(sdk.SightingSink)
	for _, v := range resp.Sightings {
		if seen == nil {
			return sdk.Errorf(sdk.Unsupported, "the guest saw devices, and nobody here takes sightings")
		}
		if err := seen.Sighting(v); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) Notify(ctx context.Context, instance string, notice sdk.Notice) (sdk.Receipt, error) {
	defer b.begin(instance)()
	resp, err := b.control(ctx, abi.OpNotify, abi.Request{Instance: instance, Notice: &notice})
	if resp.Receipt == nil {
		return sdk.Receipt{}, err
	}
	return *resp.Receipt, err
}

func (b *Backend) Undo(ctx context.Context, instance string, receipt sdk.Receipt) error {
	defer b.begin(instance)()
	_, err := b.control(ctx, abi.OpUndo, abi.Request{Instance: instance, Receipt: &receipt})
	return err
}

func (b *Backend) Status(ctx context.Context, instance string, receipt sdk.Receipt) (sdk.DeliveryStatus, error) {
	defer b.begin(instance)()
	resp, err := b.control(ctx, abi.OpStatus, abi.Request{Instance: instance, Receipt: &receipt})
	if resp.Status == nil {
		return sdk.DeliveryStatus{}, err
	}
	return *resp.Status, err
}

// Health asks the guest, unless it is at work: the deadline of that call watches over it.
func (b *Backend) Health(ctx context.Context, instance string) error {
	data, err := json.Marshal(abi.Request{Instance: instance})
	if err != nil {
		return err
	}
	if err := b.wait(ctx); err != nil {
		return err
	}
	select {
	case b.guest.turn <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-b.guest.turn }()
	_, err = parse(b.guest.run(ctx, abi.OpHealth, [][]byte{data}))
	return err
}

func (b *Backend) Snapshot(ctx context.Context, instance string) ([]byte, error) {
	resp, err := b.control(ctx, abi.OpSnapshot, abi.Request{Instance: instance})
	return resp.State, err
}

func (b *Backend) Restore(ctx context.Context, instance string, state []byte) error {
	_, err := b.control(ctx, abi.OpRestore, abi.Request{Instance: instance, State: state})
	return err
}

func (b *Backend) Stop(ctx context.Context, instance string) error {
	b.mu.Lock()
	delete(b.instances, instance)
	b.mu.Unlock()
	_, err := b.control(ctx, abi.OpStop, abi.Request{Instance: instance})
	if b.wait(ctx) == nil {
		b.guest.outside.remove(instance)
	}
	return err
}

func (b *Backend) StopAll(ctx context.Context) error {
	b.mu.Lock()
	var ids []string
	for id := range b.instances {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	var errs []error
	for _, id := range ids {
		if err := b.Stop(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}
