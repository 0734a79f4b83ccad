package api

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// withFlows records three flows in one capture.
func withFlows(t *testing.T, w *world) {
	t.Helper()
	ctx := t.Context()
	at := time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)
	flow := func(id uint64, app string) sdk.Flow {
		return sdk.Flow{ID: id, Start: at.Add(time.Duration(id) * time.Minute), End: at.Add(time.Duration(id)*time.Minute + time.Second), Src: netip.MustParseAddr("10.0.0.1"),
			Dst: netip.MustParseAddr("192.0.2.7"), SrcPort: 40000, DstPort: 443, Proto: sdk.ProtoTCP, EndReason: sdk.EndFIN, FwdPackets: id, FwdBytes: 100 * id, App: app,
			Features: &sdk.Features{LenMin: float64(id)}}
	}
	r, err := w.cfg.Flows.Record(ctx, store.DefaultTenant, "cap")
	check(t, err)
	check(t, r.Facts(ctx, sdk.FactsTLS, records.Parcel{Frame: records.AppendFacts(nil, []sdk.TLS{{Seen: sdk.Seen{Flow: 1, Time: at, Client: netip.MustParseAddr("10.0.0.1"), Proto: sdk.ProtoTCP}, Protocol: "tls", ServerName: "www.example.org"}})}))
	check(t, r.Flows(ctx, records.Parcel{Frame: records.AppendFlows(nil, []sdk.Flow{flow(1, "tls"), flow(2, "tls"), flow(3, "")})}))
	check(t, r.Close(ctx, true))
}

func TestFlows(t *testing.T) {
	w := newWorld(t)
	w.play([]scenario{
		{"no flows", adm, "GET", "/api/v1/flows", "", 200, []string{`"items":[]`}, []string{"null"}},
		{"nothing to add up", adm, "GET", "/api/v1/flows/summary", "", 200, []string{`"flows":0`, `"talkers":[]`, `"times":[]`}, []string{"null"}},
		{"no facts", adm, "GET", "/api/v1/facts?kind=dns", "", 200, []string{`"items":[]`}, nil},
		{"no export", adm, "POST", "/api/v1/flows/export", "", 404, nil, nil},
	})
	withFlows(t, w)
	w.play([]scenario{
		{"all", adm, "GET", "/api/v1/flows", "", 200, []string{`"id":3`, `"name":"www.example.org"`, `"duration":1`, `"end_reason":"fin"`}, nil},
		{"a page", adm, "GET", "/api/v1/flows?limit=1&sort=bytes", "", 200, []string{`"id":3`, `"next_cursor"`}, []string{`"id":2`}},
		{"a filter", adm, "GET", "/api/v1/flows?app=tls&host=10.0.0.0/8&proto=tcp&text=EXAMPLE&min_duration=1s&end_reason=fin,rst", "", 200, []string{`"id":1`}, []string{`"id":2`, `"id":3`}},
		{"unknown applications", adm, "GET", "/api/v1/flows?app=none", "", 200, []string{`"id":3`}, []string{`"id":2`}},
		{"an address as of IPv6", adm, "GET", "/api/v1/flows?dst=::ffff:192.0.2.7", "", 200, []string{`"id":3`}, nil},
		{"added up", adm, "GET", "/api/v1/flows/summary?app=tls", "", 200, []string{`"flows":2`, `"app":"tls"`, `"address":"192.0.2.7"`, `"port":443`, `"step_seconds"`}, nil},
		{"in detail", adm, "GET", "/api/v1/flows/cap/1", "", 200, []string{`"like":2`, `"name":"len_min","unit":"By"`, `"p50":1`, `"p95":2`, `"server_name":"www.example.org"`}, []string{"null"}},
		{"facts", adm, "GET", "/api/v1/facts?kind=tls&capture=cap&flow=1", "", 200, []string{`"server_name"`}, nil},
		{"facts of a flow of no capture", adm, "GET", "/api/v1/facts?kind=tls&flow=1", "", 422, []string{"query.flow"}, nil},
		{"facts of no kind", adm, "GET", "/api/v1/facts?kind=gossip", "", 422, nil, nil},
		{"a flow that is not there", adm, "GET", "/api/v1/flows/cap/9", "", 404, nil, nil},
		{"a capture that is not there", adm, "GET", "/api/v1/flows/nope/1", "", 404, nil, nil},
		{"a network that is none", adm, "GET", "/api/v1/flows?host=10.0.0.0/99", "", 422, []string{"query.host"}, nil},
		{"an address with a quote", adm, "GET", "/api/v1/flows?src='%20OR%201=1", "", 422, []string{"query.src"}, nil},
		{"a protocol that is none", adm, "GET", "/api/v1/flows?proto=6)%20OR%20(1=1", "", 422, []string{"query.proto"}, nil},
		{"an end that is none", adm, "GET", "/api/v1/flows?end_reason=boredom", "", 422, []string{"query.end_reason"}, nil},
		{"a time span that is none", adm, "GET", "/api/v1/flows?min_duration=long", "", 422, []string{"query.min_duration"}, nil},
		{"an order that is none", adm, "GET", "/api/v1/flows?sort=start%3BDROP", "", 422, nil, nil},
		{"a cursor that is none", adm, "GET", "/api/v1/flows?cursor=abc", "", 422, []string{"cursor"}, nil},
		{"an application with a quote", adm, "GET", "/api/v1/flows?app=x'%20OR%20''='", "", 200, []string{`"items":[]`}, nil},
		{"a text with a quote", adm, "GET", "/api/v1/flows?text='%20OR%20''='", "", 200, []string{`"items":[]`}, nil},
		{"a time backwards", adm, "GET", "/api/v1/flows?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", 422, []string{"query.from"}, nil},
		{"the public", auth.RolePUB, "GET", "/api/v1/flows", "", 403, nil, nil},
		{"nobody", "", "GET", "/api/v1/flows/cap/1", "", 401, nil, nil},
		{"as CSV", adm, "POST", "/api/v1/flows/export?format=csv&app=tls", "", 200, []string{"capture,id,start", "www.example.org"}, nil},
		{"as Parquet", auth.RoleSUP, "POST", "/api/v1/flows/export?format=parquet", "", 200, []string{"PAR1"}, nil},
		{"with features", adm, "POST", "/api/v1/flows/export?format=csv&features=true", "", 200, []string{"first_packets,fwd_packets,rev_packets", ",name,len_min"}, nil},
		{"as JSON", adm, "POST", "/api/v1/flows/export?format=json&app=none", "", 200, []string{`{"capture":"cap","id":3,`, `"fwd_bytes":300`}, []string{`,"len_min"`}},
		{"what its columns are", auth.RoleSUP, "GET", "/api/v1/flows/columns", "", 200, []string{`{"name":"fwd_packets","unit":"{packet}","direction":"forward","formula":"packets","feature":false}`, `{"name":"len_min","unit":"By"`}, []string{`"name":"packets"`}},
		{"as something else", adm, "POST", "/api/v1/flows/export?format=exe", "", 422, nil, nil},
	})
	contains(t, "the audit log", w.audited(), []string{"flows.export flows ok 2 flows as csv", "flows.export flows ok 3 flows as parquet"}, nil)
}

