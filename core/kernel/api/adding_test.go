package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
)

func TestHowFarANewMachineIs(t *testing.T) {
	w := newWorld(t)
	w.cfg.Shelf = newShelf(t, "archive for ")
	var made enrolmentTokenBody
	out := w.request(adm, "POST", "/api/v1/agents/tokens", `{"name":"box"}`)
	check(t, json.Unmarshal(out.Body.Bytes(), &made))
	progress := func() (p progressBody) {
		t.Helper()
		p = progressBody{}
		w.get("/api/v1/agents/tokens/"+made.ID+"/progress", &p)
		return p
	}
	is := func(state, seen string, machines int) {
		t.Helper()
		p := progress()
		var what []string
		for _, s := range p.Seen {
			what = append(what, s.What)
		}
		if p.State != state || strings.Join(what, " ") != seen || len(p.Machines) != machines {
			t.Errorf("%+v, want %s, seen %q, %d machines", p, state, seen, machines)
		}
	}
	is("waiting", "", 0)
	var releases struct{ Items []agentReleaseBody }
	w.get("/api/v1/agents/releases", &releases)
	file := releases.Items[0].URL[strings.Index(releases.Items[0].URL, "/install/"):]
	w.request("", "HEAD", file, "")
	if out := w.request("", "GET", file, ""); out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	is("waiting", "fetched", 0)
	if out := w.request("", "POST", "/api/v1/enrol", `{"token":"guess","name":"box","public_key":"`+strings.Repeat("A", 43)+`=","os":"linux","arch":"amd64","version":"1"}`); out.Code == 200 {
		t.Fatal("a guess is let in")
	}
	is("waiting", "token fetched", 0)
	a := w.enrolWith(made.Token, "box")
	is("enrolled", "token fetched", 1)
	late := httptest.NewRequest("POST", "/api/v1/metrics", bytes.NewReader([]byte(samples(1, 1))))
	late.Header.Set("Authorization", "Bearer "+a.bearer)
	late.Header.Set("Content-Type", "application/json")
	check(t, signing.SignRequest(late, []byte(samples(1, 1)), a.key, a.id, time.Now().Add(-time.Hour)))
	if out := w.send(late); out.Code != 401 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	is("enrolled", "clock token fetched", 1)
	if out := a.call("POST", "/api/v1/metrics", samples(1, 1)); out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	is("measuring", "", 1)
	if m := progress().Machines[0]; m.ID != a.id || m.Series == 0 || m.State != "online" {
		t.Errorf("%+v", m)
	}
	w.play([]scenario{{"another's token", adm, "GET", "/api/v1/agents/tokens/none/progress", "", 404, nil, nil}})
	w.cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	out = w.request(adm, "POST", "/api/v1/agents/tokens", `{}`)
	check(t, json.Unmarshal(out.Body.Bytes(), &made))
	is("ended", "", 0)
}

// Who fetches the agent has no name yet, so that it may be another tenant's machine.
func TestATenantIsNotToldWhoFetchedTheAgent(t *testing.T) {
	w := newWorld(t)
	tenant := w.newTenant("acme")
	at := time.Now()
	w.visits.add("fetched", "192.0.2.1", at)
	for who, want := range map[string]int{store.DefaultTenant: 1, tenant: 0} {
		if seen, err := w.inTheWay(t.Context(), who, at, nil); err != nil || len(seen) != want {
			t.Errorf("%s is told %+v, %v", who, seen, err)
		}
	}
}

func TestVisitsAreBounded(t *testing.T) {
	var v visits
	at := time.Now()
	for i := range 3 * keptVisits {
		v.add("fetched", fmt.Sprint(i), at.Add(time.Duration(i)*time.Second))
	}
	if got := v.since(at); len(got) != keptVisits || got[0].Address != fmt.Sprint(3*keptVisits-1) {
		t.Errorf("%d visits, the newest %+v", len(got), got[0])
	}
	if got := v.since(at.Add(time.Hour)); len(got) != 0 {
		t.Errorf("%d visits of later", len(got))
	}
}
