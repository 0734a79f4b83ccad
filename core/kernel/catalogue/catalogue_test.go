package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

type entries []audit.Entry

func (l *entries) Record(_ context.Context, e audit.Entry) error { *l = append(*l, e); return nil }

func TestARefusalIsWrittenDownOnceUntilItIsOver(t *testing.T) {
	var log entries
	c := New(Config{Audit: &log, Tenant: "default"})
	node := Node{Type: store.NodeAgent, ID: "a1", Name: "box"}
	say := func(state pluginhost.State, reason string) {
		c.Ran(t.Context(), node, pluginhost.Status{Instance: "picket/host", Plugin: "picket/host", State: state, Reason: reason})
	}
	say(pluginhost.Starting, "")
	say(pluginhost.Refused, "digest_mismatch")
	say(pluginhost.Refused, "digest_mismatch")
	say(pluginhost.Starting, "")
	say(pluginhost.Refused, "digest_mismatch")
	if len(log) != 1 || log[0].Actor != "agent:a1" || log[0].Outcome != audit.Refused || log[0].Action != "plugin.refused" {
		t.Fatalf("%+v", log)
	}
	say(pluginhost.Refused, "revoked") // another reason is news
	say(pluginhost.Ready, "")
	say(pluginhost.Refused, "digest_mismatch") // and so is the first one after it had been well
	say(pluginhost.Quarantined, "crashed 3 times")
	if len(log) != 4 || log[3].Outcome != audit.Failed {
		t.Fatalf("%+v", log)
	}
}

func TestPickRuntime(t *testing.T) {
	release := func(platform string, runtimes ...string) *registry.Descriptor {
		d := &registry.Descriptor{Manifest: registry.Manifest{ID: "a/b", Version: "1.0.0", Runtimes: runtimes}}
		if platform != "" {
			os, arch, _ := strings.Cut(platform, "/")
			d.Artifacts = []registry.Artifact{{Runtime: "process", OS: os, Arch: arch}}
		}
		return d
	}
	here := runtime.GOOS + "/" + runtime.GOARCH
	cases := []struct {
		name   string
		d      *registry.Descriptor
		wanted string
		server bool
		want   string
		bad    bool
	}{
		{"native where it can be", release(here, "process", "wasm"), "", true, "process", false},
		{"a guest where it cannot", release("plan9/mips", "process", "wasm"), "", true, "wasm", false},
		{"native on an agent", release("plan9/mips", "process", "wasm"), "", false, "process", false},
		{"what there is", release("plan9/mips", "process"), "", true, "process", false},
		{"guest only", release("", "wasm"), "", true, "wasm", false},
		{"as asked", release(here, "process", "wasm"), "wasm", true, "wasm", false},
		{"not what there is not", release(here, "process"), "wasm", true, "wasm", true},
	}
	for _, c := range cases {
		var bad InvalidError
		if got := pickRuntime(c.d, c.wanted, c.server, &bad); got != c.want || (len(bad.Fields) > 0) != c.bad {
			t.Errorf("%s: %q, %v", c.name, got, bad.Fields)
		}
	}
}

const mailSchema = `{"type":"object","additionalProperties":false,"required":["host"],"properties":{
	"host":{"type":"string"},
	"auth":{"type":"object","additionalProperties":false,"properties":{
		"user":{"type":"string"},"password":{"type":"string","minLength":4,"x-secret":true}}},
	"tries":{"type":"integer","default":3}}}`

func TestSecretsStayApart(t *testing.T) {
	old := &store.Assignment{Secrets: map[string]string{"auth.password": "old secret", "gone": "x"}}
	cases := []struct {
		name    string
		wish    Wish
		secrets map[string]string
		bad     []string
	}{
		{"kept", Wish{Config: json.RawMessage(`{"host":"h"}`)}, map[string]string{"auth.password": "old secret"}, nil},
		{"changed", Wish{Config: json.RawMessage(`{"host":"h"}`), Secrets: map[string]string{"auth.password": "new secret"}}, map[string]string{"auth.password": "new secret"}, nil},
		{"removed", Wish{Config: json.RawMessage(`{"host":"h"}`), Secrets: map[string]string{"auth.password": ""}}, map[string]string{}, nil},
		{"too short", Wish{Config: json.RawMessage(`{"host":"h"}`), Secrets: map[string]string{"auth.password": "abc"}}, nil, []string{"body.config.auth.password"}},
		{"in the open", Wish{Config: json.RawMessage(`{"host":"h","auth":{"password":"hunter2"}}`)}, nil, []string{"body.config.auth.password"}},
		{"not an object", Wish{Config: json.RawMessage(`[1]`)}, nil, []string{"body.config"}},
		{"missing", Wish{}, nil, []string{"body.config"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var bad InvalidError
			cfg, secrets := checkConfig(json.RawMessage(mailSchema), c.wish, old, &bad)
			var where []string
			for _, f := range bad.Fields {
				where = append(where, f.Location)
				for _, s := range []string{"hunter2", "abc", "old secret"} {
					if strings.Contains(f.Message, s) {
						t.Errorf("a secret in a message: %q", f.Message)
					}
				}
			}
			if !slices.Equal(where, c.bad) {
				t.Fatalf("wrong at %v, want %v (%v)", where, c.bad, bad.Error())
			}
			if c.bad != nil {
				return
			}
			if len(secrets) != len(c.secrets) || secrets["auth.password"] != c.secrets["auth.password"] {
				t.Errorf("secrets %v", secrets)
			}
			if strings.Contains(string(cfg), "secret") {
				t.Errorf("configuration %s", cfg)
			}
		})
	}
}

