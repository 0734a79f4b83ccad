package e2e

import (
	"strings"
	"time"
)

var machines = []string{"one", "two", "three"}

// pages opens the pages of both servers. The first to come sets each up by its one-time link.
func (f *fleetSite) pages() *browser {
	f.t.Helper()
	if f.browser != nil {
		return f.browser
	}
	b := f.public.browser()
	for _, x := range []*shop{f.public, f.private} {
		var setUp string
		waitFor(f.t, "the link of "+x.ns, func() bool {
			setUp = link.FindString(x.server.output())
			return setUp != ""
		})
		b.do(x.url(), "setUp", step{"link": setUp})
	}
	f.browser = b
	return b
}

// The same through the pages: an author publishes at one server; at the other somebody finds the release, judges it by
// its card, installs it with its grants, sees what it brings, rolls a bad version out and a good one, and sees it revoked.
func (f *fleetSite) throughThePages() {
	t, b, public, private := f.t, f.pages(), f.public.url(), f.private.url()
	tide := f.private.source("collector", "corp/tide")
	publish := func(version string) {
		t.Helper()
		b.do(private, "publish", step{"file": tide.pack(version), "version": version})
	}
	publish("1.0.0")
	b.do(public, "find", step{"name": "Tide", "version": "1.0.0", "reason": "It tells how busy the machine is."})
	b.do(public, "install", step{"version": "1.0.0"})
	b.do(public, "data", step{"plugin": "corp/tide", "machines": machines})
	if n := f.series("corp.tide"); n != 3 {
		t.Errorf("samples of %d agents", n)
	}

	b.do(public, "fleet", nil)
	tide.breaks()
	publish("1.1.0")
	b.do(public, "rollOut", step{"name": "Tide", "version": "1.1.0", "soak": "1h"})
	b.do(public, "rollout", step{"name": "Tide", "version": "1.1.0", "state": "Rolled back", "reason": "it went back by itself: .*tested on Friday", "touched": 1})
	b.do(public, "runs", step{"name": "Tide", "version": "1.0.0", "nodes": 3})

	tide.mends()
	publish("1.1.1")
	b.do(public, "rollOut", step{"name": "Tide", "version": "1.1.1", "soak": "3s"})
	b.do(public, "rollout", step{"name": "Tide", "version": "1.1.1", "state": "Done"})
	b.do(public, "runs", step{"name": "Tide", "version": "1.1.1", "nodes": 3})
	f.public.all("corp/tide", "1.1.1 ready")

	revoked := time.Now()
	f.private.revoke("corp/tide", "It counts the fishes.")
	b.do(public, "runs", step{"name": "Tide", "version": "1.1.1", "nodes": 3, "state": "Revoked"})
	t.Logf("revoked, and seen to have stopped on three machines, after %.1f s", time.Since(revoked).Seconds())
	b.do(public, "revoked", step{"plugin": "corp/tide", "reason": "It counts the fishes", "machines": machines})
	for _, m := range f.agents {
		if n := m.processes("tide"); n != 0 {
			t.Errorf("%d processes of it are left on %s", n, m.ns)
		}
	}
	if log := f.public.curl("/api/v1/audit?action=plugin.install", ""); !strings.Contains(log, "user:ada") {
		t.Errorf("the audit log does not say who installed it: %s", log)
	}
}

