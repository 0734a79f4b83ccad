package promql

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// What docs/prometheus.md says of names is so, and each of its examples has an answer.
func TestPage(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/prometheus.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	rows := regexp.MustCompile(`(?m)^\| (\S+) \| (\S*) ?\| (gauge|counter) \| (\S+) \|$`).FindAllStringSubmatch(page, -1)
	examples := regexp.MustCompile("(?s)```promql\n(.*?)\n```").FindAllStringSubmatch(page, -1)
	if len(rows) < 10 || len(examples) < 8 {
		t.Fatalf("%d names and %d examples: the page is not read as it is written", len(rows), len(examples))
	}

	telemetry := openTelemetry(t, 2026)
	now := time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)
	for n, agent := range []string{"a1", "a2", "a3"} {
		var samples []sdk.Sample
		for minute := range 15 {
			for _, row := range rows {
				s := sdk.Sample{Metric: row[1], Unit: row[2], Type: sdk.MetricType(row[3]), Time: now.Add(time.Duration(minute-14) * time.Minute), Value: float64(minute * (n + 1))}
				if strings.HasSuffix(row[1], ".bucket") {
					for i, le := range []string{"0.1", "1", "+Inf"} {
						s.Labels, s.Value = map[string]string{"le": le}, float64(minute*(i+1))
						samples = append(samples, s)
					}
					continue
				}
				samples = append(samples, s)
			}
		}
		if res, err := telemetry.Append(t.Context(), store.SampleBatch{Tenant: "t", Agent: agent, Epoch: "e", Seq: 1, Samples: samples}); err != nil || res.Stored != len(samples) {
			t.Fatal(res, err)
		}
	}
	engine := New(Config{Samples: telemetry, Agents: func(context.Context, string) ([]store.AgentName, error) {
		return []store.AgentName{{ID: "a1", Name: "one", Group: "web"}, {ID: "a2", Name: "two", Group: "web"}, {ID: "a3", Name: "three", Group: "db"}}, nil
	}})
	answers := func(expr string) string {
		a, err := engine.Query(t.Context(), "t", expr, now, Options{})
		if err != nil {
			return err.Error()
		}
		defer a.Close()
		var b strings.Builder
		if err := a.WriteJSON(&b); err != nil {
			return err.Error()
		}
		return b.String()
	}
	for _, row := range rows {
		if got := answers(row[4]); !strings.Contains(got, `"__name__":"`+row[4]+`"`) {
			t.Errorf("%s is not %s: %s", row[1], row[4], got)
		}
		if got := answers(`{"` + row[1] + `"}`); !strings.Contains(got, `"__name__":"`+row[4]+`"`) {
			t.Errorf("%s is not found by its own name: %s", row[4], got)
		}
	}
	for _, x := range examples {
		if got := answers(x[1]); !strings.Contains(got, `"value":[`) {
			t.Errorf("%s: %s", x[1], got)
		}
	}
}

func TestLabels(t *testing.T) {
	agent := &store.AgentName{ID: "a1", Name: "one", Group: "web"}
	for name, x := range map[string]struct {
		own   map[string]string
		agent *store.AgentName
		want  string
		ours  bool
	}{
		"an agent's": {map[string]string{"network.interface.name": "eth0"}, agent,
			`{__name__="m", agent_id="a1", agent_name="one", group="web", instance="one", job="picket-agent", network_interface_name="eth0"}`, false},
		"an agent cannot pass for another": {map[string]string{"agent_id": "a2", "agent.name": "two", "group": "db", "__name__": "x"}, agent,
			`{__name__="m", agent_id="a1", agent_name="one", exported_agent_id="a2", exported_agent_name="two", exported_group="db", group="web", instance="one", job="picket-agent"}`, false},
		"a service": {map[string]string{"service.name": "shop", "service.namespace": "eu", "service.instance.id": "7"}, nil, `{__name__="m", instance="7", job="eu/shop"}`, false},
		"pushed": {map[string]string{"job": "node", "instance": "h:9100", "agent_id": "a1", "agent.name": "one", "group": "db", "empty": ""}, nil,
			`{__name__="m", exported_agent_id="a1", exported_agent_name="one", group="db", instance="h:9100", job="node"}`, false},
		"the server itself":      {map[string]string{"agent_id": "a1"}, nil, `{__name__="m", agent_id="a1"}`, true},
		"two labels of one name": {map[string]string{"a.b": "2", "a_b": "1", "a-b": "3"}, nil, `{__name__="m", a_b="1;2;3"}`, false},
		"odd names":              {map[string]string{"1st": "x", "é": "y"}, nil, `{_="y", __name__="m", key_1st="x"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var p pairs
			p.fill("m", x.own, x.agent, x.ours)
			if got := p.labels().String(); got != x.want {
				t.Errorf("got  %s\nwant %s", got, x.want)
			}
		})
	}
}
