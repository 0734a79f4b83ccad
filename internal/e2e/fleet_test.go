package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fleetSite is one public and one private registry, each behind a picketd of its own, and three agents of the public one,
// every one on a machine of its own.
type fleetSite struct {
	*site
	public, private *shop
	agents          []*machine
	browser         *browser // nil until pages was called
}

func newFleetSite(t *testing.T) *fleetSite {
	t.Helper()
	s := newSite(t)
	f := &fleetSite{site: s, public: s.shop("pub", "10.77.9.1"), private: s.shop("priv", "10.77.9.2")}
	f.private.claim("corp")
	policy := "apiVersion: picket/v1\nregistries:\n  - {name: corp, url: \"" + f.private.url() + "/registry/\", root: \"sha256:" + f.private.root + "\", namespaces: [corp]}\n"
	f.public.file("data/policy.yaml", policy)
	f.private.serve()
	f.public.serve()
	for i, name := range []string{"one", "two", "three"} {
		var made struct{ Token string }
		if err := json.Unmarshal([]byte(f.public.curl("/api/v1/agents/tokens", `{"name":"`+name+`"}`)), &made); err != nil {
			t.Fatal(err)
		}
		m := s.machine(name, fmt.Sprintf("10.77.9.%d", 11+i))
		text := policy
		if name == "one" {
			text += "override: allow\n"
		}
		m.file("data/policy.yaml", text)
		m.start("picket-agent", "--server", f.public.url(), "--insecure-http", "--data", filepath.Join(m.dir, "data"), "--token-file", m.file("token", made.Token))
		f.agents = append(f.agents, m)
	}
	waitFor(t, "three agents", func() bool {
		var list struct{ Nodes []struct{ Type string } }
		f.public.must(&list, "list")
		return len(list.Nodes) == 4
	})
	return f
}

// series counts the agents of which there are samples of a metric.
func (f *fleetSite) series(metric string) int {
	f.t.Helper()
	q := url.Values{"metric": {metric}, "from": {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}, "to": {time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}, "step": {"1m"}}
	var got series
	if err := json.Unmarshal([]byte(f.public.curl("/api/v1/series?"+q.Encode(), "")), &got); err != nil {
		f.t.Fatal(err)
	}
	return len(got.Series)
}

// A release from its author to three machines and back, on machines of their own: by the command line, through the pages,
// with the server killed on the way, and with nobody asking.
func TestFollowARelease(t *testing.T) {
	began := time.Now()
	f := newFleetSite(t)
	t.Logf("two registries and three agents after %.0f s", time.Since(began).Seconds())
	for _, way := range []struct {
		name string
		work func()
	}{
		{"by the command line", f.byCommandLine},
		{"through the pages", f.throughThePages},
		{"with the server killed", f.withTheServerKilled},
		{"by policy", f.byPolicy},
	} {
		f.test(way.name, way.work)
	}
}

// Publish, find, install with grants, data flows, a canary update, one that fails and goes back, a revocation that stops it
// everywhere, and an override that one machine's owner allows.
func (f *fleetSite) byCommandLine() {
	t, public := f.t, f.public
	steady, pulse := public.source("collector", "picket/steady"), f.private.source("collector", "corp/pulse")
	steady.publish("1.0.0")
	pulse.publish("1.0.0")

	// Find: both registries are in one market.
	waitFor(t, "both registries in one market", func() bool {
		var found struct {
			Items []struct{ ID, Registry string }
		}
		public.must(&found, "search")
		got := fmt.Sprint(found.Items)
		return strings.Contains(got, "{corp/pulse corp}") && strings.Contains(got, "{picket/steady own}")
	})

	// Install: data flows from every agent.
	public.must(nil, "install", "picket/steady", "--grant", "all", "--interval", "1s", "--yes")
	public.must(nil, "install", "corp/pulse", "--grant", "all", "--interval", "1s", "--yes")
	public.all("corp/pulse", "1.0.0 ready")
	public.all("picket/steady", "1.0.0 ready")
	waitFor(t, "samples of three agents", func() bool { return f.series("corp.pulse") == 3 })

	// A good update: one agent first, then all.
	pulse.publish("1.1.0")
	var begun toldRollout
	public.must(&begun, "rollout", "start", "corp/pulse@1.1.0", "--canary", "30", "--soak", "3s")
	if begun.State != "canary" {
		t.Fatalf("%+v", begun)
	}
	public.rollout(begun.ID, "done")
	public.all("corp/pulse", "1.1.0 ready")

	// One that dies at work: it reaches one agent, and goes back there by itself.
	pulse.breaks()
	pulse.publish("1.2.0")
	public.must(&begun, "rollout", "start", "corp/pulse@1.2.0", "--canary", "30", "--soak", "1h")
	ended := public.rollout(begun.ID, "rolled back")
	t.Logf("the broken version: %s", ended.Reason)
	changed := 0
	for _, n := range ended.Nodes {
		if n.State != "waiting" {
			changed++
		}
	}
	if changed != 1 || ended.Reason == "" {
		t.Errorf("it reached %d agents: %+v", changed, ended)
	}
	public.all("corp/pulse", "1.1.0 ready")
	if log := public.curl("/api/v1/audit?action=rollout.halted", ""); !strings.Contains(log, begun.ID) {
		t.Errorf("the audit log does not say that it was halted: %s", log)
	}

	// Revoked: it stops everywhere, within what docs promise.
	revoked := time.Now()
	f.private.revoke("corp/pulse", "It tells secrets.")
	public.all("corp/pulse", "1.1.0 revoked")
	t.Logf("revoked everywhere after %s; asked every 10s", time.Since(revoked).Round(100*time.Millisecond))
	public.all("picket/steady", "1.0.0 ready")

	// An administrator lets it run on; one machine's owner allows that, the others do not.
	public.must(nil, "override", "corp/pulse@1.1.0", "--reason", "The line stands still without it until Monday.")
	waitFor(t, "it to run on where that is allowed", func() bool { return public.running("corp/pulse")["one"] == "1.1.0 ready" })
	for _, name := range []string{"two", "three"} {
		if got := public.running("corp/pulse")[name]; got != "1.1.0 revoked" {
			t.Errorf("on %s, whose owner allows no override, it is %s", name, got)
		}
	}
	public.must(nil, "override", "--end", "corp/pulse@1.1.0")
	public.all("corp/pulse", "1.1.0 revoked")
	if log := public.curl("/api/v1/audit?action=plugin.override-revocation", ""); !strings.Contains(log, "until Monday") {
		t.Errorf("the audit log does not hold the reason: %s", log)
	}
}
