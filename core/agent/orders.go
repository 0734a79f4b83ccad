package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/signing"
)

// The types of orders that an agent carries out. It refuses all others.
const (
	collectNow    = "collect-now"    // args {"instance": "..."}; without one, every collector
	restartPlugin = "restart-plugin" // args {"instance": "..."}
	// refreshRegistry: something was published or revoked; args {}
	refreshRegistry = "refresh-registry"
)

const (
	orderTime   = 30 * time.Second // to carry out one order
	maxOutput   = 16 << 10         // of the answer
	keepOrders  = 24 * time.Hour   // past its expiry an order is refused for that
	maxRemember = 10_000
)

// orders carries out what the server commands: signed by the key that was pinned at enrolment, not expired, and at
// most once, also across a crash: that an order was taken is on disk before it is carried out.
type orders struct {
	path   string
	key    ed25519.PublicKey
	agent  string
	now    func() time.Time // the server's time, by which orders expire
	log    *slog.Logger
	do     map[string]func(ctx context.Context, instance string) error
	answer func(ctx context.Context, id string, r result) error

	taken map[string]time.Time // id to expiry; only the polling goroutine touches it
}

// result is the answer to an order.
type result struct {
	State  string `json:"state"` // done, failed, refused
	Output string `json:"output"`
}

func (o *orders) load() error {
	o.taken = map[string]time.Time{}
	err := loadJSON(o.path, &o.taken)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read which orders were carried out: %w", err)
	}
	return nil
}

// take carries out one order as it came over the wire.
func (o *orders) take(ctx context.Context, raw json.RawMessage) {
	var c signing.Command
	if err := json.Unmarshal(raw, &c); err != nil || uuid.Validate(c.ID) != nil { // the id becomes part of a path
		o.log.Warn("an order that is not understood was ignored")
		return
	}
	r, fresh := o.judge(ctx, c)
	if !fresh {
		o.log.Info("an order that was taken before was ignored", "id", c.ID)
		return
	}
	o.log.Info("order", "id", c.ID, "type", c.Type, "state", r.State, "output", r.Output)
	if err := o.answer(ctx, c.ID, r); err != nil && ctx.Err() == nil {
		o.log.Warn("the answer to an order could not be delivered", "id", c.ID, "problem", reach(err))
	}
}

// judge verifies an order and carries it out. fresh is false when it was taken before.
func (o *orders) judge(ctx context.Context, c signing.Command) (r result, fresh bool) {
	c, err := signing.VerifyCommand(c, o.key, o.agent, o.now())
	if err != nil {
		return result{"refused", err.Error()}, true
	}
	if _, seen := o.taken[c.ID]; seen {
		return result{}, false
	}
	do, known := o.do[c.Type]
	if !known {
		return result{"refused", fmt.Sprintf("this agent carries out no orders of type %q", c.Type)}, true
	}
	var args struct {
		Instance string `json:"instance"`
	}
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return result{"refused", "the arguments are not understood: " + err.Error()}, true
	}
	if err := o.remember(c); err != nil {
		return result{"failed", "this agent cannot note that it took the order, so it does not carry it out: " + err.Error()}, true
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if err := do(ctx, args.Instance); err != nil {
		return result{"failed", clip(err.Error())}, true
	}
	return result{"done", ""}, true
}

func (o *orders) remember(c signing.Command) error {
	now := o.now()
	for id, expires := range o.taken {
		if now.Sub(expires) > keepOrders {
			delete(o.taken, id)
		}
	}
	if len(o.taken) >= maxRemember {
		return fmt.Errorf("more than %d orders within a day", maxRemember)
	}
	o.taken[c.ID] = c.Expires
	return saveJSON(o.path, o.taken)
}

func clip(s string) string {
	if len(s) > maxOutput {
		s = s[:maxOutput] + " (cut)"
	}
	return strings.ToValidUTF8(s, "?")
}

// newOrders wires the orders to what carries them out.
func (a *Agent) newOrders() (*orders, error) {
	o := &orders{
		path:  filepath.Join(a.cfg.Dir, "orders.json"),
		key:   a.id.CommandKey,
		agent: a.id.AgentID,
		now:   a.server.serverTime,
		log:   a.log,
		do: map[string]func(context.Context, string) error{
			collectNow:      a.collectNow,
			restartPlugin:   a.restartPlugin,
			refreshRegistry: func(ctx context.Context, _ string) error { return a.plugins.refresh(ctx) },
		},
		answer: a.answerOrder,
	}
	return o, o.load()
}

// collectNow collects from one instance, a discovery included, or from all collectors.
func (a *Agent) collectNow(ctx context.Context, instance string) error {
	for _, d := range a.host.Discoverers() {
		if d.Instance() == instance {
			return a.discover.DiscoverNow(ctx, instance)
		}
	}
	return a.collect.CollectNow(ctx, instance)
}

func (a *Agent) restartPlugin(ctx context.Context, instance string) error {
	if instance == "" {
		return errors.New("say which instance: args {\"instance\": \"...\"}")
	}
	return a.plugins.restart(ctx, instance)
}

func (a *Agent) answerOrder(ctx context.Context, id string, r result) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	wait := patience{base: time.Second, most: 10 * time.Second}
	for {
		err := a.server.call(ctx, http.MethodPost, "/api/v1/agent/commands/"+id+"/result", nil, r, nil)
		var no *problem
		if err == nil || errors.As(err, &no) && no.Status < 500 && no.Status != http.StatusTooManyRequests {
			return err
		}
		if !sleep(ctx, wait.after(err)) {
			return err
		}
	}
}