// The server dies in the middle of a rollout. Started again it goes on, or goes back, as it would have; every machine runs
// the one version once, and what happened can be read.
func (f *fleetSite) withTheServerKilled() {
	t, b, public := f.t, f.pages(), f.public.url()
	reef := f.private.source("collector", "corp/reef")
	restart := func() {
		t.Helper()
		f.public.server.kill9()
		b.do(public, "away", nil)
		f.public.serve()
		b.do(public, "back", nil)
	}
	whole := func(version string) {
		t.Helper()
		f.public.all("corp/reef", version+" ready")
		for _, m := range f.agents {
			waitFor(t, "one process of it on "+m.ns, func() bool { return m.processes("reef") == 1 })
		}
		b.do(public, "runs", step{"name": "Reef", "version": version, "nodes": 3})
	}
	reef.publish("1.0.0")
	f.public.must(nil, "install", "corp/reef", "--grant", "all", "--interval", "1s", "--yes")
	b.do(public, "fleet", nil)
	whole("1.0.0")

	// The first machine has the new version, or is about to.
	reef.publish("1.1.0")
	b.do(public, "rollOut", step{"name": "Reef", "version": "1.1.0", "soak": "3s"})
	restart()
	b.do(public, "rollout", step{"name": "Reef", "version": "1.1.0", "state": "Done"})
	whole("1.1.0")

	// The first machine is told to run what dies at work; then it is being brought back.
	reef.breaks()
	for _, c := range [][2]string{{"1.2.0", "canary"}, {"1.3.0", "halted"}} {
		version, killedAt := c[0], c[1]
		reef.publish(version)
		var begun toldRollout
		f.public.must(&begun, "rollout", "start", "corp/reef@"+version, "--canary", "30", "--soak", "1h")
		if killedAt != "canary" {
			begun = f.public.rollout(begun.ID, killedAt, "rolled back")
		}
		t.Logf("killed while the rollout of %s was %s", version, begun.State)
		restart()
		ended := f.public.rollout(begun.ID, "rolled back")
		if !strings.Contains(ended.Reason, "tested on Friday") {
			t.Errorf("%s went back for another reason: %+v", version, ended)
		}
		b.do(public, "rollout", step{"name": "Reef", "version": version, "state": "Rolled back", "touched": 1})
		whole("1.1.0")
		for _, action := range []string{"rollout.create", "rollout.halted", "rollout.rolled-back"} {
			if log := f.public.curl("/api/v1/audit?action="+action, ""); !strings.Contains(log, begun.ID) {
				t.Errorf("the audit log has no %s of %s: %s", action, version, log)
			}
		}
	}
}

// Nobody asks: a repair that is out is taken by the server and by the machines, a few of them first. One that asks for
// more than was granted waits for somebody, and the page says so.
func (f *fleetSite) byPolicy() {
	t, b, public := f.t, f.pages(), f.public.url()
	swell, odd := f.private.source("collector", "corp/swell"), f.private.source("detector", "corp/odd")
	release := func(version string) {
		t.Helper()
		swell.publish(version)
		odd.publish(version)
	}
	release("1.0.0")
	f.public.must(nil, "install", "corp/swell", "--grant", "all", "--interval", "1s", "--yes")
	f.public.must(nil, "install", "corp/odd", "--grant", "all", "--yes")
	f.public.all("corp/swell", "1.0.0 ready")
	b.do(public, "fleet", nil)
	b.do(public, "policy", step{"name": "Swell"})
	b.do(public, "policy", step{"name": "Odd"})

	release("1.0.1")
	out := time.Now()
	b.do(public, "rollout", step{"name": "Swell", "version": "1.0.1", "state": "First machines", "reason": "system:auto-update"})
	b.do(public, "runs", step{"name": "Odd", "version": "1.0.1", "nodes": 1})
	t.Logf("taken on the server, and begun on the machines, %.1f s after it was out", time.Since(out).Seconds())
	b.do(public, "decide", step{"name": "Swell", "what": "Do not wait"}) // for the hour that policies take
	b.do(public, "rollout", step{"name": "Swell", "version": "1.0.1", "state": "Done"})
	b.do(public, "runs", step{"name": "Swell", "version": "1.0.1", "nodes": 3})

	swell.asks()
	odd.asks()
	release("1.0.2")
	b.do(public, "rollout", step{"name": "Swell", "version": "1.0.2", "state": "Waits for you", "reason": `asks for more than was granted: fs\.read`})
	b.do(public, "waits", step{"name": "Odd", "reason": `1\.0\.2 asks for more than was granted: fs\.read`})
	f.public.all("corp/swell", "1.0.1 ready")
	b.do(public, "runs", step{"name": "Odd", "version": "1.0.1", "nodes": 1})

	b.do(public, "decide", step{"name": "Swell", "what": "Go on"})
	b.do(public, "decide", step{"name": "Swell", "what": "Do not wait"})
	b.do(public, "rollout", step{"name": "Swell", "version": "1.0.2", "state": "Done"})
	b.do(public, "runs", step{"name": "Swell", "version": "1.0.2", "nodes": 3})
	for _, action := range []string{"plugin.upgrade", "rollout.create"} {
		if log := f.public.curl("/api/v1/audit?action="+action, ""); !strings.Contains(log, "system:auto-update") {
			t.Errorf("the audit log has no %s by policy: %s", action, log)
		}
	}
}
