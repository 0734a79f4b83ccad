package ntfy

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// The conformance suite takes the plugin through its life, twice over, with good and bad configurations. Nobody listens
// at this address, which a notifier has to survive.
func TestConformance(t *testing.T) {
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(`{"server": "http://127.0.0.1:9", "topic": "picket"}`)})
}

// host answers every request with the same, and keeps what was asked.
type host struct {
	sdk.Host
	answer sdk.Response
	asked  sdk.Request
}

func (h *host) Fetch(_ context.Context, r sdk.Request) (sdk.Response, error) {
	h.asked = r
	return h.answer, nil
}

func notify(t *testing.T, h *host, notice sdk.Notice) (sdk.Receipt, error) {
	t.Helper()
	n := &Notifier{config: Config{Server: "https://ntfy.example.org", Topic: "picket", Token: "tk_made_up", Timeout: 1e9}}
	if err := n.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	return n.Notify(t.Context(), notice)
}

func TestNotify(t *testing.T) {
	h := &host{answer: sdk.Response{Status: 200, Body: []byte(`{"id": "xE73Iyuabi", "event": "message"}`)}}
	got, err := notify(t, h, sdk.Notice{Title: "Port scan", Text: "192.0.2.7 tried 1000 ports.", Event: "alert.firing", Severity: sdk.SeverityCritical, URL: "https://picket.example.org/alerts/1"})
	if err != nil || got.ForeignID != "xE73Iyuabi" {
		t.Errorf("%+v, %v", got, err)
	}
	var m message
	if err := json.Unmarshal(h.asked.Body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Topic != "picket" || m.Priority != 5 || m.Title != "Port scan" || h.asked.Header["Authorization"][0] != "Bearer tk_made_up" {
		t.Errorf("asked %+v with %s", h.asked, h.asked.Body)
	}
}

func TestAnswersHaveAClass(t *testing.T) {
	for status, want := range map[int]sdk.Class{401: sdk.Downstream, 404: sdk.Downstream, 302: sdk.Downstream, 429: sdk.Temporary, 500: sdk.Temporary, 200: sdk.Downstream} {
		_, err := notify(t, &host{answer: sdk.Response{Status: status, Body: []byte("<html>")}}, sdk.Notice{Event: "test"})
		if sdk.ClassOf(err) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestTopicsAreChecked(t *testing.T) {
	for _, topic := range []string{"a/b", "a b", "ä"} {
		if (&Notifier{config: Config{Topic: topic}}).Validate() == nil {
			t.Errorf("%q was accepted", topic)
		}
	}
}

// The table in the README is made from the tags of Config, and stays so.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := config.Table(&Config{}); !strings.Contains(string(readme), table) {
		t.Errorf("README.md lacks the table\n%s", table)
	}
}
