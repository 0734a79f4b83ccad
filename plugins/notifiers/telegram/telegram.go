// Package telegram is the notifier picket/telegram: what goes in is a notice, what leaves is one message of a bot to a
// chat, and what comes out is the message's number.
package telegram

import (
	"encoding/json"
	"html"
	"strconv"
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
	return tell.Plugin("picket/telegram", "Shows notices in a Telegram chat.", func() tell.Service { return &Config{} })
}

// Config is what an operator sets.
type Config struct {
	Server string          `json:"server" default:"https://api.telegram.org" format:"url" doc:"Where the Bot API listens: Telegram's, or an own Bot API server."`
	Token  string          `json:"token" secret:"true" doc:"The bot's token, as BotFather shows it."`
	Chat   string          `json:"chat" required:"true" max:"64" doc:"Number of the chat, or @name of a public channel. The bot must be a member."`
	Quiet  string          `json:"quiet_below" enum:"info,low,medium,high,critical" default:"medium" doc:"Notices below this severity come without a sound."`
	Wait   config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one delivery may take."`
}

// Validate checks what tags cannot say.
func (c *Config) Validate() error {
	if _, err := strconv.ParseInt(c.Chat, 10, 64); err != nil && (!strings.HasPrefix(c.Chat, "@") || len(c.Chat) < 2) {
		return sdk.Errorf(sdk.InvalidConfig, "chat: %q is neither a number nor an @name", c.Chat)
	}
	_, err := rest.Base("server", c.Server)
	return err
}

// Timeout implements tell.Service.
func (c *Config) Timeout() time.Duration { return time.Duration(c.Wait) }

type preview struct {
	Disabled bool `json:"is_disabled"`
}

type payload struct {
	Chat    string  `json:"chat_id"`
	Text    string  `json:"text"`
	Mode    string  `json:"parse_mode"`
	Preview preview `json:"link_preview_options"`
	Quiet   bool    `json:"disable_notification"`
}

const (
	tokenLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:"
	maxText      = 3000 // of 4096 characters after the tags
)

// Message implements tell.Service.
func (c *Config) Message(n sdk.Notice) (tell.Message, error) {
	base, err := rest.Base("server", c.Server)
	if err != nil {
		return tell.Message{}, err
	}
	if bot, key, ok := strings.Cut(c.Token, ":"); !ok || bot == "" || key == "" || strings.Trim(c.Token, tokenLetters) != "" { // it becomes part of a path
		return tell.Message{}, sdk.Errorf(sdk.InvalidConfig, "token: set the bot's token, a number, a colon and letters")
	}
	text := "<b>" + html.EscapeString(tell.Clip(tell.Title(n), 250)) + "</b>"
	if n.Text != "" {
		text += "\n" + html.EscapeString(tell.Clip(n.Text, maxText))
	}
	for _, f := range tell.Facts(n) {
		text += "\n" + html.EscapeString(f.Name) + ": <code>" + html.EscapeString(tell.Clip(f.Value, 120)) + "</code>"
	}
	if n.URL != "" {
		text += "\n<a href=\"" + html.EscapeString(n.URL) + "\">Open in Picket</a>"
	}
	quiet := n.Event == tell.Resolved || n.Severity.Rank() < sdk.Severity(c.Quiet).Rank()
	return tell.Message{URL: base + "/bot" + c.Token + "/sendMessage", Body: payload{c.Chat, text, "HTML", preview{true}, quiet}}, nil
}

// Receipt implements tell.Service.
func (c *Config) Receipt(_ sdk.Notice, answer sdk.Response) (sdk.Receipt, error) {
	var sent struct {
		OK     bool `json:"ok"`
		Result struct {
			MessageID int64 `json:"message_id"`
		} `json:"result"`
	}
	if err := json.Unmarshal(answer.Body, &sent); err != nil || !sent.OK {
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "the answer is not that of Telegram: is server right?")
	}
	return sdk.Receipt{ForeignID: strconv.FormatInt(sent.Result.MessageID, 10)}, nil
}
