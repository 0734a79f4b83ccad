// Package guest is the WASM side of the transport: it answers the calls of the runner with the plugins that are
// registered in this guest. Package serve links it under GOOS=wasip1; authors do not import it.
//
// A guest has no network and no files of its own, and no goroutine that runs between two calls. It asks its runner for
// connections, files, HTTP and state, under the same grants as a process; that blocks the whole guest. Listening and
// ICMP answer with an error of class Unsupported.
package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/instance"
)

// dispatcher turns calls into work of the instances.
type dispatcher struct {
	set *instance.Set

	// The head of the last batch: in a stream it is the same each time, and reading it costs more than a light detector.
	head              []byte
	instance, capture string
}

func newDispatcher(plugins []sdk.Plugin, newHost func(abi.InstanceConfig) (sdk.Host, error)) *dispatcher {
	return &dispatcher{set: instance.New(instance.Config{Plugins: plugins, NewHost: newHost, Verified: true})}
}

// call does one request. An empty answer means that all went well and there is nothing to say.
func (d *dispatcher) call(op abi.Op, request []byte) []byte {
	var resp response
	var err error
	if op == abi.OpInspect {
		err = d.inspect(request, &resp)
	} else {
		err = d.control(op, request, &resp)
	}
	resp.Error = abi.ErrorOf(err)
	if resp.empty() {
		return nil
	}
	out, err := json.Marshal(resp.Response)
	if err != nil {
		out, _ = json.Marshal(abi.Response{Error: abi.ErrorOf(fmt.Errorf("what the plugin gave cannot be sent: %w", err))})
	}
	return out
}

func (d *dispatcher) inspect(request []byte, resp *response) error {
	head, frame, err := abi.SplitInspect(request)
	if err != nil {
		return err
	}
	if !bytes.Equal(head, d.head) {
		if d.instance, d.capture, err = abi.ParseInspectHead(head); err != nil {
			d.head = nil
			return err
		}
		d.head = append(d.head[:0], head...)
	}
	return d.set.Inspect(context.Background(), d.instance, d.capture, frame, resp)
}

func (d *dispatcher) control(op abi.Op, request []byte, resp *response) (err error) {
	var req abi.Request
	if len(request) > 0 {
		if err := json.Unmarshal(request, &req); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	ctx, id := context.Background(), req.Instance
	switch op {
	case abi.OpDescribe:
		resp.Plugins, err = d.set.Describe(ctx)
		return err
	case abi.OpConfigure:
		if req.Configure == nil {
			return fmt.Errorf("configure without a configuration")
		}
		return d.set.Configure(ctx, *req.Configure)
	case abi.OpCollect:
		return d.set.Collect(ctx, id, sdk.CollectRequest{Time: req.Time, Interval: req.Interval}, resp)
	case abi.OpDiscover:
		return d.set.Discover(ctx, id, sdk.Scope{Prefixes: req.Prefixes}, resp)
	case abi.OpFlush:
		return d.set.Flush(ctx, id, resp)
	case abi.OpNotify:
		if req.Notice == nil {
			return fmt.Errorf("notify without a notice")
		}
		receipt, err := d.set.Notify(ctx, id, *req.Notice)
		resp.Receipt = &receipt
		return err
	case abi.OpUndo, abi.OpStatus:
		return d.receipt(op, req, resp)
	case abi.OpHealth:
		return d.set.Health(ctx, id)
	case abi.OpSnapshot:
		resp.State, err = d.set.Snapshot(ctx, id)
		return err
	case abi.OpRestore:
		return d.set.Restore(ctx, id, req.State)
	case abi.OpStop:
		return d.set.Stop(ctx, id)
	}
	return sdk.Errorf(sdk.Unsupported, "this guest does not know operation %d", op)
}

// receipt does what concerns something that was delivered.
func (d *dispatcher) receipt(op abi.Op, req abi.Request, resp *response) error {
	if req.Receipt == nil {
		return fmt.Errorf("operation %d without a receipt", op)
	}
	if op == abi.OpUndo {
		return d.set.Undo(context.Background(), req.Instance, *req.Receipt)
	}
	status, err := d.set.Status(context.Background(), req.Instance, *req.Receipt)
	resp.Status = &status
	return err
}

// response gathers what a call emits.
type response struct{ abi.Response }

func (r *response) Sample(v sdk.Sample) error {
	r.Samples = append(r.Samples, v)
	return nil
}

func (r *response) Sighting(v sdk.Sighting) error {
	r.Sightings = append(r.Sightings, v)
	return nil
}

func (r *response) Finding(v sdk.Finding) error {
	r.Findings = append(r.Findings, v)
	return nil
}

func (r *response) empty() bool {
	return r.Error == nil && r.Receipt == nil && r.Status == nil && r.Plugins == nil && r.State == nil &&
		len(r.Samples) == 0 && len(r.Sightings) == 0 && len(r.Findings) == 0
}
