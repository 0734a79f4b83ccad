package api

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/flowbatch"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func TestFlowsOfAnAgent(t *testing.T) {
	w := newWorld(t)
	flows, err := store.OpenFlows(t.Context(), store.FlowsConfig{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { _ = flows.Close() })
	w.cfg.Flows = flows
	a, b := w.enrol("box"), w.enrol("other")

	run := "first"
	batch := func(ids ...uint64) string {
		var list []sdk.Flow
		now := time.Now()
		for _, id := range ids {
			list = append(list, sdk.Flow{ID: id, Start: now, End: now, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"),
				DstPort: uint16(id), Proto: sdk.ProtoUDP, FwdPackets: 1, FwdBytes: 100})
		}
		f := flowbatch.Batch{Run: run, Interface: "eth0"}
		check(t, f.Pack(records.AppendFlows(nil, list)))
		text, err := json.Marshal(f)
		check(t, err)
		return string(text)
	}
	post := func(n *node, seq int, flows string, want int) string {
		t.Helper()
		out := n.call("POST", "/api/v1/flows", fmt.Sprintf(`{"epoch":"e","seq":%d,"flows":%s}`, seq, flows))
		if out.Code != want {
			t.Fatalf("%d %s", out.Code, out.Body)
		}
		return out.Body.String()
	}
	count := func() int {
		t.Helper()
		page, err := flows.List(t.Context(), store.FlowQuery{Tenant: store.DefaultTenant, Page: store.Page{Limit: 100}})
		check(t, err)
		return len(page.Flows)
	}
	for range 2 { // sent again, they are stored once
		if said := post(a, 7, batch(1, 2, 3), 200); !strings.Contains(said, `"accepted":3`) || !strings.Contains(said, `"stored_through":7`) {
			t.Errorf("%s", said)
		}
	}
	if n := count(); n != 3 {
		t.Errorf("%d flows of one batch of 3", n)
	}
	run = "second" // of another worker, which numbers its flows from 1 again
	post(a, 8, batch(1), 200)
	post(b, 7, batch(1), 200) // another agent has sequence numbers of its own
	post(a, 9, `{"run":"r","interface":"eth0","frames":""}`, 200)
	if n := count(); n != 5 {
		t.Errorf("%d flows, want 5", n)
	}
	page, err := flows.List(t.Context(), store.FlowQuery{Tenant: store.DefaultTenant, Page: store.Page{Limit: 1}})
	check(t, err)
	if out := w.request(adm, "GET", fmt.Sprintf("/api/v1/flows/%s/%d", page.Flows[0].Capture, page.Flows[0].ID), ""); out.Code != 200 {
		t.Errorf("one of them: %d %s", out.Code, out.Body)
	}
	post(a, 10, `{"run":"r","interface":"eth0","frames":"Z2FyYmFnZQ=="}`, 422)
	post(a, 10, `{"frames":""}`, 422)
	if out := a.call("POST", "/api/v1/flows", `{"seq":1,"flows":`+batch(1)+`}`); out.Code != 422 {
		t.Errorf("without an epoch: %d", out.Code)
	}
	if out := a.call("POST", "/api/v1/flows", strings.Repeat(" ", maxFlows+1)); out.Code != 413 {
		t.Errorf("with a byte too many: %d", out.Code)
	}
	if out := w.request(adm, "POST", "/api/v1/flows", `{}`); out.Code != 401 && out.Code != 403 {
		t.Errorf("a person: %d", out.Code)
	}
}
