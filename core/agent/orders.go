package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/signing"
)

// The types of orders that an agent carries out. It refuses all others.
const (
	pingOrder       = "ping"             // args {"text": "..."}: says it back
	collectNow      = "collect-now"      // args {"instance": "..."}; without one, every collector
	restartPlugin   = "restart-plugin"   // args {"instance": "..."}
	refreshRegistry = "refresh-registry" // something was published or revoked; args {}
	diagnoseOrder   = "diagnose"         // args {}: what doctor prints
	restartOrder    = "restart-agent"    // args {}
	updateOrder     = "update-agent"     // args {"version": "..."}: the registry's release
	execOrder       = "exec"             // args {"path": "...", "args": [...], "timeout": seconds}
	cancelOrder     = "cancel"           // args {"command": "..."}: stops one that is carried out; it has no answer of its own
)

const (
	orderTime   = 30 * time.Second // to carry out one order that says nothing else
	maxOrder    = 10 * time.Minute // to carry out any
	maxOutput   = 16 << 10         // of the last words of an answer
	keepOrders  = 24 * time.Hour   // past its expiry an order is refused for that
	maxRemember = 10_000
	maxAtOnce   = 4
)

// orders carries out what the server commands: signed by the key that was pinned at enrolment, not expired, and at
// most once, also across a crash: that an order was taken is on disk before it is carried out, and so is its answer
// before it is sent.
type orders struct {
	path   string // of what was taken; beside it lie the answers that are owed
	key    ed25519.PublicKey
	agent  string
	now    func() time.Time // the server's time, by which orders expire
	log    *slog.Logger
	allows func(kind string) bool // this machine's owner
	do     map[string]job
	server orderServer

	slots chan struct{}
	work  sync.WaitGroup

	mu      sync.Mutex                    // guards what follows
	taken   map[string]time.Time          // id to expiry
	owed    map[string]result             // answers that the server has not taken; State is "" while an order is carried out
	running map[string]context.CancelFunc // by id
}

// job carries out orders of one type.
type job struct {
	time time.Duration // at most; 0 means orderTime
	run  func(ctx context.Context, id string, args json.RawMessage, out io.Writer) error
}

// orderServer is where output and answers go.
type orderServer interface {
	// output hands in the output of an order from an offset on. It returns how much the server has, and whether it wants more.
	output(ctx context.Context, id string, offset int64, data []byte) (have int64, more bool, err error)
	answer(ctx context.Context, id string, r result) error
}

// result is the answer to an order.
type result struct {
	State  string `json:"state"` // done, failed, refused, cancelled
	Output string `json:"output"`
}

// interrupted is the answer to an order in whose middle the agent was stopped. Whether it had its effect nobody knows.
var interrupted = result{"failed", "the agent was stopped while it carried this out; it does not begin again"}

// errLater says that the answer comes after a restart of the agent.
var errLater = errors.New("answered later")

func (o *orders) answersPath() string { return strings.TrimSuffix(o.path, ".json") + "-owed.json" }

// load reads what an agent that ran before had taken. keep is the order that a program on trial is about: its answer is
// not known yet.
func (o *orders) load(keep string) error {
	o.taken, o.owed, o.running, o.slots = map[string]time.Time{}, map[string]result{}, map[string]context.CancelFunc{}, make(chan struct{}, maxAtOnce)
	for path, into := range map[string]any{o.path: &o.taken, o.answersPath(): &o.owed} {
		if err := loadJSON(path, into); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read which orders were carried out: %w", err)
		}
	}
	for id, r := range o.owed {
		if r.State == "" && id != keep {
			o.owed[id] = interrupted
		}
	}
	return nil
}

// settle answers an order that a former program of this agent took, once what became of it is known.
func (o *orders) settle(id string, r result) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, owed := o.owed[id]; !owed {
		return nil // it was answered before
	}
	o.owed[id] = r
	return saveJSON(o.answersPath(), o.owed)
}

// deliver sends the answers that are owed from before.
func (o *orders) deliver(ctx context.Context) {
	o.mu.Lock()
	var ids []string
	for id, r := range o.owed {
		if r.State != "" {
			ids = append(ids, id)
		}
	}
	o.mu.Unlock()
	for _, id := range ids {
		o.work.Go(func() { o.send(ctx, id) })
	}
}

// take looks at one order as it came over the wire, and begins to carry it out.
func (o *orders) take(ctx context.Context, raw json.RawMessage) {
	var c signing.Command
	if err := json.Unmarshal(raw, &c); err != nil || uuid.Validate(c.ID) != nil { // the id becomes part of a path
		o.log.Warn("an order that is not understood was ignored")
		return
	}
	verified, err := signing.VerifyCommand(c, o.key, o.agent, o.now())
	if err == nil && verified.Type == cancelOrder {
		o.cancel(verified)
		return
	}
	if err != nil {
		o.refuse(ctx, c, err.Error())
		return
	}
	o.accept(ctx, verified)
}

