package pagerduty

import (
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/pagerduty") }

func TestConformance(t *testing.T) {
	s := plugintest.NewService(t, 202, nil, `{"status": "success", "message": "Event processed", "dedup_key": "picket/a-17"}`)
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, configure(s.URL)))})
}

func configure(url string) map[string]any {
	return map[string]any{"server": url, "routing_key": "hidden0123456789abcdef0123456789", "timeout": "5s"}
}

func instance() sdk.Instance { return Plugin().New() }

// What is sent is what the service documents, and what it answers becomes the receipt.
func TestNotices(t *testing.T) {
	resolved, bare := plugintest.Notice(), sdk.Notice{ID: "n-2", Event: "test", Severity: sdk.SeverityInfo, Title: "Test"}
	resolved.Event = tell.Resolved
	for name, n := range map[string]sdk.Notice{"firing": plugintest.Notice(), "resolved": resolved, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			posted, receipt, err := plugintest.Posts(t, instance(), configure, 202, nil, `{"status": "success", "message": "Event processed", "dedup_key": "picket/a-17"}`, n)
			if err != nil || receipt != (sdk.Receipt{ForeignID: "picket/a-17"}) {
				t.Fatalf("%+v, %v", receipt, err)
			}
			if posted.Method != "POST" || posted.Path != "/v2/enqueue" || posted.Header.Get("Content-Type") != "application/json" {
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
	for _, answer := range []string{"<html>", `{"status": "invalid event"}`} {
		if _, _, err := plugintest.Posts(t, instance(), configure, 200, nil, answer, plugintest.Notice()); sdk.ClassOf(err) != sdk.Downstream || err == nil {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// Retries of a notice that belongs to no alert must not open two incidents, and an alert has one.
func TestKeys(t *testing.T) {
	c := Config{Server: "https://events.pagerduty.com", Key: "0123456789abcdef0123456789abcdef"}
	key := func(n sdk.Notice) string {
		m, err := c.Message(n)
		if err != nil {
			t.Fatal(err)
		}
		return m.Body.(event).DedupKey
	}
	firing, resolved := plugintest.Notice(), plugintest.Notice()
	resolved.ID, resolved.Event = "n-9", tell.Resolved
	if key(firing) != key(resolved) || key(sdk.Notice{ID: "a"}) == key(sdk.Notice{ID: "b"}) {
		t.Error("an alert has one key, each other notice its own")
	}
	c.Key = "short"
	if _, err := c.Message(firing); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Error(err)
	}
}
