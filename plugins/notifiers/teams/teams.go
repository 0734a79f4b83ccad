// Package teams is the notifier picket/teams: what goes in is a notice, what leaves is one Adaptive Card to the workflow
// that posts it in a channel of Microsoft Teams.
package teams

import (
	"time"

	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return tell.Plugin("picket/teams", "Shows notices in a channel of Microsoft Teams.", func() tell.Service { return &Config{} })
}

// Config is what an operator sets.
type Config struct {
	Server  string          `json:"server" required:"true" format:"url" doc:"The beginning of the workflow's URL, up to its port, for example https://prod-17.westeurope.logic.azure.com:443."`
	Webhook string          `json:"webhook" secret:"true" doc:"URL of the workflow that posts to the channel, as Teams shows it."`
	Wait    config.Duration `json:"timeout" default:"20s" min:"100ms" max:"2m" doc:"How long one delivery may take."`
}

// Validate implements tell.Service.
func (c *Config) Validate() error { return nil }

// Timeout implements tell.Service.
func (c *Config) Timeout() time.Duration { return time.Duration(c.Wait) }

const maxText = 10_000 // a message may have 28 KB

type fact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

type element struct {
	Type   string `json:"type"`
	Text   string `json:"text,omitempty"`
	Size   string `json:"size,omitempty"`
	Weight string `json:"weight,omitempty"`
	Color  string `json:"color,omitempty"`
	Wrap   bool   `json:"wrap,omitempty"`
	Facts  []fact `json:"facts,omitempty"`
}

type action struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

type card struct {
	Schema  string    `json:"$schema"`
	Type    string    `json:"type"`
	Version string    `json:"version"`
	Body    []element `json:"body"`
	Actions []action  `json:"actions,omitempty"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	Content     card   `json:"content"`
}

type payload struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

var colours = map[sdk.Severity]string{sdk.SeverityCritical: "Attention", sdk.SeverityHigh: "Attention", sdk.SeverityMedium: "Warning", sdk.SeverityLow: "Accent"}

// Message implements tell.Service.
func (c *Config) Message(n sdk.Notice) (tell.Message, error) {
	url, err := tell.Hook(c.Server, c.Webhook)
	if err != nil {
		return tell.Message{}, err
	}
	colour := colours[n.Severity]
	if n.Event == tell.Resolved {
		colour = "Good"
	}
	body := []element{{Type: "TextBlock", Text: tell.Clip(tell.Title(n), 300), Size: "Medium", Weight: "Bolder", Color: colour, Wrap: true}}
	if n.Text != "" {
		body = append(body, element{Type: "TextBlock", Text: tell.Clip(n.Text, maxText), Wrap: true})
	}
	facts := element{Type: "FactSet"}
	for _, f := range tell.Facts(n) {
		facts.Facts = append(facts.Facts, fact{f.Name, tell.Clip(f.Value, 200)})
	}
	content := card{Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4", Body: append(body, facts)}
	if n.URL != "" {
		content.Actions = []action{{"Action.OpenUrl", "Open in Picket", n.URL}}
	}
	return tell.Message{URL: url, Body: payload{"message", []attachment{{"application/vnd.microsoft.card.adaptive", content}}}}, nil
}

// Receipt implements tell.Service: a workflow answers 202 without an id.
func (c *Config) Receipt(sdk.Notice, sdk.Response) (sdk.Receipt, error) { return sdk.Receipt{}, nil }