// refuse tells the server why an order is not carried out. Nothing is noted: nothing was done.
func (o *orders) refuse(ctx context.Context, c signing.Command, why string) {
	o.log.Warn("an order is refused", "id", c.ID, "type", c.Type, "reason", why)
	o.work.Go(func() { o.tell(ctx, c.ID, result{"refused", why}) })
}

func (o *orders) accept(ctx context.Context, c signing.Command) {
	do, known := o.do[c.Type]
	switch {
	case !known:
		o.refuse(ctx, c, fmt.Sprintf("this agent carries out no orders of type %q", c.Type))
		return
	case !o.allows(c.Type):
		o.refuse(ctx, c, fmt.Sprintf("the owner of this machine refuses orders of type %s in its policy.yaml", c.Type))
		return
	}
	callCtx, cancel := context.WithCancel(ctx)
	fresh, err := o.remember(c, cancel)
	if err != nil {
		cancel()
		o.refuse(ctx, c, "this agent cannot note that it took the order, so it does not carry it out: "+err.Error())
		return
	}
	if !fresh {
		cancel()
		o.log.Info("an order that was taken before was ignored", "id", c.ID)
		return
	}
	o.work.Go(func() {
		defer cancel()
		r := o.carryOut(callCtx, c, do)
		if ctx.Err() != nil && r.State == "cancelled" {
			r = interrupted // by the end of the agent, not by the server
		}
		o.finish(ctx, c, r)
	})
}

// remember notes on disk that an order was taken. It is false when it was taken before.
func (o *orders) remember(c signing.Command, cancel context.CancelFunc) (fresh bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, seen := o.taken[c.ID]; seen {
		return false, nil
	}
	now := o.now()
	for id, expires := range o.taken {
		if now.Sub(expires) > keepOrders {
			delete(o.taken, id)
		}
	}
	if len(o.taken) >= maxRemember {
		return false, fmt.Errorf("more than %d orders within a day", maxRemember)
	}
	o.owed[c.ID] = result{}
	if err := saveJSON(o.answersPath(), o.owed); err != nil {
		delete(o.owed, c.ID)
		return false, err
	}
	o.taken[c.ID] = c.Expires
	if err := saveJSON(o.path, o.taken); err != nil {
		delete(o.owed, c.ID)
		return false, err
	}
	o.running[c.ID] = cancel
	return true, nil
}

// carryOut waits for its turn and works.
func (o *orders) carryOut(ctx context.Context, c signing.Command, do job) result {
	select {
	case o.slots <- struct{}{}:
		defer func() { <-o.slots }()
	case <-ctx.Done():
		return result{"cancelled", "it had not begun"}
	}
	if !o.now().Before(c.Expires) {
		return result{"refused", "it expired while others were carried out"}
	}
	limit := do.time
	if limit == 0 {
		limit = orderTime
	}
	jobCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out := newOutput(ctx, c.ID, o.server)
	err := do.run(jobCtx, c.ID, c.Args, out)
	out.close()
	var no *refusedOrder
	switch {
	case err == nil:
		return result{"done", ""}
	case errors.Is(err, errLater):
		return result{}
	case ctx.Err() != nil:
		return result{"cancelled", clip(err.Error())}
	case errors.As(err, &no):
		return result{"refused", clip(err.Error())}
	case jobCtx.Err() != nil:
		return result{"failed", clip(fmt.Sprintf("it took longer than %s: %v", limit, err))}
	}
	return result{"failed", clip(err.Error())}
}

// refusedOrder says that nothing was done.
type refusedOrder struct{ why string }

func (r *refusedOrder) Error() string { return r.why }

func refusedf(format string, args ...any) error { return &refusedOrder{fmt.Sprintf(format, args...)} }

// finish notes the answer, and sends it.
func (o *orders) finish(ctx context.Context, c signing.Command, r result) {
	o.mu.Lock()
	delete(o.running, c.ID)
	if r.State == "" { // the agent that comes next answers
		o.mu.Unlock()
		return
	}
	o.owed[c.ID] = r
	err := saveJSON(o.answersPath(), o.owed)
	o.mu.Unlock()
	if err != nil {
		o.log.Warn("the answer to an order cannot be noted", "id", c.ID, "problem", err)
	}
	o.log.Info("order", "id", c.ID, "type", c.Type, "state", r.State, "output", r.Output)
	o.send(ctx, c.ID)
}

