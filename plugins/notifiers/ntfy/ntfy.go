// Package ntfy is the notifier picket/ntfy: what goes in is a notice, what leaves is one message to an ntfy server, which
// shows it on telephones, and what comes out is the server's id for it.
package ntfy

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return tell.Plugin("picket/ntfy", "Shows notices on telephones through an ntfy server.", func() tell.Service { return &Config{} })
}

// Config is what an operator sets.
type Config struct {
	Server string          `json:"server" default:"https://ntfy.sh" format:"url" doc:"Address of the ntfy server."`
	Topic  string          `json:"topic" required:"true" max:"64" doc:"Topic to publish to. On a public server whoever knows it can read along."`
	Token  string          `json:"token" secret:"true" doc:"Access token, where the server wants one."`
	Wait   config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one delivery may take."`
}

const topicLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// Validate checks what tags cannot say.
func (c *Config) Validate() error {
	if c.Topic == "" || strings.Trim(c.Topic, topicLetters) != "" {
		return sdk.Errorf(sdk.InvalidConfig, "topic: %q may have letters, digits, dashes and underscores alone", c.Topic)
	}
	_, err := rest.Base("server", c.Server)
	return err
}

// Timeout implements tell.Service.
func (c *Config) Timeout() time.Duration { return time.Duration(c.Wait) }

type payload struct {
	Topic    string   `json:"topic"`
	Title    string   `json:"title"`
	Message  string   `json:"message"`
	Priority int      `json:"priority"` // 1 to 5
	Tags     []string `json:"tags"`
	Click    string   `json:"click,omitempty"`
}

var priorities = map[sdk.Severity]int{sdk.SeverityInfo: 2, sdk.SeverityLow: 2, sdk.SeverityMedium: 3, sdk.SeverityHigh: 4, sdk.SeverityCritical: 5}

const maxMessage = 3500 // of 4096 bytes; longer ones become an attachment

// Message implements tell.Service.
func (c *Config) Message(n sdk.Notice) (tell.Message, error) {
	base, err := rest.Base("server", c.Server)
	if err != nil {
		return tell.Message{}, err
	}
	p := payload{Topic: c.Topic, Title: tell.Clip(tell.Title(n), 250), Message: clipBytes(n.Text, maxMessage), Priority: 3, Tags: []string{"rotating_light"}, Click: n.URL}
	if priority, known := priorities[n.Severity]; known {
		p.Priority = priority
	}
	if n.Event == tell.Resolved {
		p.Priority, p.Tags = 2, []string{"white_check_mark"}
	}
	m := tell.Message{URL: base, Body: p}
	if c.Token != "" {
		m.Header = map[string][]string{"Authorization": {"Bearer " + c.Token}}
	}
	return m, nil
}

func clipBytes(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Receipt implements tell.Service.
func (c *Config) Receipt(_ sdk.Notice, answer sdk.Response) (sdk.Receipt, error) {
	var published struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.Body, &published); err != nil || published.ID == "" {
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "the answer is not that of an ntfy server: is server right?")
	}
	return sdk.Receipt{ForeignID: tell.Clip(published.ID, 64)}, nil
}
