package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/records"
)

// Backend is a guest as package serve wants it.
type Backend struct {
	guest *Guest

	mu        sync.Mutex // guards instances
	instances map[string]bool
}

// NewBackend returns the backend of a guest.
func NewBackend(g *Guest) *Backend { return &Backend{guest: g, instances: map[string]bool{}} }

// control sends a request as JSON and reads the answer.
func (b *Backend) control(ctx context.Context, op abi.Op, req abi.Request) (abi.Response, error) {
	data, err := json.Marshal(req)
	if err != nil {
		return abi.Response{}, fmt.Errorf("pack a request for the guest: %w", err)
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
	if _, err := b.control(ctx, abi.OpConfigure, abi.Request{Configure: &cfg}); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.instances[cfg.Instance] = true
	return nil
}

func (b *Backend) Collect(ctx context.Context, instance string, req sdk.CollectRequest, sink sdk.SampleSink) error {
	resp, err := b.control(ctx, abi.OpCollect, abi.Request{Instance: instance, Time: req.Time, Interval: req.Interval})
	for _, v := range resp.Samples {
		if err := sink.Sample(v); err != nil {
			return err
		}
	}
	return err
}

func (b *Backend) Discover(ctx context.Context, instance string, scope sdk.Scope, sink sdk.SightingSink) error {
	resp, err := b.control(ctx, abi.OpDiscover, abi.Request{Instance: instance, Prefixes: scope.Prefixes})
	for _, v := range resp.Sightings {
		if err := sink.Sighting(v); err != nil {
			return err
		}
	}
	return err
}

// Inspect copies the frame straight into the guest. Its checksum is compared here, where that is cheap.
func (b *Backend) Inspect(ctx context.Context, instance, capture string, frame []byte, sink sdk.FindingSink) error {
	if err := records.Verify(frame); err != nil {
		return err
	}
	head, err := abi.AppendInspect(nil, instance, capture)
	if err != nil {
		return err
	}
	resp, err := parse(b.guest.do(ctx, abi.OpInspect, head, frame))
	return errors.Join(emit(resp.Findings, sink), err)
}

func (b *Backend) Flush(ctx context.Context, instance string, sink sdk.FindingSink) error {
	resp, err := b.control(ctx, abi.OpFlush, abi.Request{Instance: instance})
	return errors.Join(emit(resp.Findings, sink), err)
}

func emit(findings []sdk.Finding, sink sdk.FindingSink) error {
	for _, v := range findings {
		if err := sink.Finding(v); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) Notify(ctx context.Context, instance string, notice sdk.Notice) (sdk.Receipt, error) {
	resp, err := b.control(ctx, abi.OpNotify, abi.Request{Instance: instance, Notice: &notice})
	if resp.Receipt == nil {
		return sdk.Receipt{}, err
	}
	return *resp.Receipt, err
}

// Health asks the guest, unless it is at work: the deadline of that call watches over it.
func (b *Backend) Health(ctx context.Context, instance string) error {
	data, err := json.Marshal(abi.Request{Instance: instance})
	if err != nil {
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
