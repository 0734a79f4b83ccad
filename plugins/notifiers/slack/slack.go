// Package slack is the notifier picket/slack: what goes in is a notice, what leaves is one message to a Slack channel
// through an incoming webhook.
package slack

import (
	"fmt"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return tell.Plugin("picket/slack", "Shows notices in a Slack channel.", func() tell.Service { return &Config{} })
}

// Config is what an operator sets.
type Config struct {
	Server  string          `json:"server" default:"https://hooks.slack.com" format:"url" doc:"Where Slack listens; hooks.slack-gov.com for GovSlack."`
	Webhook string          `json:"webhook" secret:"true" doc:"URL of the incoming webhook, as Slack shows it. It names the channel."`
	Wait    config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one delivery may take."`
}

// Validate implements tell.Service.
func (c *Config) Validate() error { return nil }

// Timeout implements tell.Service.
func (c *Config) Timeout() time.Duration { return time.Duration(c.Wait) }

// The limits of Block Kit.
const (
	maxHeader  = 150
	maxSection = 3000
)

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type block struct {
	Type     string `json:"type"`
	Text     *text  `json:"text,omitempty"`
	Fields   []text `json:"fields,omitempty"`
	Elements []text `json:"elements,omitempty"`
}

type attachment struct {
	Color  string  `json:"color"`
	Blocks []block `json:"blocks"`
}

type payload struct {
	Text        string       `json:"text"` // what a notification on a telephone shows
	Attachments []attachment `json:"attachments"`
}

// escape keeps what others wrote from becoming a link or a mention of everybody.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Message implements tell.Service.
func (c *Config) Message(n sdk.Notice) (tell.Message, error) {
	url, err := tell.Hook(c.Server, c.Webhook)
	if err != nil {
		return tell.Message{}, err
	}
	title := escape.Replace(tell.Clip(tell.Title(n), maxHeader))
	headline := "*" + title + "*"
	if n.URL != "" {
		headline = "*<" + n.URL + "|" + title + ">*"
	}
	blocks := []block{{Type: "section", Text: &text{"mrkdwn", headline}}}
	if n.Text != "" {
		blocks = append(blocks, block{Type: "section", Text: &text{"plain_text", tell.Clip(n.Text, maxSection)}})
	}
	var facts []text
	for _, f := range tell.Facts(n) {
		facts = append(facts, text{"mrkdwn", "*" + f.Name + "*\n" + escape.Replace(tell.Clip(f.Value, 200))})
	}
	blocks = append(blocks, block{Type: "section", Fields: facts})
	return tell.Message{URL: url, Body: payload{Text: title, Attachments: []attachment{{Color: fmt.Sprintf("#%06x", tell.Colour(n)), Blocks: blocks}}}}, nil
}

// Receipt implements tell.Service: Slack answers "ok" and gives no id.
func (c *Config) Receipt(_ sdk.Notice, answer sdk.Response) (sdk.Receipt, error) {
	if said := strings.TrimSpace(string(answer.Body)); said != "ok" {
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "the answer is not that of Slack: is server right?")
	}
	return sdk.Receipt{}, nil
}