func TestASchemaFetchesNothing(t *testing.T) {
	var bad InvalidError
	checkConfig(json.RawMessage(`{"$ref":"http://127.0.0.1:9/evil.json"}`), Wish{}, nil, &bad)
	if len(bad.Fields) != 1 || !strings.Contains(bad.Error(), "damaged") {
		t.Errorf("%v", bad.Fields)
	}
}

func TestPickGrants(t *testing.T) {
	asked := []sdk.Permission{{Cap: "net.dial", Reason: "Posts."}, {Cap: "secret.read", Reason: "Signs.", Optional: true}}
	cases := []struct {
		wish    Wish
		granted int
		bad     int
	}{
		{Wish{GrantAll: true}, 2, 0}, {Wish{Grants: []string{"net.dial"}}, 1, 0}, {Wish{}, 0, 1},
		{Wish{Grants: []string{"secret.read"}}, 1, 1}, {Wish{Grants: []string{"net.dial", "exec"}}, 1, 1},
	}
	for _, c := range cases {
		var bad InvalidError
		if got := pickGrants(asked, c.wish, &bad); len(got) != c.granted || len(bad.Fields) != c.bad {
			t.Errorf("%+v: %v, %v", c.wish, got, bad.Fields)
		}
	}
}

// What a plugin was kept from is written down once, under the name of who keeps it, whatever a node repeats.
func TestWhatAPluginWasKeptFromIsWrittenDown(t *testing.T) {
	at := time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)
	st := pluginhost.Status{Instance: "a/b", Plugin: "a/b", State: pluginhost.Ready, Incidents: []pluginhost.Incident{
		{Time: at, Kind: pluginhost.IncidentPermission, Text: "net.dial 10.0.0.1:22: not granted"},
		{Time: at, Kind: pluginhost.IncidentKilled, Text: "its process was ended: it used 300 MiB of memory, its limit is 256 MiB"},
		{Time: at, Kind: pluginhost.IncidentLimit, Text: "records_per_second: it emits more than 10 records a second"},
		{Time: at, Kind: "joke", Text: "unknown kinds are left out"},
	}}
	for name, c := range map[string]struct {
		node  Node
		actor string
	}{"server": {ServerNode, "system"}, "agent": {Node{Type: store.NodeAgent, ID: "7", Name: "box"}, "agent:7"}} {
		t.Run(name, func(t *testing.T) {
			var log entries
			cat := New(Config{Audit: &log, Tenant: "default"})
			cat.Ran(t.Context(), c.node, st)
			cat.Ran(t.Context(), c.node, st)
			var got []string
			for _, e := range log {
				if e.Actor != c.actor || e.Object != "plugin:a/b" || e.Outcome != audit.Refused {
					t.Errorf("%+v", e)
				}
				got = append(got, e.Action+" "+e.Detail)
			}
			want := []string{
				"plugin.permission a/b on " + c.node.Name + ": net.dial 10.0.0.1:22: not granted",
				"plugin.killed a/b on " + c.node.Name + ": its process was ended: it used 300 MiB of memory, its limit is 256 MiB",
				"plugin.limit a/b on " + c.node.Name + ": records_per_second: it emits more than 10 records a second",
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAnAgentCannotFloodTheAuditLog(t *testing.T) {
	var log entries
	st := pluginhost.Status{Instance: "a/b", Plugin: "a/b", State: pluginhost.Ready}
	for i := range 1000 {
		st.Incidents = append(st.Incidents, pluginhost.Incident{Kind: pluginhost.IncidentLimit, Text: fmt.Sprint(i)})
	}
	New(Config{Audit: &log}).Ran(t.Context(), Node{Type: store.NodeAgent, ID: "7"}, st)
	if len(log) != maxIncidents {
		t.Errorf("%d lines", len(log))
	}
}
