package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

type countBody struct {
	Online int `json:"online"`
	Total  int `json:"total"`
}

type readyBody struct {
	Ready int `json:"ready" doc:"Instances that work."`
	Total int `json:"total" doc:"Instances that should."`
}

type stepBody struct {
	ID    string `json:"id" enum:"enable_plugin,add_machine,drop_capture,get_told"`
	Done  bool   `json:"done"`
	Title string `json:"title"`
	Text  string `json:"text"`
	Link  string `json:"link"`
}

type overviewBody struct {
	Devices   int                  `json:"devices"`
	Agents    countBody            `json:"agents"`
	Alerts    map[sdk.Severity]int `json:"alerts" doc:"Open ones by severity."`
	Incidents int                  `json:"incidents" doc:"Those that nobody has closed."`
	Plugins   readyBody            `json:"plugins"`
	Steps     []stepBody           `json:"steps" nullable:"false" doc:"What to do next."`
}

func (s *Server) overviewRoutes() {
	handle(s, huma.Operation{OperationID: "overview", Method: http.MethodGet, Path: "/api/v1/overview", Tags: []string{"overview"},
		Summary: "How things stand"}, s.overview)
}

func (s *Server) overview(ctx context.Context, _ *struct{}) (*body[overviewBody], error) {
	id := caller(ctx)
	out := overviewBody{Alerts: map[sdk.Severity]int{}, Steps: []stepBody{}}
	var err error
	if out.Devices, err = s.cfg.Control.CountDevices(ctx, id.Tenant); err != nil {
		return nil, err
	}
	open, err := s.cfg.Control.CountOpenAlerts(ctx, id.Tenant)
	if err != nil {
		return nil, err
	}
	for _, sev := range []sdk.Severity{sdk.SeverityInfo, sdk.SeverityLow, sdk.SeverityMedium, sdk.SeverityHigh, sdk.SeverityCritical} {
		out.Alerts[sev] = open[sev]
	}
	if out.Incidents, err = s.cfg.Control.CountOpenIncidents(ctx, id.Tenant); err != nil {
		return nil, err
	}
	if out.Agents.Total, out.Agents.Online, err = s.cfg.Agents.Count(ctx, id.Tenant); err != nil {
		return nil, err
	}
	plugins, err := s.plugins.get(ctx, s.cfg.Catalogue.Tally)
	if err != nil {
		return nil, err
	}
	out.Plugins = readyBody{Ready: plugins.Ready, Total: plugins.Total}
	if id.Role != auth.RolePUB { // the next steps are for those who may take them
		out.Steps, err = s.steps(ctx, id.Tenant, out, plugins)
	}
	return answer(out), err
}

// steps are what a newcomer would do next. In --dev the first agent, capture and plugins are the server's own doing,
// so a step counts as done only by what came on top.
func (s *Server) steps(ctx context.Context, tenant string, o overviewBody, plugins catalogue.Tally) ([]stepBody, error) {
	captures, _, err := s.cfg.Control.ListCaptures(ctx, tenant, store.Page{Limit: 50})
	if err != nil {
		return nil, err
	}
	uploaded := false
	for _, c := range captures {
		uploaded = uploaded || c.CreatedBy != "system"
	}
	own := 0
	if s.cfg.Dev {
		own = 1
	}
	return []stepBody{
		{ID: "enable_plugin", Done: plugins.ByHand, Title: "Enable a plugin", Link: "/plugins",
			Text: "Find devices with ping, or switch on another collector. You see what each asks for before it runs."},
		{ID: "add_machine", Done: o.Agents.Total > own, Title: "Add a machine", Link: "/machines",
			Text: "One command on another machine brings its CPU, memory, disks and network here."},
		{ID: "drop_capture", Done: uploaded, Title: "Drop your own capture", Link: "/captures",
			Text: "Upload a pcap or pcapng file and see what is in it."},
		{ID: "get_told", Done: plugins.Notifies, Title: "Get told", Link: "/plugins?kind=notifier",
			Text: "Enable e-mail or a webhook, so that alerts reach you."},
	}, nil
}

// tally holds the newest count of the plugins' instances. Of a few agents it is always counted anew; of thousands it takes a
// moment, so it is done again only after tallyRests times as long, and who asks in between gets what there is.
type tally struct {
	mu      sync.Mutex // guards what follows
	last    catalogue.Tally
	made    time.Time
	took    time.Duration
	running bool
}

const (
	tallyRests = 50
	tallyQuick = 20 * time.Millisecond // what takes no longer is not kept
	tallyStale = 2 * time.Minute       // nobody is given one that is older than it should be by so much
)

func (t *tally) get(ctx context.Context, count func(context.Context) (catalogue.Tally, error)) (catalogue.Tally, error) {
	t.mu.Lock()
	age, rest := time.Since(t.made), tallyRests*t.took
	if t.made.IsZero() || t.took <= tallyQuick || age > rest+tallyStale {
		t.mu.Unlock()
		return t.count(ctx, count)
	}
	defer t.mu.Unlock()
	if age > rest && !t.running {
		t.running = true
		go func() {
			_, _ = t.count(context.WithoutCancel(ctx), count) // what goes wrong is told to the next who has to wait for it
			t.mu.Lock()
			t.running = false
			t.mu.Unlock()
		}()
	}
	return t.last, nil
}

func (t *tally) count(ctx context.Context, count func(context.Context) (catalogue.Tally, error)) (catalogue.Tally, error) {
	began := time.Now()
	n, err := count(ctx)
	if err != nil {
		return n, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.made, t.took = n, time.Now(), time.Since(began)
	return n, nil
}
