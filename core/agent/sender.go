package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/agent/spool"
	"github.com/picketwatch/picket/core/kernel/agents/samplebatch"
	"github.com/picketwatch/picket/core/services/collect"
	"github.com/picketwatch/picket/core/services/discover"
	"github.com/picketwatch/picket/sdk"
)

// The kinds of batches in the queue.
const (
	kindSamples   = 1
	kindSightings = 2
	kindFlows     = 3
	kindFindings  = 4
	kindEvidence  = 5
)

// batchRows is how many samples go into one batch at most; it keeps a batch well below what the queue and the server
// take.
const batchRows = 2000

// outbox writes what was measured to the durable queue and sends it in order.
type outbox struct {
	spool  *spool.Spool
	server *server
	log    *slog.Logger

	book    *samplebatch.Writer // what the server knows of our series; used by run alone
	jsonTil time.Time           // the server takes nothing but JSON; asked again then

	mu    sync.Mutex // guards state
	state SendState
}

// SendState is how sending goes.
type SendState struct {
	Sent     uint64    `json:"sent"`     // batches that the server has acknowledged since the start
	Rejected uint64    `json:"rejected"` // batches that it will never take
	LastSent time.Time `json:"last_sent,omitzero"`
	Problem  string    `json:"problem,omitempty"` // why nothing is being sent now
}

// samples is the collectors' way out.
func (o *outbox) samples(_ context.Context, b collect.Batch) error {
	for rows := b.Samples; len(rows) > 0; {
		n := min(len(rows), batchRows)
		if err := o.put(kindSamples, n, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// sighting is a sighting with the plugin that made it, as the server takes it.
type sighting struct {
	Plugin string `json:"plugin"`
	sdk.Sighting
}

// sightings is the discoveries' way out.
func (o *outbox) sightings(_ context.Context, b discover.Batch) error {
	rows := make([]sighting, len(b.Sightings))
	for i, s := range b.Sightings {
		rows[i] = sighting{b.Plugin, s}
	}
	return o.put(kindSightings, len(rows), rows)
}

func (o *outbox) put(kind uint8, rows int, list any) error {
	payload, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encode batch: %w", err)
	}
	_, err = o.spool.Append(kind, rows, payload)
	return err
}

// run sends until ctx ends. A batch leaves the queue only after the server said that it has it.
func (o *outbox) run(ctx context.Context) {
	wait := patience{base: time.Second, most: time.Minute}
	for {
		it, err := o.spool.Next(ctx)
		if ctx.Err() != nil || errors.Is(err, fs.ErrClosed) {
			return
		}
		if err == nil {
			err = o.send(ctx, it)
		}
		if ctx.Err() != nil {
			return
		}
		o.note(err)
		if err == nil {
			wait.reset()
			continue
		}
		if !sleep(ctx, wait.after(err)) {
			return
		}
	}
}

// send delivers one batch and takes it off the queue.
func (o *outbox) send(ctx context.Context, it spool.Item) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	path, field, ok := destination(it.Kind)
	if !ok {
		o.reject(it, fmt.Errorf("a batch of unknown kind %d", it.Kind))
		return nil
	}
	var reply stored
	err := errAsJSON
	if it.Kind == kindSamples && o.server.now().After(o.jsonTil) {
		reply, err = o.sendPacked(ctx, it)
	}
	if errors.Is(err, errAsJSON) {
		err = o.server.call(ctx, http.MethodPost, path, nil, map[string]any{
			"epoch": o.spool.Epoch(), "seq": it.Seq, field: json.RawMessage(it.Payload),
		}, &reply)
	}
	var no *problem
	switch {
	case errors.As(err, &no) && (no.final() || it.Kind == kindEvidence && no.ours && no.Status == http.StatusNotFound):
		// A server from before there was evidence has no use for it, and must not be kept from the rest.
		o.reject(it, err)
		return nil
	case err != nil:
		return err
	case reply.StoredThrough < it.Seq:
		return fmt.Errorf("the server has stored batches through %d, not %d", reply.StoredThrough, it.Seq)
	}
	o.spool.Ack(it.Seq)
	o.mu.Lock()
	o.state.Sent++
	o.state.LastSent = time.Now()
	o.mu.Unlock()
	return nil
}

// stored is what the server answers.
type stored struct {
	StoredThrough uint64 `json:"stored_through"`
}

var errAsJSON = errors.New("this batch goes as JSON")

// packedAgain is after how long a server that takes nothing but JSON is asked again; it may have been upgraded.
const packedAgain = time.Hour

// sendPacked sends samples in few bytes. The error is errAsJSON when they must go as JSON: the server is from before there was
// another way, or does not understand this.
func (o *outbox) sendPacked(ctx context.Context, it spool.Item) (reply stored, err error) {
	var samples []sdk.Sample
	if err := json.Unmarshal(it.Payload, &samples); err != nil {
		return reply, errAsJSON // let the server say what is wrong with it
	}
	if o.book == nil {
		o.book = samplebatch.NewWriter()
	}
	for again := false; ; again = true {
		m := o.book.Message(o.spool.Epoch(), it.Seq, samples)
		data, err := m.Pack()
		if err != nil {
			return reply, err
		}
		err = o.server.call(ctx, http.MethodPost, "/api/v1/agent/samples", nil, packed{samplebatch.ContentType, data}, &reply)
		var no *problem
		switch {
		case err == nil:
			o.book.Told(m)
			return reply, nil
		case !errors.As(err, &no):
			return reply, err
		case no.Status == http.StatusConflict && !again:
			o.book.Forget() // the server was started anew
		case no.Status == http.StatusNotFound, no.Status == http.StatusMethodNotAllowed, no.Status == http.StatusUnsupportedMediaType:
			o.jsonTil = o.server.now().Add(packedAgain)
			return reply, errAsJSON
		case no.final(), no.Status == http.StatusRequestEntityTooLarge:
			return reply, errAsJSON
		default:
			return reply, err
		}
	}
}

func destination(kind uint8) (path, field string, ok bool) {
	switch kind {
	case kindSamples:
		return "/api/v1/metrics", "samples", true
	case kindSightings:
		return "/api/v1/sightings", "sightings", true
	case kindFlows:
		return "/api/v1/flows", "flows", true
	case kindFindings:
		return "/api/v1/findings", "found", true
	case kindEvidence:
		return "/api/v1/evidence", "kept", true
	}
	return "", "", false
}

// reject gives up a batch that would otherwise hold up all others for ever.
func (o *outbox) reject(it spool.Item, err error) {
	o.log.Error("the server will never take this batch, it is dropped", "seq", it.Seq, "rows", it.Rows, "problem", err)
	o.spool.Drop(it)
	o.mu.Lock()
	o.state.Rejected++
	o.mu.Unlock()
}

// note keeps the problem for the status and logs it when it changes.
func (o *outbox) note(err error) {
	text := ""
	if err != nil {
		text = reach(err).Error()
	}
	o.mu.Lock()
	changed := text != o.state.Problem
	o.state.Problem = text
	o.mu.Unlock()
	switch {
	case changed && err != nil:
		o.log.Warn("cannot send, what is measured is kept in the queue", "problem", text)
	case changed:
		o.log.Info("sending again")
	}
}

func (o *outbox) status() SendState {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}
