// Package containers is the collector picket/containers: what goes in are the answers of a container engine on its socket (the
// interface of Docker, which Podman speaks as well), what comes out are samples of its containers.
package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/wildcard"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{ID: "picket/containers", Kind: sdk.KindCollector,
		Summary: "Measures the containers of a machine by the socket of Docker or Podman.", New: func() sdk.Instance { return New() }}
}

// Config is what an operator sets.
type Config struct {
	Socket  string          `json:"socket" default:"/run/docker.sock" max:"256" doc:"The engine's socket; Podman's is /run/podman/podman.sock."`
	Include []string        `json:"include" max:"100" doc:"Patterns of names of containers to measure; none means all."`
	Exclude []string        `json:"exclude" max:"100" doc:"Patterns of names to leave out."`
	Most    int             `json:"most" default:"200" min:"1" max:"1000" doc:"How many containers to measure at most; the rest is counted only."`
	Timeout config.Duration `json:"timeout" default:"8s" min:"100ms" max:"1m" doc:"How long the engine may take for all answers."`
}

const (
	maxAnswer = 8 << 20
	atOnce    = 4 // questions
)

// Collector asks one engine.
type Collector struct {
	config Config
	host   sdk.Host
	client *http.Client
	last   map[string]reading // by id, of the collection before
}

// reading is what a share of the processors is computed from.
type reading struct {
	at      time.Time
	seconds float64
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error {
	if !strings.HasPrefix(c.config.Socket, "/") {
		return sdk.Errorf(sdk.InvalidConfig, "socket: %q is not an absolute path", c.config.Socket)
	}
	return nil
}

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	c.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, MaxResponseHeaderBytes: 64 << 10,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return host.Dial(ctx, "unix", c.config.Socket)
		}}}
	return nil
}

// Stop implements sdk.Stopper.
func (c *Collector) Stop(context.Context) error {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	return nil
}

// Collect asks for the list, and what each container that runs uses.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.config.Timeout))
	defer cancel()
	var all []container
	if err := c.ask(ctx, "/containers/json?all=1", &all); err != nil {
		return err
	}
	out := measure.Samples{Time: c.host.Now()}
	count(&out, all)
	chosen := c.choose(all)
	used := c.usage(ctx, chosen)
	now := map[string]reading{}
	var failed []error
	for i, k := range chosen {
		out.Common = k.labels()
		out.Gauge("picket.container.state", "{container}", 1, "container.state", k.state())
		if used[i].err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", k.name(), used[i].err))
			continue
		}
		if s := used[i].stats; s != nil {
			s.measure(&out)
			c.share(&out, k.ID, s, now)
		}
	}
	c.last = now
	if err := out.Emit(sink); err != nil {
		return err
	}
	return errors.Join(failed...)
}

// share is what part of the processors a container used since the collection before.
func (c *Collector) share(out *measure.Samples, id string, s *stats, now map[string]reading) {
	n, ok := s.seconds()
	if !ok {
		return
	}
	now[id] = reading{out.Time, n}
	if before, ok := c.last[id]; ok && n >= before.seconds && out.Time.After(before.at) {
		out.Gauge("container.cpu.usage", "{cpu}", (n-before.seconds)/out.Time.Sub(before.at).Seconds())
	}
}

func (c *Collector) choose(all []container) []container {
	var out []container
	for _, k := range all {
		if len(out) < c.config.Most && k.ID != "" && wildcard.Allows(k.name(), c.config.Include, c.config.Exclude) {
			out = append(out, k)
		}
	}
	return out
}

// answer is what a container uses, nil when it does not run any more.
type answer struct {
	stats *stats
	err   error
}

func (c *Collector) usage(ctx context.Context, list []container) []answer {
	out := make([]answer, len(list))
	turns := make(chan struct{}, atOnce)
	var asking sync.WaitGroup
	for i, k := range list {
		if s := k.state(); s != "running" && s != "paused" {
			continue
		}
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			var s stats
			err := c.ask(ctx, "/containers/"+k.ID+"/stats?stream=false&one-shot=true", &s)
			switch {
			case errors.Is(err, errGone):
			case err != nil:
				out[i].err = err
			default:
				out[i].stats = &s
			}
		})
	}
	asking.Wait()
	return out
}

// errGone is the answer for a container that ended since the list was made.
var errGone = errors.New("there is no such container")

func (c *Collector) ask(ctx context.Context, path string, into any) error {
	// Without a version in its path a question is answered in the newest that the engine has; one in an old version would be refused
	// by an engine that no longer speaks it.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return sdk.Errorf(sdk.Downstream, "an id that cannot be asked for: %w", err)
	}
	r, err := c.client.Do(req)
	if err != nil {
		return rest.Unreachable(c.config.Socket, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	switch {
	case err != nil:
		return rest.Unreachable(c.config.Socket, err)
	case len(body) > maxAnswer:
		return sdk.Errorf(sdk.Downstream, "%s answers with more than %d bytes", c.config.Socket, maxAnswer)
	case r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusConflict:
		return errGone
	}
	if err := rest.Verdict(c.config.Socket, r.StatusCode, r.Header, body, c.host.Now()); err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return sdk.Errorf(sdk.Downstream, "%s answers with something else than an engine does: %w", c.config.Socket, err)
	}
	return nil
}