// send delivers an answer that is owed. What cannot be delivered now is at the next start.
func (o *orders) send(ctx context.Context, id string) {
	o.mu.Lock()
	r := o.owed[id]
	o.mu.Unlock()
	if !o.tell(ctx, id, r) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.owed, id)
	if err := saveJSON(o.answersPath(), o.owed); err != nil {
		o.log.Warn("that an answer was delivered cannot be noted", "id", id, "problem", err)
	}
}

// tell reports whether the server knows the answer now, or will not have it.
func (o *orders) tell(ctx context.Context, id string, r result) bool {
	err := o.server.answer(ctx, id, r)
	var no *problem
	switch {
	case err == nil:
		return true
	case errors.As(err, &no) && no.ours && no.Status < 500 && no.Status != http.StatusTooManyRequests && no.Status != http.StatusUnauthorized:
		o.log.Warn("the server does not want the answer to an order", "id", id, "problem", err)
		return true
	case ctx.Err() == nil:
		o.log.Warn("the answer to an order could not be delivered", "id", id, "problem", reach(err))
	}
	return false
}

// cancel stops an order, whether it has begun or waits for its turn.
func (o *orders) cancel(c signing.Command) {
	var args struct {
		Command string `json:"command"`
	}
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return
	}
	o.mu.Lock()
	stop := o.running[args.Command]
	o.mu.Unlock()
	if stop != nil {
		o.log.Info("order cancelled", "id", args.Command)
		stop()
	}
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
		path:   filepath.Join(a.cfg.Dir, "orders.json"),
		key:    a.id.CommandKey,
		agent:  a.id.AgentID,
		now:    a.server.serverTime,
		log:    a.log,
		allows: a.ceiling.AllowsCommand,
		server: orderLine{a.server},
	}
	o.do = map[string]job{
		pingOrder:       {run: a.ping},
		collectNow:      {run: onInstance(a.collectNow)},
		restartPlugin:   {run: onInstance(a.restartPlugin)},
		refreshRegistry: {run: onInstance(func(ctx context.Context, _ string) error { return a.plugins.refresh(ctx) })},
		diagnoseOrder:   {time: time.Minute, run: a.diagnose},
		restartOrder:    {run: a.restartMe},
		updateOrder:     {time: maxOrder, run: a.updateMe},
		execOrder:       {time: maxOrder, run: a.exec},
	}
	trying, err := a.shelf.Trying()
	if err != nil {
		return nil, err
	}
	if err := o.load(trying); err != nil {
		return nil, err
	}
	return o, a.settleUpdate(o)
}

// onInstance makes a job of what concerns an instance of a plugin.
func onInstance(do func(ctx context.Context, instance string) error) func(context.Context, string, json.RawMessage, io.Writer) error {
	return func(ctx context.Context, _ string, raw json.RawMessage, _ io.Writer) error {
		var args struct {
			Instance string `json:"instance"`
		}
		if err := understand(raw, &args); err != nil {
			return err
		}
		return do(ctx, args.Instance)
	}
}

func understand(raw json.RawMessage, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return refusedf("the arguments are not understood: %v", err)
	}
	return nil
}

func (a *Agent) ping(_ context.Context, _ string, raw json.RawMessage, out io.Writer) error {
	var args struct {
		Text string `json:"text"`
	}
	if err := understand(raw, &args); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, strings.TrimSpace("pong "+args.Text))
	return err
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

// diagnose is `picket-agent doctor`, run by the agent itself.
func (a *Agent) diagnose(ctx context.Context, _ string, _ json.RawMessage, out io.Writer) error {
	healthy, err := Doctor(ctx, a.cfg, out)
	if err == nil && !healthy {
		err = errors.New("not everything works")
	}
	return err
}

// orderLine is the way to the server.
type orderLine struct{ server *server }

func (l orderLine) output(ctx context.Context, id string, offset int64, data []byte) (have int64, more bool, err error) {
	var reply struct {
		Have int64 `json:"have"`
		More bool  `json:"more"`
	}
	err = l.server.call(ctx, http.MethodPost, "/api/v1/agent/commands/"+id+"/output", nil,
		map[string]any{"offset": offset, "data": data}, &reply)
	return reply.Have, reply.More, err
}

func (l orderLine) answer(ctx context.Context, id string, r result) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	wait := patience{base: time.Second, most: 10 * time.Second}
	for {
		err := l.server.call(ctx, http.MethodPost, "/api/v1/agent/commands/"+id+"/result", nil, r, nil)
		var no *problem
		if err == nil || errors.As(err, &no) && no.Status < 500 && no.Status != http.StatusTooManyRequests {
			return err
		}
		if !sleep(ctx, wait.after(err)) {
			return err
		}
	}
}
