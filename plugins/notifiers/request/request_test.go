package request

import (
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/request") }

func TestConformance(t *testing.T) {
	s := plugintest.NewService(t, 204, nil, "")
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, configure(s.URL)))})
}

func configure(url string) map[string]any {
	return map[string]any{"url": url + "/hook?q=1", "authorization": "Bearer hidden", "timeout": "5s",
		"body": `{"text": {{json .Title}}, "urgent": {{if eq .Severity "critical"}}true{{else}}false{{end}}, "techniques": {{join "+" .Alert.Techniques | json}}, "short": {{clip 10 .Text | json}}}`}
}

func instance() sdk.Instance { return Plugin().New() }

// What is sent is what the service documents, and what it answers becomes the receipt.
func TestNotices(t *testing.T) {
	resolved, bare := plugintest.Notice(), sdk.Notice{ID: "n-2", Event: "test", Severity: sdk.SeverityInfo, Title: "Test"}
	resolved.Event = tell.Resolved
	for name, n := range map[string]sdk.Notice{"firing": plugintest.Notice(), "resolved": resolved, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			posted, receipt, err := plugintest.Posts(t, instance(), configure, 204, nil, "", n)
			if err != nil || receipt != (sdk.Receipt{}) {
				t.Fatalf("%+v, %v", receipt, err)
			}
			if posted.Method != "POST" || posted.Path != "/hook?q=1" || posted.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s %v", posted.Method, posted.Path, posted.Header)
			}
			plugintest.Golden(t, name, posted.Body)
		})
	}
}

func TestAnswers(t *testing.T) { plugintest.Answers(t, instance, configure, "hidden") }

func TestBadTemplates(t *testing.T) {
	for name, body := range map[string]string{
		"no end": "{{if}}", "unknown field": "{{.Nothing}}", "unknown function": "{{exec .Title}}",
		"too much": `{{range $i := .Alert.Techniques}}{{printf "%400000s" "x"}}{{end}}`,
	} {
		c := Config{URL: "https://a.example.org", Body: body}
		err := c.Validate()
		if err == nil {
			_, err = c.Message(plugintest.Notice())
		}
		if sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadHeaders(t *testing.T) {
	for name, value := range map[string]string{"": "a", "A B": "a", "A": "a\r\nB: c", "authorization": "x"} {
		if err := (&Config{URL: "https://a.example.org", Headers: map[string]string{name: value}}).Validate(); err == nil {
			t.Errorf("%q: %q was accepted", name, value)
		}
	}
}

// The default body is the whole notice.
func TestDefaultBody(t *testing.T) {
	c := Config{URL: "https://a.example.org", Body: "{{json .}}", ContentType: "application/json"}
	m, err := c.Message(plugintest.Notice())
	if err != nil {
		t.Fatal(err)
	}
	plugintest.Golden(t, "default", m.Body.([]byte))
}
