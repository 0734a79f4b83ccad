package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/picketwatch/picket/core/kernel/signing"
)

// How long the server may hold a poll, and how much longer to wait for its answer.
const (
	configWait   = 30 * time.Second
	commandsWait = 25 * time.Second
	pollSlack    = 15 * time.Second
)

// poll asks again and again, with growing patience when it fails. once says whether there was something new.
func poll(ctx context.Context, log *slog.Logger, what string, once func(ctx context.Context) (news bool, err error)) {
	wait := patience{base: time.Second, most: time.Minute}
	problem, quick := "", 0
	for {
		began := time.Now()
		news, err := once(ctx)
		if ctx.Err() != nil {
			return
		}
		text := ""
		if err != nil {
			text = reach(err).Error()
		}
		switch {
		case text != problem && err != nil:
			log.Warn("cannot fetch "+what, "problem", text)
		case text != problem:
			log.Info("fetching " + what + " again")
		}
		problem = text

		pause := rand.N(200 * time.Millisecond)
		if err != nil {
			pause = wait.after(err)
		} else {
			wait.reset()
		}
		// A server that does not hold polls, or finds news without end, is not asked in a tight loop.
		if time.Since(began) > time.Second {
			quick = 0
		} else if quick++; err == nil && (!news || quick > mostQuick) {
			pause += time.Second
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// mostQuick is how many polls in a row may bring something new at once before the agent slows down.
const mostQuick = 5

// pollConfig asks what to run and applies it.
func (a *Agent) pollConfig(ctx context.Context) (news bool, err error) {
	query := url.Values{"wait": {configWait.String()}}
	if v := a.plugins.version(); v >= 0 {
		query.Set("have", strconv.FormatInt(v, 10))
	}
	answer := signing.Config{Version: -1}
	callCtx, cancel := context.WithTimeout(ctx, configWait+pollSlack)
	defer cancel()
	if err := a.server.call(callCtx, http.MethodGet, "/api/v1/agent/config", query, nil, &answer); err != nil {
		return false, err
	}
	if answer.Version < 0 {
		return false, nil // nothing new
	}
	d, err := a.verified(answer)
	if err != nil {
		return false, err
	}
	if d.Version == a.plugins.version() {
		return false, nil
	}
	a.log.Info("new configuration", "version", d.Version, "instances", len(d.Assignments))
	if err := a.plugins.set(ctx, d); err != nil {
		return false, fmt.Errorf("the configuration cannot be applied: %w", err)
	}
	a.reportSoon()
	return true, nil
}

// verified says what a configuration asks for, if it is this server's for this agent and no older than the one in use.
// A lower number is a server that was restored from a backup if it was signed later, and an answer of long ago if not.
func (a *Agent) verified(answer signing.Config) (desired, error) {
	c, err := signing.VerifyConfig(answer, a.id.CommandKey, a.id.AgentID)
	if err != nil {
		return desired{}, fmt.Errorf("the configuration is refused: %w", err)
	}
	if have := a.plugins.wanted(); c.Version < have.Version && !c.Issued.After(have.Issued) {
		return desired{}, fmt.Errorf("the configuration is refused: %w", &signing.Refusal{Reason: signing.Older,
			Detail: fmt.Sprintf("configuration %d was signed before %d, which is in use", c.Version, have.Version)})
	}
	d := desired{Version: c.Version, Issued: c.Issued}
	if err := json.Unmarshal(c.Assignments, &d.Assignments); err != nil {
		return desired{}, fmt.Errorf("understand the configuration: %w", err)
	}
	return d, nil
}

// pollCommands fetches orders and carries them out.
func (a *Agent) pollCommands(ctx context.Context) (news bool, err error) {
	var reply struct {
		Commands []json.RawMessage `json:"commands"`
	}
	callCtx, cancel := context.WithTimeout(ctx, commandsWait+pollSlack)
	defer cancel()
	query := url.Values{"wait": {commandsWait.String()}}
	if err := a.server.call(callCtx, http.MethodGet, "/api/v1/agent/commands", query, nil, &reply); err != nil {
		return false, err
	}
	for _, raw := range reply.Commands {
		a.orders.take(ctx, raw)
	}
	return len(reply.Commands) > 0, nil
}

// jittered spreads d over 90 to 110 per cent.
func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
