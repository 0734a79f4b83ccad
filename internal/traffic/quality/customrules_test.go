package quality

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/custom"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

var worked = regexp.MustCompile("(?s)<!-- example: (\\S+) -->\n```yaml\n(.*?)```.*?<!-- finds -->\n```\n(.*?)```")

// The examples of docs/custom-rules.md find what stands under them, and nothing else.
func TestCustomRulesPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/custom-rules.md")
	if err != nil {
		t.Fatal(err)
	}
	list := worked.FindAllStringSubmatch(string(page), -1)
	if len(list) != 3 {
		t.Fatalf("%d examples", len(list))
	}
	for _, x := range list {
		p := custom.Plugin()
		p.New = func() sdk.Instance { return ruled{&custom.Detector{}, x[2]} }
		last := map[string]string{}
		for _, f := range shown(t, "../../../"+x[1], []sdk.Plugin{p}) {
			last[f.Rule+" "+f.ID+" "+f.Src+" "+f.Dst] = fmt.Sprintf("%s %s %s\n", f.Rule, f.Severity, f.Summary)
		}
		var got strings.Builder
		for _, line := range last {
			got.WriteString(line)
		}
		if got.String() != x[3] {
			t.Errorf("%s\nfinds\n%s\nwant\n%s", x[2], &got, x[3])
		}
	}
}

// ruled is the detector with rules, where others are begun with their defaults.
type ruled struct {
	*custom.Detector
	rules string
}

func (ruled) Config() any { return &struct{}{} }

func (r ruled) Start(ctx context.Context, h sdk.Host) error {
	cfg, err := json.Marshal(map[string]any{"rules": r.rules, "kinds": sdk.PlainFacts, "strict": true})
	if err != nil {
		return err
	}
	if err := config.Decode(cfg, r.Detector.Config()); err != nil {
		return err
	}
	return r.Detector.Start(ctx, h)
}
