package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/picketwatch/picket/core/kernel/signing"
)

// How long the server may hold a poll, and how much longer to wait for its answer.
const (
	pollWait  = 30 * time.Second
	pollSlack = 15 * time.Second
	mostAgain = 5 * time.Minute
)

// pollForever asks again and again, with growing patience when it fails.
func (a *Agent) pollForever(ctx context.Context) {
	wait := patience{base: time.Second, most: time.Minute}
	problem, quick := "", 0
	for {
		began := time.Now()
		news, again, err := a.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		text := ""
		if err != nil {
			text = reach(err).Error()
		}
		switch {
		case text != problem && err != nil:
			a.log.Warn("cannot fetch the configuration and orders", "problem", text)
		case text != problem:
			a.log.Info("fetching the configuration and orders again")
		}
		problem = text

		pause := rand.N(200 * time.Millisecond)
		switch {
		case err != nil:
			pause = wait.after(err)
		case again > 0: // the server holds no more polls
			pause = jittered(again)
		default:
			wait.reset()
		}
		// A server that does not hold polls, or finds news without end, is not asked in a tight loop.
		if time.Since(began) > time.Second {
			quick = 0
		} else if quick++; err == nil && (!news || quick > mostQuick) {
			pause = max(pause, time.Second)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// mostQuick is how many polls in a row may bring something new at once before the agent slows down.
const mostQuick = 5

// poll asks for another configuration and for orders, applies the one and carries out the others.
func (a *Agent) poll(ctx context.Context) (news bool, again time.Duration, err error) {
	query := url.Values{"wait": {pollWait.String()}}
	if v := a.plugins.taken().Version; v >= 0 {
		query.Set("have", strconv.FormatInt(v, 10))
	}
	var reply struct {
		Config   *signing.Config   `json:"config"`
		Commands []json.RawMessage `json:"commands"`
		Again    float64           `json:"again_seconds"`
	}
	callCtx, cancel := context.WithTimeout(ctx, pollWait+pollSlack)
	defer cancel()
	if err := a.server.call(callCtx, http.MethodGet, "/api/v1/agent/poll", query, nil, &reply); err != nil {
		return false, 0, err
	}
	// Orders are handed out once, so they are carried out also when the configuration is none.
	defer func() {
		for _, raw := range reply.Commands {
			a.orders.take(ctx, raw)
		}
	}()
	if reply.Config != nil {
		err = a.configure(ctx, *reply.Config)
	}
	return reply.Config != nil || len(reply.Commands) > 0, min(time.Duration(reply.Again*float64(time.Second)), mostAgain), err
}

// configure applies a configuration, if it is this server's and not the one in use.
func (a *Agent) configure(ctx context.Context, answer signing.Config) error {
	d, err := a.verified(answer)
	if err != nil {
		return err
	}
	if d.Version == a.plugins.taken().Version {
		return nil
	}
	a.log.Info("new configuration", "version", d.Version, "instances", len(d.Assignments))
	if err := a.plugins.set(ctx, d); err != nil {
		return fmt.Errorf("the configuration cannot be applied: %w", err)
	}
	a.reportSoon()
	return nil
}

// verified says what a configuration asks for, if it is this server's for this agent and no older than the one in use.
// A lower number is a server that was restored from a backup if it was signed later, and an answer of long ago if not.
func (a *Agent) verified(answer signing.Config) (desired, error) {
	c, err := signing.VerifyConfig(answer, a.id.CommandKey, a.id.AgentID)
	if err != nil {
		return desired{}, fmt.Errorf("the configuration is refused: %w", err)
	}
	if have := a.plugins.taken(); c.Version < have.Version && !c.Issued.After(have.Issued) {
		return desired{}, fmt.Errorf("the configuration is refused: %w", &signing.Refusal{Reason: signing.Older,
			Detail: fmt.Sprintf("configuration %d was signed before %d, which is in use", c.Version, have.Version)})
	}
	d := desired{Version: c.Version, Issued: c.Issued}
	if err := json.Unmarshal(c.Assignments, &d.Assignments); err != nil {
		return desired{}, fmt.Errorf("understand the configuration: %w", err)
	}
	return d, nil
}

// jittered spreads d over 90 to 110 per cent.
func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
