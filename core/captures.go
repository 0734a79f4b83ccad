package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/traffic"
)

// captureStore keeps the captures of the traffic service.
type captureStore struct{ c *Core }

func (s captureStore) AddCapture(ctx context.Context, x traffic.Capture) error {
	return s.c.control.InsertCapture(ctx, s.row(x))
}

func (s captureStore) SaveCapture(ctx context.Context, x traffic.Capture) error {
	return s.c.control.UpdateCapture(ctx, s.row(x))
}

func (s captureStore) DeleteCapture(ctx context.Context, x traffic.Capture) (bool, error) {
	if err := s.c.flows.Delete(ctx, x.Tenant, x.ID); err != nil {
		return false, fmt.Errorf("delete the flows of a capture: %w", err)
	}
	return s.c.control.DeleteCapture(ctx, x.Tenant, x.ID)
}

func (s captureStore) Room(ctx context.Context, tenant string, bytes int64) error {
	return s.c.control.Room(ctx, tenant, store.QuotaCaptureBytes, bytes)
}

func (s captureStore) row(x traffic.Capture) store.Capture {
	services := make([]store.ServedPort, 0, len(x.Services))
	for _, v := range x.Services {
		services = append(services, store.ServedPort(v))
	}
	return store.Capture{ID: x.ID, Tenant: x.Tenant, Name: x.Name, SHA256: x.SHA256, Size: x.Size, State: string(x.State), Order: x.Order,
		Progress: x.Progress, Packets: x.Packets, Bytes: x.Bytes, Flows: x.Flows, Undecoded: x.Undecoded, Truncated: x.Truncated,
		FirstPacket: x.First, LastPacket: x.Last, Findings: x.Findings, Skipped: strings.Join(x.Notes, "; "), Error: x.Error,
		CreatedBy: x.By, Created: x.Created, Started: x.Started, Finished: x.Finished, Services: services, Quality: qualityText(x.Quality)}
}

// qualityText keeps what the worker said of a capture; "" until it has said something.
func qualityText(q *traffic.Quality) string {
	if q == nil {
		return ""
	}
	text, err := json.Marshal(q)
	if err != nil {
		return "" // numbers and texts always are
	}
	return string(text)
}

// captureOf is what the row says, for a job that begins again.
func captureOf(r store.Capture) traffic.Capture {
	x := traffic.Capture{ID: r.ID, Tenant: r.Tenant, Name: r.Name, By: r.CreatedBy, SHA256: r.SHA256, Size: r.Size, State: traffic.State(r.State), Order: r.Order,
		Progress: r.Progress, Packets: r.Packets, Bytes: r.Bytes, Flows: r.Flows, Undecoded: r.Undecoded, Truncated: r.Truncated,
		First: r.FirstPacket, Last: r.LastPacket, Findings: r.Findings, Error: r.Error,
		Created: r.Created, Started: r.Started, Finished: r.Finished}
	if r.Skipped != "" {
		x.Notes = []string{r.Skipped}
	}
	var q traffic.Quality
	if r.Quality != "" && json.Unmarshal([]byte(r.Quality), &q) == nil {
		x.Quality = &q
	}
	for _, v := range r.Services {
		x.Services = append(x.Services, traffic.ServedPort(v))
	}
	return x
}

func (s captureStore) Unfinished(ctx context.Context) ([]traffic.Capture, error) {
	rows, err := s.c.control.CapturesInState(ctx, store.CaptureQueued, store.CaptureRunning)
	out := make([]traffic.Capture, 0, len(rows))
	for _, r := range rows {
		out = append(out, captureOf(r))
	}
	return out, err
}

// captures is the traffic service as the API sees it.
type captures struct{ c *Core }

func (x captures) Receive(ctx context.Context, tenant, name, by string, r io.Reader) (store.Capture, error) {
	got, err := x.c.traffic.Receive(ctx, tenant, name, by, r)
	if err != nil {
		return store.Capture{}, captureError(err)
	}
	return captureStore(x).row(got), nil
}

func (x captures) Delete(ctx context.Context, row store.Capture) error {
	return x.c.traffic.Delete(ctx, captureOf(row))
}

func (x captures) Cancel(ctx context.Context, row store.Capture) (store.Capture, error) {
	return x.after(ctx, row, x.c.traffic.Cancel(ctx, row.ID))
}

func (x captures) Resume(ctx context.Context, row store.Capture) (store.Capture, error) {
	return x.after(ctx, row, x.c.traffic.Resume(ctx, captureOf(row)))
}

func (x captures) Analyse(ctx context.Context, row store.Capture) (store.Capture, error) {
	return x.after(ctx, row, x.c.traffic.Again(ctx, captureOf(row)))
}

func (x captures) First(ctx context.Context, row store.Capture) (store.Capture, error) {
	return x.after(ctx, row, x.c.traffic.First(ctx, row.ID))
}

// after is the capture as it is after something was done to it.
func (x captures) after(ctx context.Context, row store.Capture, err error) (store.Capture, error) {
	if err != nil {
		return row, captureError(err)
	}
	return x.c.control.CaptureByID(ctx, row.Tenant, row.ID)
}

func (x captures) MaxUpload() int64 { return x.c.traffic.MaxUpload() }

func (x captures) Queue() []string { return x.c.traffic.Queue() }

func (x captures) Packets(ctx context.Context, row store.Capture, w carved.Wanted) (carved.PacketPage, error) {
	page, err := x.c.traffic.Packets(ctx, captureOf(row), w)
	return page, captureError(err)
}

func (x captures) Carve(ctx context.Context, row store.Capture, w carved.Wanted, to io.Writer) error {
	return captureError(x.c.traffic.Carve(ctx, captureOf(row), w, to))
}

// captureError is what an error of the traffic service means to a caller.
func captureError(err error) error {
	for _, k := range []struct{ is, as error }{
		{traffic.ErrEmpty, api.ErrEmptyUpload}, {traffic.ErrTooBig, api.ErrUploadTooBig}, {traffic.ErrBacklog, api.ErrBacklog},
		{traffic.ErrNotWaiting, api.ErrNotWaiting}, {traffic.ErrNotStopped, api.ErrNotStopped}, {traffic.ErrAnalysing, api.ErrAnalysing},
		{traffic.ErrNoPackets, api.ErrNoPackets}, {traffic.ErrCarveBusy, api.ErrCarveBusy},
	} {
		if errors.Is(err, k.is) {
			return k.as
		}
	}
	var worker *traffic.PacketError
	if errors.As(err, &worker) {
		return &api.UnreadableError{Err: err}
	}
	return err
}
