package store

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestContactsAreWrittenTogetherAndOutliveAnOrderlyStop(t *testing.T) {
	now := &clock{t: start}
	p := testPlace(t)
	c := openAt(t, p, now.Now)
	enrol(t, c, "a1")
	status := json.RawMessage(`{"plugins":["` + strings.Repeat("picket/host ", 500) + `"]}`)
	must(t, c.TouchAgent(t.Context(), "a1", "192.0.2.9", start.Add(time.Minute)))
	must(t, c.SetAgentStatus(t.Context(), "a1", "9.9", status, start.Add(time.Minute)))
	check := func(when string) {
		t.Helper()
		list, _, err := c.ListAgents(t.Context(), "default", Page{})
		must(t, err)
		one, err := c.AgentByID(t.Context(), "a1")
		must(t, err)
		for _, a := range []Agent{list[0], one} {
			if a.Address != "192.0.2.9" || a.Version != "9.9" || !a.LastSeen.Equal(start.Add(time.Minute)) || string(a.Status) != string(status) {
				t.Errorf("%s: %+v", when, a)
			}
		}
		if all, heard, err := c.CountAgents(t.Context(), "default", start.Add(time.Minute)); err != nil || all != 1 || heard != 1 {
			t.Errorf("%s: %d agents, %d heard, %v", when, all, heard, err)
		}
		if all, _, _ := c.CountAgents(t.Context(), "other", start); all != 0 {
			t.Errorf("%s: another tenant counts %d", when, all)
		}
	}
	check("in memory")
	must(t, c.FlushContacts(t.Context()))
	check("written")
	must(t, c.Close())
	c = openAt(t, p, now.Now)
	check("after a restart")
	must(t, c.SetAgentStatus(t.Context(), "a1", "10", json.RawMessage(`{}`), start.Add(2*time.Minute)))
	must(t, c.DeleteAgent(t.Context(), "default", "a1"))
	must(t, c.FlushContacts(t.Context()))
	if err := c.TouchAgent(t.Context(), "a1", "x", start); !errors.Is(err, ErrNotFound) {
		t.Errorf("of an agent that is gone: %v", err)
	}
	if _, err := c.KnownAgent(t.Context(), "a1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is known yet: %v", err)
	}
}

// What is held of agents must never be older than what was changed, whoever changes it.
func TestKnownAgentsAreForgottenWhenTheyChange(t *testing.T) {
	c, _ := openControl(t)
	enrol(t, c, "a1")
	known := func() Agent {
		t.Helper()
		a, err := c.KnownAgent(t.Context(), "a1")
		must(t, err)
		return a
	}
	version := known().ConfigVersion
	must(t, c.SetAgentDisabled(t.Context(), "default", "a1", true))
	if !known().Disabled {
		t.Error("it is let in after it was disabled")
	}
	must(t, c.SetAgentGroup(t.Context(), "default", "a1", "lab"))
	if a := known(); a.Group != "lab" || a.ConfigVersion != version+1 {
		t.Errorf("after a change of its group: %+v", a)
	}
	must(t, c.PutAssignment(t.Context(), Assignment{Instance: "host", Tenant: "default", Plugin: "picket/host", NodeType: NodeAgents, Enabled: true}))
	if a := known(); a.ConfigVersion != version+2 {
		t.Errorf("after an assignment to all: %+v", a)
	}
	must(t, c.TouchAgent(t.Context(), "a1", "192.0.2.1", start.Add(time.Hour)))
	changes := c.contacts.changes.Load()
	must(t, c.FlushContacts(t.Context()))
	if c.contacts.changes.Load() != changes {
		t.Error("writing what is in memory forgets everybody")
	}
	if a := known(); !a.LastSeen.Equal(start.Add(time.Hour)) || a.Status != nil {
		t.Errorf("%+v", a)
	}
}

func TestContactsMayComeWhileTheyAreWritten(t *testing.T) {
	c, _ := openControl(t)
	enrol(t, c, "a1")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				if i == 0 {
					must(t, c.FlushContacts(t.Context()))
				}
				must(t, c.SetAgentStatus(t.Context(), "a1", "1", json.RawMessage(`{"n":1}`), start.Add(time.Duration(n)*time.Second)))
				if a, err := c.AgentByID(t.Context(), "a1"); err != nil || string(a.Status) != `{"n":1}` {
					t.Errorf("%+v %v", a, err)
				}
			}
		})
	}
	wg.Wait()
}
