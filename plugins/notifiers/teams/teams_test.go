package teams

import (
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/teams") }

func TestConformance(t *testing.T) {
	s := plugintest.NewService(t, 202, nil, "")
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, configure(s.URL)))})
}

func configure(url string) map[string]any {
	return map[string]any{"server": url, "webhook": url + "/workflows/1?sig=hidden", "timeout": "5s"}
}

func instance() sdk.Instance { return Plugin().New() }

// What is sent is what the service documents, and what it answers becomes the receipt.
func TestNotices(t *testing.T) {
	resolved, bare := plugintest.Notice(), sdk.Notice{ID: "n-2", Event: "test", Severity: sdk.SeverityInfo, Title: "Test"}
	resolved.Event = tell.Resolved
	for name, n := range map[string]sdk.Notice{"firing": plugintest.Notice(), "resolved": resolved, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			posted, receipt, err := plugintest.Posts(t, instance(), configure, 202, nil, "", n)
			if err != nil || receipt != (sdk.Receipt{}) {
				t.Fatalf("%+v, %v", receipt, err)
			}
			if posted.Method != "POST" || posted.Path != "/workflows/1?sig=hidden" || posted.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s %v", posted.Method, posted.Path, posted.Header)
			}
			plugintest.Documented(t, posted.Body)
			plugintest.Golden(t, name, posted.Body)
		})
	}
}

func TestAnswers(t *testing.T) { plugintest.Answers(t, instance, configure, "hidden") }