func TestViews(t *testing.T) {
	w := newWorld(t)
	save := func(as, name string, shared bool) (v viewBody) {
		t.Helper()
		text, _ := json.Marshal(map[string]any{"name": name, "page": "flows", "query": "app=tls", "shared": shared})
		out := w.request(as, http.MethodPost, "/api/v1/views", string(text))
		if out.Code != http.StatusCreated {
			t.Fatalf("save: %d %s", out.Code, out.Body)
		}
		check(t, json.Unmarshal(out.Body.Bytes(), &v))
		return v
	}
	first := save(auth.RoleIT, "mine", false)
	if again := save(auth.RoleIT, "mine", false); again.ID != first.ID {
		t.Errorf("saved again under the id %s, want %s", again.ID, first.ID)
	}
	shared := save(auth.RoleIT, "ours", true)
	w.play([]scenario{
		{"his own", auth.RoleIT, "GET", "/api/v1/views", "", 200, []string{`"name":"mine"`, `"name":"ours"`, `"mine":true`}, nil},
		{"what others share", auth.RoleSUP, "GET", "/api/v1/views", "", 200, []string{`"name":"ours"`, `"mine":false`}, []string{`"name":"mine"`}},
		{"somebody else's", auth.RoleSUP, "DELETE", "/api/v1/views/" + shared.ID, "", 404, nil, nil},
		{"somebody else's own, by an administrator", adm, "DELETE", "/api/v1/views/" + first.ID, "", 404, nil, nil},
		{"what is shared, by an administrator", adm, "DELETE", "/api/v1/views/" + shared.ID, "", 204, nil, nil},
		{"his own goes", auth.RoleIT, "DELETE", "/api/v1/views/" + first.ID, "", 204, nil, nil},
		{"without a name", auth.RoleIT, "POST", "/api/v1/views", `{"name":"","page":"flows","query":""}`, 422, nil, nil},
		{"of no page", auth.RoleIT, "POST", "/api/v1/views", `{"name":"x","page":"else","query":""}`, 422, nil, nil},
		{"the public", auth.RolePUB, "GET", "/api/v1/views", "", 403, nil, nil},
	})
	if log := w.audited(); !strings.Contains(log, "view.share") || strings.Contains(log, "name mine") || strings.Contains(log, "view.unshare") {
		t.Errorf("the audit log: %s", log)
	}
	save(auth.RoleIT, "ours", true)
	kept := save(auth.RoleIT, "ours", false)
	save(auth.RoleIT, "ours", false) // already his alone
	contains(t, "the audit log", w.audited(), []string{"view.unshare view:" + kept.ID + " ok name ours"}, nil)
	if n := strings.Count(w.audited(), "view.unshare"); n != 1 {
		t.Errorf("one view was taken back, the audit log says so %d times", n)
	}
}
