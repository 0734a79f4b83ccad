package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// How long the server may hold a poll, and how much longer to wait for its answer.
const (
	configWait   = 30 * time.Second
	commandsWait = 25 * time.Second
	pollSlack    = 15 * time.Second
)

// poll asks again and again, with growing patience when it fails. once reports how to go on: nil asks again at once.
func poll(ctx context.Context, log *slog.Logger, what string, once func(ctx context.Context) error) {
	wait := patience{base: time.Second, most: time.Minute}
	problem := ""
	for ctx.Err() == nil {
		began := time.Now()
		err := once(ctx)
		if ctx.Err() != nil {
			return
		}
		text := ""
		if err != nil {
			text = reach(err).Error()
		}
		if text != problem && err != nil {
			log.Warn("cannot fetch "+what, "problem", text)
		} else if text != problem {
			log.Info("fetching " + what + " again")
		}
		problem = text
		pause := rand.N(200 * time.Millisecond)
		switch {
		case err != nil:
			pause = wait.after(err)
		case time.Since(began) < time.Second:
			// A server that does not hold polls, or keeps finding news, must not be asked in a tight loop.
			wait.reset()
			pause += time.Second
		default:
			wait.reset()
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// pollConfig asks what to run and applies it.
func (a *Agent) pollConfig(ctx context.Context) error {
	query := url.Values{"wait": {configWait.String()}}
	if v := a.plugins.version(); v >= 0 {
		query.Set("have", strconv.FormatInt(v, 10))
	}
	d := desired{Version: -1}
	callCtx, cancel := context.WithTimeout(ctx, configWait+pollSlack)
	defer cancel()
	if err := a.server.call(callCtx, http.MethodGet, "/api/v1/agent/config", query, nil, &d); err != nil {
		return err
	}
	if d.Version < 0 || d.Version == a.plugins.version() {
		return nil // nothing new
	}
	a.log.Info("new configuration", "version", d.Version, "instances", len(d.Assignments))
	if err := a.plugins.set(ctx, d); err != nil {
		return errors.Join(errors.New("the configuration cannot be applied"), err)
	}
	a.reportSoon()
	return nil
}

// pollCommands fetches orders and carries them out.
func (a *Agent) pollCommands(ctx context.Context) error {
	var reply struct {
		Commands []json.RawMessage `json:"commands"`
	}
	callCtx, cancel := context.WithTimeout(ctx, commandsWait+pollSlack)
	defer cancel()
	query := url.Values{"wait": {commandsWait.String()}}
	if err := a.server.call(callCtx, http.MethodGet, "/api/v1/agent/commands", query, nil, &reply); err != nil {
		return err
	}
	for _, raw := range reply.Commands {
		a.orders.take(ctx, raw)
	}
	return nil
}

// jittered spreads d over 90 to 110 per cent.
func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
