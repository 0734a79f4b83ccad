// Package pagerduty is the notifier picket/pagerduty: what goes in is a notice, what leaves is one event to PagerDuty's
// Events API, version 2, under a key that all notices of one alert share, so that its end resolves the incident there.
package pagerduty

import (
	"encoding/json"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return tell.Plugin("picket/pagerduty", "Opens and resolves incidents in PagerDuty.", func() tell.Service { return &Config{} })
}

// Config is what an operator sets.
type Config struct {
	Server string          `json:"server" default:"https://events.pagerduty.com" format:"url" doc:"Where the Events API listens; https://events.eu.pagerduty.com for accounts in Europe."`
	Key    string          `json:"routing_key" secret:"true" doc:"Integration key of the service in PagerDuty, of 32 characters (Events API v2)."`
	Source string          `json:"source" default:"picket" max:"255" doc:"What the incident says it comes from, where the alert names no address."`
	Wait   config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one delivery may take."`
}

const keyLength = 32

// Validate implements tell.Service.
func (c *Config) Validate() error {
	_, err := rest.Base("server", c.Server)
	return err
}

// Timeout implements tell.Service.
func (c *Config) Timeout() time.Duration { return time.Duration(c.Wait) }

type details struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp string            `json:"timestamp,omitempty"`
	Class     string            `json:"class,omitempty"`
	Custom    map[string]string `json:"custom_details,omitempty"`
}

type link struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

type event struct {
	RoutingKey string   `json:"routing_key"`
	Action     string   `json:"event_action"`
	DedupKey   string   `json:"dedup_key"`
	Payload    *details `json:"payload,omitempty"`
	Links      []link   `json:"links,omitempty"`
	Client     string   `json:"client,omitempty"`
}

var severities = map[sdk.Severity]string{sdk.SeverityCritical: "critical", sdk.SeverityHigh: "error", sdk.SeverityMedium: "warning"}

// Message implements tell.Service.
func (c *Config) Message(n sdk.Notice) (tell.Message, error) {
	base, err := rest.Base("server", c.Server)
	if err != nil {
		return tell.Message{}, err
	}
	if len(c.Key) != keyLength {
		return tell.Message{}, sdk.Errorf(sdk.InvalidConfig, "routing_key: an integration key has %d characters, this one %d", keyLength, len(c.Key))
	}
	e := event{RoutingKey: c.Key, Action: "resolve", DedupKey: tell.Clip("picket/"+n.AlertID, 255)}
	if n.AlertID == "" {
		e.DedupKey = tell.Clip("picket/notice/"+n.ID, 255) // the same for each retry
	}
	if n.Event != tell.Resolved {
		e.Action, e.Client, e.Payload = "trigger", "Picket", c.details(n)
		if n.URL != "" {
			e.Links = []link{{n.URL, "Open in Picket"}}
		}
	}
	return tell.Message{URL: base + "/v2/enqueue", Body: e}, nil
}

func (c *Config) details(n sdk.Notice) *details {
	d := &details{Summary: tell.Clip(n.Title, 1024), Source: c.Source, Severity: "info", Custom: map[string]string{"text": tell.Clip(n.Text, 4000)}}
	if s, known := severities[n.Severity]; known {
		d.Severity = s
	}
	if !n.Time.IsZero() {
		d.Timestamp = n.Time.UTC().Format(time.RFC3339)
	}
	if a := n.Alert; a != nil {
		d.Class = a.Rule
		if a.Src != "" {
			d.Source = a.Src
		}
	}
	for _, f := range tell.Facts(n)[1:] {
		d.Custom[f.Name] = f.Value
	}
	return d
}

// Receipt implements tell.Service: PagerDuty knows the incident by the key.
func (c *Config) Receipt(_ sdk.Notice, answer sdk.Response) (sdk.Receipt, error) {
	var accepted struct {
		Status   string `json:"status"`
		DedupKey string `json:"dedup_key"`
	}
	if err := json.Unmarshal(answer.Body, &accepted); err != nil || accepted.Status != "success" {
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "the answer is not that of PagerDuty: is server right?")
	}
	return sdk.Receipt{ForeignID: tell.Clip(accepted.DedupKey, 255)}, nil
}
