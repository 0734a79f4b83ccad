package telegram

import (
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/telegram") }

func TestConformance(t *testing.T) {
	s := plugintest.NewService(t, 200, nil, `{"ok": true, "result": {"message_id": 17}}`)
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, configure(s.URL)))})
}

func configure(url string) map[string]any {
	return map[string]any{"server": url, "token": "1:hidden", "chat": "-1001", "timeout": "5s"}
}

func instance() sdk.Instance { return Plugin().New() }

// What is sent is what the service documents, and what it answers becomes the receipt.
func TestNotices(t *testing.T) {
	resolved, bare := plugintest.Notice(), sdk.Notice{ID: "n-2", Event: "test", Severity: sdk.SeverityInfo, Title: "Test"}
	resolved.Event = tell.Resolved
	for name, n := range map[string]sdk.Notice{"firing": plugintest.Notice(), "resolved": resolved, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			posted, receipt, err := plugintest.Posts(t, instance(), configure, 200, nil, `{"ok": true, "result": {"message_id": 17}}`, n)
			if err != nil || receipt != (sdk.Receipt{ForeignID: "17"}) {
				t.Fatalf("%+v, %v", receipt, err)
			}
			if posted.Method != "POST" || posted.Path != "/bot1:hidden/sendMessage" || posted.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s %v", posted.Method, posted.Path, posted.Header)
			}
			plugintest.Documented(t, posted.Body)
			plugintest.Golden(t, name, posted.Body)
		})
	}
}

func TestAnswers(t *testing.T) { plugintest.Answers(t, instance, configure, "hidden") }

// A server that is not the service is noticed, although it answers 200.
func TestForeignAnswer(t *testing.T) {
	for _, answer := range []string{"<html>", `{"ok": false}`} {
		if _, _, err := plugintest.Posts(t, instance(), configure, 200, nil, answer, plugintest.Notice()); sdk.ClassOf(err) != sdk.Downstream || err == nil {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for _, chat := range []string{"", "name", "@", "12a"} {
		if (&Config{Server: "https://api.telegram.org", Chat: chat}).Validate() == nil {
			t.Errorf("chat %q was accepted", chat)
		}
	}
	for _, token := range []string{"", "abc", "1:", ":a", "1:a/../b", "1:a b"} {
		c := Config{Server: "https://api.telegram.org", Chat: "1", Token: token}
		if _, err := c.Message(plugintest.Notice()); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("token %q: %v", token, err)
		}
	}
}
