// Package discord is the notifier picket/discord: what goes in is a notice, what leaves is one message to a Discord
// channel through its webhook, and what comes out is the message's id.
package discord

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return tell.Plugin("picket/discord", "Shows notices in a Discord channel.", func() tell.Service { return &Config{} })
}

// Config is what an operator sets.
type Config struct {
	Server  string          `json:"server" default:"https://discord.com" format:"url" doc:"Where Discord listens."`
	Webhook string          `json:"webhook" secret:"true" doc:"URL of the channel's webhook, as Discord shows it."`
	Name    string          `json:"name" default:"Picket" max:"80" doc:"Name that the messages come from."`
	Wait    config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one delivery may take."`
}

// Validate refuses what Discord refuses.
func (c *Config) Validate() error {
	if name := strings.ToLower(c.Name); strings.Contains(name, "discord") || strings.Contains(name, "clyde") {
		return sdk.Errorf(sdk.InvalidConfig, "name: Discord allows no name with %q", c.Name)
	}
	return nil
}

// Timeout implements tell.Service.
func (c *Config) Timeout() time.Duration { return time.Duration(c.Wait) }

type field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline"`
}

type embed struct {
	Title       string  `json:"title"`
	Description string  `json:"description,omitempty"`
	URL         string  `json:"url,omitempty"`
	Timestamp   string  `json:"timestamp,omitempty"`
	Color       int     `json:"color"`
	Fields      []field `json:"fields"`
}

type mentions struct {
	Parse []string `json:"parse"` // empty: what others wrote calls nobody
}

type payload struct {
	Username string   `json:"username"`
	Embeds   []embed  `json:"embeds"`
	Mentions mentions `json:"allowed_mentions"`
}

// Markdown in what others wrote is shown, not followed.
var escape = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "~", `\~`, "`", "\\`", "|", `\|`, ">", `\>`, "[", `\[`, "<", `\<`)

// Message implements tell.Service.
func (c *Config) Message(n sdk.Notice) (tell.Message, error) {
	url, err := tell.Hook(c.Server, c.Webhook)
	if err != nil {
		return tell.Message{}, err
	}
	e := embed{Title: tell.Clip(tell.Title(n), 256), Description: tell.Clip(escape.Replace(tell.Clip(n.Text, 3000)), 4096), URL: n.URL, Color: tell.Colour(n)}
	if !n.Time.IsZero() {
		e.Timestamp = n.Time.UTC().Format(time.RFC3339)
	}
	for _, f := range tell.Facts(n) {
		e.Fields = append(e.Fields, field{f.Name, tell.Clip(escape.Replace(f.Value), 1024), true})
	}
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	return tell.Message{URL: url + separator + "wait=true", Body: payload{c.Name, []embed{e}, mentions{[]string{}}}}, nil
}

// Receipt implements tell.Service: with wait=true Discord answers with the message.
func (c *Config) Receipt(_ sdk.Notice, answer sdk.Response) (sdk.Receipt, error) {
	var message struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.Body, &message); err != nil || message.ID == "" {
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "the answer is not that of Discord: is server right?")
	}
	return sdk.Receipt{ForeignID: tell.Clip(message.ID, 64)}, nil
}
