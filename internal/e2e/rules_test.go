package e2e

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const ownRule = `version: 1
rules:
  - id: looks-at-scans
    title: "{src} reached {distinct} ports of {dst}"
    severity: high
    on: flows
    when: proto == tcp && dst_port < 1024
    count: {over: 10m, by: [src, dst], at_least: 20, distinct: dst_port}
    samples:
      fires: [{proto: 6, dst_port: 22}]
      silent: [{proto: 17, dst_port: 53}]
`

// From nothing to a rule that fires: what is wrong is told with its place, stored traffic shows what it would have found, and saved
// it finds that in the next capture. What it was before can be had again.
func TestACustomRuleIsWrittenOnTheServer(t *testing.T) {
	s := startDev(t)
	var v struct {
		Problems []struct {
			Line, Column int
			Text         string
		}
		Rules []struct{ ID, On string }
		Found *struct {
			Records    uint64
			Recordings int
			Stopped    string
			Rules      []struct {
				Rule     string
				Findings int
				Examples []struct {
					Capture string
					Finding struct{ Summary string }
				}
			}
		}
	}
	attempt := func(text string, hours int) {
		t.Helper()
		v.Problems, v.Rules, v.Found = nil, nil, nil
		s.call(t, http.MethodPost, "/api/v1/rules/try", map[string]any{"rules": text, "hours": hours}, &v)
	}
	attempt(strings.Replace(ownRule, "dst_port <", "dst_prot <", 1), 0)
	if len(v.Problems) != 1 || v.Problems[0].Line != 7 || !strings.Contains(v.Problems[0].Text, "did you mean dst_port?") {
		t.Fatalf("problems %+v", v.Problems)
	}
	attempt(strings.Replace(ownRule, "proto: 17", "proto: 6", 1), 0)
	if len(v.Problems) != 1 || !strings.Contains(v.Problems[0].Text, "sample 1 of silent is found") {
		t.Fatalf("problems %+v", v.Problems)
	}

	scan := filepath.Join(repoRoot(t), "plugins/detectors/portscan/testdata/syn-scan/input.pcap")
	if _, err := os.Stat(scan); err != nil {
		t.Fatal(err)
	}
	s.captureDone(t, s.upload(t, scan).ID)
	attempt(ownRule, 24)
	if v.Found == nil || v.Found.Stopped != "" || len(v.Found.Rules) != 1 || v.Found.Rules[0].Findings == 0 {
		t.Fatalf("would have found %+v; problems %+v", v.Found, v.Problems)
	}
	t.Logf("%d records of %d recordings: %s", v.Found.Records, v.Found.Recordings, v.Found.Rules[0].Examples[0].Finding.Summary)

	save := func(text string, base int) (int, []byte) {
		return s.try(t, http.MethodPut, "/api/v1/rules", map[string]any{"rules": text, "base": base})
	}
	if status, text := save(strings.Replace(ownRule, "dst_port <", "dst_prot <", 1), 0); status != http.StatusUnprocessableEntity || !strings.Contains(string(text), "7:") {
		t.Fatalf("a wrong rule: %d %s", status, text)
	}
	if status, text := save(ownRule, 0); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	s.ready(t, "picket/custom-rules")
	again := s.upload(t, scan)
	s.captureDone(t, again.ID)
	waitFor(t, "its alert", func() bool {
		return len(s.alerts(t, "capture="+again.ID+"&detector="+url.QueryEscape("picket/custom-rules"))) > 0
	})

	var books struct {
		Items []struct {
			Node, Rules string
			Version     int
			Runs        []struct{ State string }
		}
		Hits []struct {
			Rule     string
			Findings int
		}
	}
	s.get(t, "/api/v1/rules", &books)
	if len(books.Items) != 1 || books.Items[0].Rules != ownRule || books.Items[0].Runs[0].State != "ready" || len(books.Hits) != 1 || books.Hits[0].Rule != "own/looks-at-scans" {
		t.Fatalf("%+v", books)
	}
	if status, text := save(strings.Replace(ownRule, "severity: high", "enabled: false", 1), books.Items[0].Version); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if status, _ := save(ownRule, books.Items[0].Version); status != http.StatusConflict {
		t.Errorf("made from an older one: %d", status)
	}
	var versions struct{ Items []struct{ Rules string } }
	s.get(t, "/api/v1/rules/versions?instance=picket/custom-rules", &versions)
	if len(versions.Items) != 2 || versions.Items[1].Rules != ownRule {
		t.Errorf("versions %+v", versions)
	}
	if log := s.audit(t); !strings.Contains(log, "rules.save") {
		t.Errorf("the audit log has no word of it:\n%s", log)
	}
}
