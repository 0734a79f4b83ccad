package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func openFlows(t *testing.T, dir string, now *clock) *Flows {
	t.Helper()
	f, err := OpenFlows(t.Context(), FlowsConfig{Dir: dir, Now: now.Now})
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// record keeps flows as one capture, with a TLS fact for each that has a name.
func record(t *testing.T, f *Flows, tenant, capture string, flows []sdk.Flow, names map[uint64]string) {
	t.Helper()
	r, err := f.Record(t.Context(), tenant, capture)
	must(t, err)
	for part := range slices.Chunk(flows, 100) {
		var facts []sdk.TLS
		for _, x := range part {
			if name := names[x.ID]; name != "" {
				facts = append(facts, sdk.TLS{Seen: sdk.Seen{Flow: x.ID, Time: x.Start, Client: x.Src, Server: x.Dst, Proto: x.Proto}, Protocol: "tls", ServerName: name})
			}
		}
		if len(facts) > 0 {
			must(t, r.Facts(t.Context(), sdk.FactsTLS, records.Parcel{Frame: records.AppendFacts(nil, facts)}))
		}
		must(t, r.Flows(t.Context(), records.Parcel{Frame: records.AppendFlows(nil, part)}))
	}
	must(t, r.Close(t.Context(), true))
}

// listAll reads every page.
func listAll(t *testing.T, f *Flows, q FlowQuery) []FlowRow {
	t.Helper()
	var out []FlowRow
	for {
		p, err := f.List(t.Context(), q)
		must(t, err)
		if p.Incomplete {
			t.Fatal("incomplete")
		}
		out = append(out, p.Flows...)
		if p.Next == "" {
			return out
		}
		q.Page.Cursor = p.Next
	}
}

func someFlow(id uint64) sdk.Flow {
	return sdk.Flow{ID: id, Start: start, End: start.Add(time.Second), Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("192.0.2.7"),
		SrcPort: 40000, DstPort: 443, Proto: sdk.ProtoTCP, EndReason: sdk.EndFIN, FwdPackets: 2, RevPackets: 1, FwdBytes: 200, RevBytes: 1000, App: "tls"}
}

// What is at the edge of what a row can hold comes back as it was.
func TestFlowsAtTheEdge(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	v6 := netip.MustParseAddr("2001:db8::ff00:1")
	flows := []sdk.Flow{
		someFlow(1),
		{ID: 2, Start: time.Unix(0, 0), End: time.Unix(0, 0)},
		{ID: math.MaxUint64, Start: start, End: start, Src: v6, Dst: netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), SrcPort: 65535, DstPort: 65535,
			VLAN: 4095, Proto: 255, EndReason: sdk.EndCapture, FwdPackets: math.MaxUint64, RevPackets: math.MaxUint64, FwdBytes: math.MaxUint64,
			App: strings.Repeat("x", 300), Tunnel: "geneve", TunnelID: math.MaxUint32, CommunityID: "1:abc", Packets: []uint64{1, math.MaxUint64},
			FwdLenMean: math.Inf(1), IATMin: math.NaN(), IATStd: -0.1},
		{ID: 4, Start: start.Add(time.Hour), End: start, Src: v6, Dst: v6, App: "nul\x00'; DROP TABLE flows --"},
	}
	record(t, f, "default", "c", flows, map[uint64]string{1: "Server.Example", 4: "bad\xff\x00" + strings.Repeat("é", 200)})
	for _, want := range flows {
		d, err := f.Get(t.Context(), "default", "c", want.ID)
		must(t, err)
		got := d.Flow
		if got.ID != want.ID || !got.Start.Equal(want.Start) || !got.End.Equal(want.End) || got.Src != want.Src || got.Dst != want.Dst || got.App != want.App ||
			got.FwdBytes != want.FwdBytes || got.RevPackets != want.RevPackets || !slices.Equal(got.Packets, want.Packets) || got.IATStd != want.IATStd {
			t.Errorf("flow %d came back as %+v", want.ID, got)
		}
		for _, x := range d.Features {
			for _, v := range []float64{x.Value, x.P5, x.P50, x.P95, x.Mean} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("flow %d: feature %s is %v, which JSON cannot say", want.ID, x.Name, x)
				}
			}
		}
	}
	rows := listAll(t, f, FlowQuery{Tenant: "default"})
	if len(rows) != len(flows) {
		t.Fatalf("%d rows, want %d", len(rows), len(flows))
	}
	byID := map[uint64]FlowRow{}
	for _, r := range rows {
		byID[r.ID] = r
	}
	if r := byID[1]; r.Name != "Server.Example" || r.Bytes != 1200 || r.Duration != time.Second || r.App != "tls" {
		t.Errorf("row 1 is %+v", r)
	}
	if r := byID[math.MaxUint64]; r.Bytes != maxCount/2 || r.App != "" || r.Tunnel != "geneve" || r.TunnelID != math.MaxUint32 || r.Src != v6 {
		t.Errorf("the largest row is %+v", r)
	}
	if r := byID[4]; r.Duration != 0 || len(r.Name) > maxText || !utf8.ValidString(r.Name) || strings.ContainsRune(r.Name, 0) || !strings.HasPrefix(r.Name, "bad\uFFFD") {
		t.Errorf("row 4 is %+v", r)
	}
	if _, err := f.Get(t.Context(), "default", "c", 99); !errors.Is(err, ErrNotFound) {
		t.Errorf("a flow that is not there: %v", err)
	}
	if _, err := f.Summary(t.Context(), "default", FlowFilter{}); err != nil {
		t.Errorf("summary: %v", err)
	}
}

// random flows over few values, so that filters find some and leave some.
func randomFlows(r *rand.Rand, n int) ([]sdk.Flow, map[uint64]string) {
	hosts := []string{"10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.7", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "255.255.255.255"}
	host := func() netip.Addr { return netip.MustParseAddr(hosts[r.IntN(len(hosts))]) }
	names := map[uint64]string{}
	var out []sdk.Flow
	for i := range n {
		from := start.Add(time.Duration(r.IntN(50)) * time.Minute).Add(time.Duration(r.IntN(3)) * time.Nanosecond)
		x := sdk.Flow{ID: uint64(i + 1), Start: from, End: from.Add(time.Duration(r.IntN(5)) * 500 * time.Millisecond), Src: host(), Dst: host(),
			SrcPort: uint16(1000 + r.IntN(4)), DstPort: uint16([]int{53, 80, 443, 1001}[r.IntN(4)]), Proto: uint8([]int{6, 17, 1}[r.IntN(3)]),
			EndReason: sdk.EndReason(1 + r.IntN(6)), VLAN: uint16(r.IntN(3)), App: []string{"", "tls", "dns"}[r.IntN(3)], Tunnel: []string{"", "", "vxlan"}[r.IntN(3)],
			FwdPackets: uint64(1 + r.IntN(4)), RevPackets: uint64(r.IntN(4)), FwdBytes: uint64(40 * (1 + r.IntN(5))), RevBytes: uint64(100 * r.IntN(5))}
		if r.IntN(2) == 0 {
			names[x.ID] = []string{"www.Example.org", "mail.example.org", "50%_off.test"}[r.IntN(3)]
		}
		out = append(out, x)
	}
	return out, names
}

func randomFilter(r *rand.Rand) FlowFilter {
	var q FlowFilter
	maybe := func(set func()) {
		if r.IntN(6) == 0 {
			set()
		}
	}
	nets := []string{"10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128", "::/0", "192.0.2.7/32", "255.255.255.255/32"}
	network := func() netip.Prefix { return netip.MustParsePrefix(nets[r.IntN(len(nets))]) }
	maybe(func() {
		q.From = start.Add(time.Duration(r.IntN(50)) * time.Minute).Add(time.Duration(r.IntN(2)) * time.Nanosecond)
	})
	maybe(func() { q.To = start.Add(time.Duration(r.IntN(60)) * time.Minute) })
	maybe(func() { q.Host = network() })
	maybe(func() { q.Src = network() })
	maybe(func() { q.Dst = network() })
	maybe(func() { q.Port = uint16([]int{53, 1001, 443, 9}[r.IntN(4)]) })
	maybe(func() { q.SrcPort = 1002 })
	maybe(func() { q.DstPort = 443 })
	maybe(func() { q.Protos = []uint8{6, 1} })
	maybe(func() { q.Apps = [][]string{{"tls"}, {""}, {"dns", ""}, {"ftp"}}[r.IntN(4)] })
	maybe(func() { q.Tunnels = [][]string{{"vxlan"}, {""}}[r.IntN(2)] })
	maybe(func() { q.VLAN = uint16(1 + r.IntN(2)) })
	maybe(func() { q.Reasons = []sdk.EndReason{sdk.EndFIN, sdk.EndIdle} })
	maybe(func() { q.MinBytes = uint64(r.IntN(600)) })
	maybe(func() { q.MaxBytes = uint64(r.IntN(600)) })
	maybe(func() { q.MinPackets = uint64(r.IntN(8)) })
	maybe(func() { q.MaxPackets = uint64(r.IntN(8)) })
	maybe(func() { q.MinDuration = time.Duration(r.IntN(3000)) * time.Millisecond })
	maybe(func() { q.MaxDuration = time.Duration(r.IntN(3000)) * time.Millisecond })
	maybe(func() { q.Text = []string{"EXAMPLE", "mail.", "%_", "nobody", "' OR 1=1 --"}[r.IntN(5)] })
	maybe(func() { q.Captures = [][]string{{"a"}, {"b", "a"}, {"nope"}}[r.IntN(3)] })
	return q
}

// admits is the filter in plain Go: what the store is compared with.
func admits(q FlowFilter, capture string, x *sdk.Flow, name string) bool {
	packets, bytes := x.FwdPackets+x.RevPackets, x.FwdBytes+x.RevBytes
	in := func(p netip.Prefix, a netip.Addr) bool {
		if p == netip.MustParsePrefix("::/0") { // every address has an IPv6 form
			return true
		}
		return p.Contains(a)
	}
	us := x.Start.Truncate(time.Microsecond) // as precise as a row
	switch {
	case len(q.Captures) > 0 && !slices.Contains(q.Captures, capture),
		!q.From.IsZero() && us.Before(q.From), !q.To.IsZero() && !us.Before(q.To),
		q.Host.IsValid() && !in(q.Host, x.Src) && !in(q.Host, x.Dst),
		q.Src.IsValid() && !in(q.Src, x.Src), q.Dst.IsValid() && !in(q.Dst, x.Dst),
		q.Port != 0 && x.SrcPort != q.Port && x.DstPort != q.Port,
		q.SrcPort != 0 && x.SrcPort != q.SrcPort, q.DstPort != 0 && x.DstPort != q.DstPort,
		len(q.Protos) > 0 && !slices.Contains(q.Protos, x.Proto),
		len(q.Apps) > 0 && !slices.Contains(q.Apps, x.App), len(q.Tunnels) > 0 && !slices.Contains(q.Tunnels, x.Tunnel),
		q.VLAN != 0 && x.VLAN != q.VLAN, len(q.Reasons) > 0 && !slices.Contains(q.Reasons, x.EndReason),
		bytes < q.MinBytes, q.MaxBytes > 0 && bytes > q.MaxBytes, packets < q.MinPackets, q.MaxPackets > 0 && packets > q.MaxPackets,
		x.Duration() < q.MinDuration, q.MaxDuration > 0 && x.Duration() > q.MaxDuration,
		q.Text != "" && !strings.Contains(strings.ToLower(name), strings.ToLower(q.Text)):
		return false
	}
	return true
}

// Every filter, order and page agrees with the same in plain Go, over captures in several files.
func TestFlowFiltersAgreeWithPlainGo(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	now := &clock{t: start}
	f := openFlows(t, t.TempDir(), now)
	type kept struct {
		capture string
		flow    sdk.Flow
		name    string
	}
	var all []kept
	for _, capture := range []string{"a", "b", "c"} {
		flows, names := randomFlows(r, 400)
		record(t, f, "default", capture, flows, names)
		for _, x := range flows {
			all = append(all, kept{capture, x, names[x.ID]})
		}
		now.Add(24 * time.Hour)
	}
	foreign, _ := randomFlows(r, 100)
	record(t, f, "other", "a", foreign, map[uint64]string{1: "www.example.org"})
	sorts := map[FlowSort]func(x *sdk.Flow) int64{
		FlowsByStart: func(x *sdk.Flow) int64 { return x.Start.UnixMicro() }, FlowsByDuration: func(x *sdk.Flow) int64 { return x.Duration().Microseconds() },
		FlowsByBytes: func(x *sdk.Flow) int64 { return int64(x.FwdBytes + x.RevBytes) }, FlowsByPackets: func(x *sdk.Flow) int64 { return int64(x.FwdPackets + x.RevPackets) },
	}
	order := []FlowSort{FlowsByStart, FlowsByDuration, FlowsByBytes, FlowsByPackets}
	for i := range 250 {
		q := FlowQuery{Tenant: "default", Filter: randomFilter(r), Sort: order[r.IntN(4)], Ascending: r.IntN(2) == 0, Page: Page{Limit: 40}}
		var want []kept
		var bytes uint64
		for _, k := range all {
			if admits(q.Filter, k.capture, &k.flow, k.name) {
				want = append(want, k)
				bytes += k.flow.FwdBytes + k.flow.RevBytes
			}
		}
		slices.SortFunc(want, func(a, b kept) int { // captures are named in the order of their runs
			n := cmp.Or(cmp.Compare(sorts[q.Sort](&a.flow), sorts[q.Sort](&b.flow)), cmp.Compare(a.capture, b.capture), cmp.Compare(a.flow.ID, b.flow.ID))
			if !q.Ascending {
				n = -n
			}
			return n
		})
		got := listAll(t, f, q)
		if len(got) != len(want) {
			t.Fatalf("filter %d %+v: %d flows, want %d", i, q.Filter, len(got), len(want))
		}
		for j := range got {
			if w := want[j]; got[j].Capture != w.capture || got[j].ID != w.flow.ID || got[j].Name != w.name || got[j].App != w.flow.App || got[j].Src != w.flow.Src {
				t.Fatalf("filter %d %+v: row %d is %+v, want flow %d of %s", i, q, j, got[j], w.flow.ID, w.capture)
			}
		}
		sum, err := f.Summary(t.Context(), "default", q.Filter)
		must(t, err)
		if sum.Flows != uint64(len(want)) || sum.Bytes != bytes || sum.Sampled != 0 {
			t.Fatalf("filter %d %+v: summed up as %+v, want %d flows, %d bytes", i, q.Filter, sum.FlowCount, len(want), bytes)
		}
		var apps, times uint64
		for _, g := range sum.Apps {
			apps += g.Flows
		}
		for _, g := range sum.Times {
			times += g.Flows
		}
		if apps != sum.Flows || times != sum.Flows {
			t.Fatalf("filter %d: %d flows, %d by application, %d by time", i, sum.Flows, apps, times)
		}
	}
}

// Nobody sees what belongs to somebody else, whatever he asks for.
func TestFlowsOfOthers(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	record(t, f, "one", "c", []sdk.Flow{someFlow(1)}, map[uint64]string{1: "secret.example"})
	record(t, f, "two", "d", []sdk.Flow{someFlow(1)}, nil)
	ctx := t.Context()
	for _, captures := range [][]string{nil, {"c"}} {
		q := FlowFilter{Captures: captures, Text: "secret"}
		p, err := f.List(ctx, FlowQuery{Tenant: "two", Filter: q})
		must(t, err)
		sum, err := f.Summary(ctx, "two", q)
		must(t, err)
		facts, err := f.Facts(ctx, FactQuery{Tenant: "two", Kind: sdk.FactsTLS, Captures: captures})
		must(t, err)
		if len(p.Flows) != 0 || sum.Flows != 0 || len(facts.Facts) != 0 {
			t.Errorf("captures %v: %v, %v, %v", captures, p.Flows, sum, facts)
		}
	}
	if _, err := f.Get(ctx, "two", "c", 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a flow of somebody else: %v", err)
	}
	if err := f.Replay(ctx, "two", "c", func(string, records.Parcel) error { t.Error("a frame"); return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("replay of somebody else's: %v", err)
	}
	must(t, f.Delete(ctx, "two", "c"))
	if d, err := f.Get(ctx, "one", "c", 1); err != nil || d.Like != 1 {
		t.Errorf("like %d (the other's flow is the same), %v", d.Like, err)
	}
	// A cursor names rows and no tenant: one of somebody else's opens nothing.
	if p, err := f.List(ctx, FlowQuery{Tenant: "two", Page: Page{Cursor: cursorText(flowCursor{Value: math.MaxInt64, Run: 1 << 31, ID: 1})}}); err != nil || len(p.Flows) != 1 || p.Flows[0].Capture != "d" {
		t.Errorf("with a made-up cursor: %+v, %v", p, err)
	}
	for _, cursor := range []string{"x", "bm90IGpzb24", `"; DROP TABLE flows`} {
		var bad *QueryError
		if _, err := f.List(ctx, FlowQuery{Tenant: "two", Page: Page{Cursor: cursor}}); !errors.As(err, &bad) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
	var bad *QueryError
	if _, err := f.List(ctx, FlowQuery{Tenant: "two", Sort: "start; DROP TABLE flows"}); !errors.As(err, &bad) {
		t.Errorf("a made-up order: %v", err)
	}
}

// Analysing again puts the new in the place of the old, in the same file or in another.
func TestFlowsAreReplacedAndDeleted(t *testing.T) {
	dir := t.TempDir()
	now := &clock{t: start}
	f := openFlows(t, dir, now)
	names := map[uint64]string{1: "first.example", 2: "second.example"}
	count := func(want int, text string) {
		t.Helper()
		if rows := listAll(t, f, FlowQuery{Tenant: "default", Filter: FlowFilter{Text: text}}); len(rows) != want {
			t.Errorf("%d flows, want %d", len(rows), want)
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "*"+framesExt)); len(files) != len(f.runs) {
			t.Errorf("files %v for %d recordings", files, len(f.runs))
		}
	}
	record(t, f, "default", "c", []sdk.Flow{someFlow(1), someFlow(2)}, names)
	count(2, "")
	record(t, f, "default", "c", []sdk.Flow{someFlow(1)}, names)
	count(1, "")
	count(0, "second")
	now.Add(48 * time.Hour)
	record(t, f, "default", "c", []sdk.Flow{someFlow(1), someFlow(2), someFlow(3)}, nil)
	count(3, "")
	count(0, "first")

	// One that was broken off leaves a complete one as it is, but is better than none.
	for capture, want := range map[string]int{"c": 3, "new": 4} {
		r, err := f.Record(t.Context(), "default", capture)
		must(t, err)
		must(t, r.Flows(t.Context(), records.Parcel{Frame: records.AppendFlows(nil, []sdk.Flow{someFlow(9)})}))
		must(t, r.Close(t.Context(), false))
		_ = want
	}
	count(4, "")

	// Nothing of a recording that failed is kept.
	r, err := f.Record(t.Context(), "default", "c")
	must(t, err)
	must(t, r.Flows(t.Context(), records.Parcel{Frame: records.AppendFlows(nil, []sdk.Flow{someFlow(7)})}))
	if err := r.Flows(t.Context(), records.Parcel{Frame: []byte("no frame")}); err == nil {
		t.Error("a frame that is none was taken")
	}
	if err := r.Close(t.Context(), true); err == nil {
		t.Error("a recording that failed was closed without an error")
	}
	count(4, "")

	must(t, f.Close())
	f = openFlows(t, dir, now)
	count(4, "")
	must(t, f.Delete(t.Context(), "default", "c"))
	must(t, f.Delete(t.Context(), "default", "c"))
	count(1, "")
	now.Add(31 * 24 * time.Hour)
	must(t, f.Tidy(t.Context()))
	count(0, "")
	if files, _ := os.ReadDir(dir); len(files) > 1 {
		t.Errorf("left over: %v", files)
	}
}

func TestFactsOfFlows(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	ctx := t.Context()
	r, err := f.Record(ctx, "default", "c")
	must(t, err)
	client, server := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.53")
	seen := func(flow uint64, at int) sdk.Seen {
		return sdk.Seen{Flow: flow, Packet: uint64(at), Time: start.Add(time.Duration(at) * time.Second), Client: client, Server: server, Proto: sdk.ProtoUDP}
	}
	var dns []sdk.DNS
	for i := range 120 {
		dns = append(dns, sdk.DNS{Seen: seen(1, i), Protocol: "dns", Query: fmt.Sprintf("host%d.example", i%7), AnswerTTLs: []uint64{uint64(i)}})
	}
	must(t, r.Facts(ctx, sdk.FactsDNS, records.Parcel{Frame: records.AppendFacts(nil, dns)}))
	must(t, r.Facts(ctx, sdk.FactsLogins, records.Parcel{Frame: records.AppendFacts(nil, []sdk.Login{{Seen: seen(2, 3), Protocol: "ftp", User: "root", Result: "failure"}})}))
	if err := r.Facts(ctx, "gossip", records.Parcel{Frame: nil}); err == nil {
		t.Error("facts of no kind were taken")
	}
	_ = r.Close(ctx, true)

	r, err = f.Record(ctx, "default", "c")
	must(t, err)
	must(t, r.Facts(ctx, sdk.FactsDNS, records.Parcel{Frame: records.AppendFacts(nil, dns)}))
	must(t, r.Facts(ctx, sdk.FactsLogins, records.Parcel{Frame: records.AppendFacts(nil, []sdk.Login{{Seen: seen(2, 3), Protocol: "ftp", User: "root", Result: "failure"}})}))
	must(t, r.Flows(ctx, records.Parcel{Frame: records.AppendFlows(nil, []sdk.Flow{someFlow(1), someFlow(2)})}))
	must(t, r.Close(ctx, true))

	var got []FlowFact
	q := FactQuery{Tenant: "default", Kind: sdk.FactsDNS, Page: Page{Limit: 50}}
	for {
		p, err := f.Facts(ctx, q)
		must(t, err)
		got = append(got, p.Facts...)
		if q.Page.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	if len(got) != len(dns) {
		t.Fatalf("%d facts, want %d", len(got), len(dns))
	}
	for i, x := range got {
		if value, ok := x.Value.(*sdk.DNS); !ok || !reflect.DeepEqual(*value, dns[i]) || x.Name != dns[i].Query {
			t.Fatalf("fact %d is %+v, want %+v", i, x.Value, dns[i])
		}
	}
	for _, c := range []struct {
		q    FactQuery
		want int
	}{
		{FactQuery{Kind: sdk.FactsDNS, Text: "HOST3"}, 17},
		{FactQuery{Kind: sdk.FactsDNS, Host: netip.MustParsePrefix("10.0.0.53/32"), From: start.Add(10 * time.Second), To: start.Add(20 * time.Second)}, 10},
		{FactQuery{Kind: sdk.FactsDNS, Captures: []string{"c"}, Flow: 2}, 0},
		{FactQuery{Kind: sdk.FactsLogins, Captures: []string{"c"}, Flow: 2}, 1},
		{FactQuery{Kind: sdk.FactsSMB}, 0},
	} {
		c.q.Tenant, c.q.Page.Limit = "default", 500
		if p, err := f.Facts(ctx, c.q); err != nil || len(p.Facts) != c.want {
			t.Errorf("%+v: %d facts, %v", c.q, len(p.Facts), err)
		}
	}
	// A search finds a flow by its first name and by its others.
	for text, want := range map[string]int{"host0.": 1, "host6": 1, "root": 1, "toor": 0} {
		if rows := listAll(t, f, FlowQuery{Tenant: "default", Filter: FlowFilter{Text: text}}); len(rows) != want {
			t.Errorf("%q: %d flows, want %d", text, len(rows), want)
		}
	}
	d, err := f.Get(ctx, "default", "c", 1)
	must(t, err)
	if len(d.Facts) != shownFacts || d.Name != "host0.example" {
		t.Errorf("%d facts, name %q", len(d.Facts), d.Name)
	}
	fields := FactFields(got[1].Value)
	if fields["query"] != "host1.example" || fields["answer_ttls"] == nil || fields["seen"] != nil || fields["rcode"] != nil {
		t.Errorf("fields %v", fields)
	}
}

// What is exported and what is replayed is what was recorded.
func TestFlowsLeaveTheStore(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	ctx := t.Context()
	flows := []sdk.Flow{someFlow(1), someFlow(2)}
	flows[1].Src, flows[1].App = netip.MustParseAddr("2001:db8::7"), "o'clock"
	record(t, f, "default", "c", flows, map[uint64]string{1: "=cmd|'/c calc'!A0", 2: `a,"b"`})
	x, err := f.Export(ctx, FlowExport{Tenant: "default", Format: "csv", Filter: FlowFilter{Text: "c"}})
	must(t, err)
	text, err := io.ReadAll(x.File)
	must(t, errors.Join(err, x.Close()))
	if got := string(text); x.Flows != 1 || !strings.Contains(got, ",10.0.0.1,192.0.2.7,40000,443,0,6,tcp,fin,") || !strings.Contains(got, ",tls,0,,'=cmd") {
		t.Errorf("%d flows:\n%s", x.Flows, got)
	}
	x, err = f.Export(ctx, FlowExport{Tenant: "default", Format: "csv", Limit: 1})
	must(t, err)
	text, err = io.ReadAll(x.File)
	must(t, errors.Join(err, x.Close()))
	if got := string(text); x.Flows != 1 || !strings.Contains(got, ",2001:db8::7,") || !strings.Contains(got, `"a,""b"""`) {
		t.Errorf("%d flows:\n%s", x.Flows, got)
	}
	x, err = f.Export(ctx, FlowExport{Tenant: "default", Format: "parquet"})
	must(t, err)
	text, err = io.ReadAll(x.File)
	must(t, errors.Join(err, x.Close()))
	if x.Flows != 2 || !strings.HasPrefix(string(text), "PAR1") {
		t.Errorf("%d flows, %d bytes", x.Flows, len(text))
	}
	var bad *QueryError
	if _, err := f.Export(ctx, FlowExport{Tenant: "default", Format: "csv) TO '/etc/passwd"}); !errors.As(err, &bad) {
		t.Errorf("a made-up format: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(f.cfg.Dir, "export-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	var kinds []string
	must(t, f.Replay(ctx, "default", "c", func(kind string, p records.Parcel) error {
		kinds = append(kinds, kind)
		if kind != "" {
			return nil
		}
		got, err := records.DecodeFlows(p.Frame, nil)
		if len(got) != 2 || got[1].App != "o'clock" {
			t.Errorf("replayed: %+v", got)
		}
		return err
	}))
	if !slices.Equal(kinds, []string{sdk.FactsTLS, ""}) {
		t.Errorf("replayed kinds %q", kinds)
	}
	// A damaged file is said to be damaged.
	files, _ := filepath.Glob(filepath.Join(f.cfg.Dir, "*"+framesExt))
	raw, err := os.ReadFile(files[0])
	must(t, err)
	raw[len(raw)-5] ^= 1
	must(t, os.WriteFile(files[0], raw, 0o600))
	if _, err := f.Get(ctx, "default", "c", 1); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged rows: %v", err)
	}
}

// limit is what the engine may take, and how many threads work for it.
func (f *Flows) limit(t *testing.T) (text string) {
	t.Helper()
	must(t, f.engine.db.QueryRowContext(t.Context(), "SELECT current_setting('memory_limit') || ' ' || current_setting('threads')").Scan(&text))
	return text
}

// While something is recorded the engine keeps less, and what it had before when nothing is.
func TestARecordingTakesLittleMemory(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	limit := func() string { return f.limit(t) }
	whole := limit()
	one, err := f.Record(t.Context(), "default", "one")
	must(t, err)
	if got := limit(); got != "32.0 MiB 1" {
		t.Errorf("one recording: %s", got)
	}
	two, err := f.Record(t.Context(), "default", "two")
	must(t, err)
	if got := limit(); got != "64.0 MiB 1" {
		t.Errorf("two recordings: %s", got)
	}
	must(t, one.Close(t.Context(), true))
	must(t, two.Close(t.Context(), true))
	if got := limit(); got != whole || whole != "256.0 MiB 2" {
		t.Errorf("afterwards %s, before %s", got, whole)
	}
}

// What a recording holds in memory are groups of rows and blocks, which are small.
func TestGroupsOfRowsAndBlocksAreSmall(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	flows := make([]sdk.Flow, flowRowGroup+1)
	for i := range flows {
		flows[i] = someFlow(uint64(i + 1))
	}
	record(t, f, "default", "c", flows, nil)
	alias := f.segments.list()[0].alias
	var groups, block int
	must(t, f.engine.db.QueryRowContext(t.Context(), "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('"+alias+".flows')").Scan(&groups))
	must(t, f.engine.db.QueryRowContext(t.Context(), "SELECT block_size FROM pragma_database_size() WHERE database_name = '"+alias+"'").Scan(&block))
	if groups != 2 || block != 64<<10 {
		t.Errorf("%d groups of rows, blocks of %d bytes", groups, block)
	}
}

// What a recording has written stays in no memory when it has ended.
func TestARecordingLeavesNoMemoryTaken(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // not for secrets
	flows := make([]sdk.Flow, 8*flowRowGroup)
	for i := range flows {
		flows[i] = someFlow(random.Uint64())
		flows[i].FwdBytes, flows[i].RevBytes, flows[i].SrcPort = random.Uint64(), random.Uint64(), uint16(random.Uint32())
	}
	record(t, f, "default", "c", flows, nil)
	var taken int64
	must(t, f.engine.db.QueryRowContext(t.Context(), "SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()").Scan(&taken))
	if taken > restingMemory+512<<10 { // a few blocks of what came after it
		t.Errorf("%d bytes", taken)
	}
}

// Only when nobody is at work the engine lets go of what it has read: it cannot without refusing memory to all for a moment.
func TestNobodyAtWorkLosesTheirMemory(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // not for secrets
	flows := make([]sdk.Flow, 8*flowRowGroup)
	for i := range flows {
		flows[i] = someFlow(random.Uint64())
		flows[i].FwdBytes, flows[i].RevBytes, flows[i].SrcPort = random.Uint64(), random.Uint64(), uint16(random.Uint32())
	}
	record(t, f, "default", "c", flows, nil)
	begin := func() *FlowRecording {
		t.Helper()
		r, err := f.Record(t.Context(), "default", "d")
		must(t, err)
		return r
	}
	one := begin()
	f.readAll(t)
	before := f.taken(t)
	two := begin()
	if now := f.taken(t); now < before/2 {
		t.Errorf("a second recording begins: %d bytes became %d", before, now)
	}
	must(t, two.Close(t.Context(), false))
	must(t, f.Replay(t.Context(), "default", "c", func(string, records.Parcel) error {
		if one != nil {
			must(t, one.Close(t.Context(), false))
			one = nil
			if n := f.taken(t); n <= restingMemory {
				t.Errorf("the last recording ends during a replay: %d bytes", n)
			}
		}
		return nil
	}))
	one = begin()
	must(t, one.Close(t.Context(), false))
	if n := f.taken(t); n > restingMemory+512<<10 { // a few blocks of what came after it
		t.Errorf("the last recording ends: %d bytes", n)
	}
	whole := f.limit(t)
	f.memory.page(t.Context()) // and never done: what follows its end some time later is done here
	f.readAll(t)
	before = f.taken(t)
	f.memory.forget()
	if n := f.taken(t); before <= restingMemory+512<<10 || n > restingMemory+512<<10 {
		t.Errorf("%d bytes after a page, %d when nobody has asked for another one", before, n)
	}
	if got := f.limit(t); got != whole {
		t.Errorf("at rest: %s, not %s", got, whole)
	}
	file, err := f.Export(t.Context(), FlowExport{Tenant: "default", Format: "csv", Limit: 1})
	must(t, err)
	must(t, file.Close())
	if f.memory.looking() == 0 {
		t.Error("an export is not counted among the pages")
	}
}

// Whoever looks at pages while something is recorded has as much memory for them as at other times, and no longer than that.
func TestPagesDuringARecordingHaveTheirMemory(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	f.memory.rest = time.Millisecond
	whole := f.limit(t)
	r, err := f.Record(t.Context(), "default", "one")
	must(t, err)
	lean := f.limit(t)
	one, two := f.memory.page(t.Context()), f.memory.page(t.Context())
	if got := f.limit(t); got != whole || got == lean {
		t.Errorf("with a page: %s, without %s, without a recording %s", got, lean, whole)
	}
	one()
	for f.memory.looking() != 1 {
		time.Sleep(time.Millisecond)
	}
	if got := f.limit(t); got != whole {
		t.Errorf("while another page is read: %s", got)
	}
	two()
	for f.limit(t) != lean { // the test's own time is up when that never comes
		time.Sleep(time.Millisecond)
	}
	must(t, r.Close(t.Context(), true))
	if got := f.limit(t); got != whole {
		t.Errorf("afterwards: %s", got)
	}
}

// What the server itself looks up leaves a recording no more memory than it has.
func TestLookingUpIsNoPage(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	r, err := f.Record(t.Context(), "default", "c")
	must(t, err)
	lean := f.limit(t)
	_, err = f.LookUpFacts(t.Context(), FactQuery{Tenant: "default", Kind: sdk.FactsLogins})
	must(t, err)
	if got := f.limit(t); got != lean || f.memory.looking() != 0 {
		t.Errorf("%s afterwards, %s before; %d pages", got, lean, f.memory.looking())
	}
	must(t, r.Close(t.Context(), true))
}

// readAll reads all columns of all flows of the first day.
func (f *Flows) readAll(t *testing.T) {
	t.Helper()
	var any string
	must(t, f.engine.db.QueryRowContext(t.Context(), "SELECT max(hash(x))::VARCHAR FROM "+f.segments.list()[0].alias+".main.flows x").Scan(&any))
}

func (f *Flows) taken(t *testing.T) (n int64) {
	t.Helper()
	must(t, f.engine.db.QueryRowContext(t.Context(), "SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()").Scan(&n))
	return n
}

// A page may have flows of many recordings.
func TestAPageOfManyRecordings(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	n := togetherRuns + 3
	for i := range n {
		x := someFlow(1)
		x.FwdBytes = uint64(1000 + i)
		record(t, f, "default", fmt.Sprintf("c%d", i), []sdk.Flow{x}, nil)
	}
	p, err := f.List(t.Context(), FlowQuery{Tenant: "default", Sort: FlowsByBytes, Page: Page{Limit: 2 * n}})
	must(t, err)
	if len(p.Flows) != n {
		t.Fatalf("%d flows, want %d", len(p.Flows), n)
	}
	for i, x := range p.Flows {
		if want := n - 1 - i; x.FwdBytes != uint64(1000+want) || x.Capture != fmt.Sprintf("c%d", want) {
			t.Errorf("flow %d is of capture %s with %d bytes", i, x.Capture, x.FwdBytes)
		}
	}
}

func (m *engineMemory) looking() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pages
}

// Files with the blocks of earlier releases are read and written beside those of today.
func TestFilesHaveBlocksOfAnySize(t *testing.T) {
	dir, now := t.TempDir(), &clock{t: start}
	f := openFlows(t, dir, now)
	_, err := f.engine.db.ExecContext(t.Context(), "SET GLOBAL default_block_size = 262144")
	must(t, err)
	many := func(from uint64) (flows []sdk.Flow) {
		for id := range uint64(5000) {
			flows = append(flows, someFlow(from+id))
		}
		return flows
	}
	record(t, f, "default", "a", many(1), nil)
	must(t, f.Close())
	f = openFlows(t, dir, now)
	record(t, f, "default", "b", many(1), nil)
	now.Add(24 * time.Hour)
	record(t, f, "default", "c", many(1), nil)
	var sizes []int
	for _, seg := range f.segments.list() {
		var size int
		must(t, f.engine.db.QueryRowContext(t.Context(), "SELECT block_size FROM pragma_database_size() WHERE database_name = ?", seg.alias).Scan(&size))
		sizes = append(sizes, size)
	}
	if !slices.Equal(sizes, []int{262144, 65536}) {
		t.Errorf("blocks of %d bytes", sizes)
	}
	for _, capture := range []string{"a", "b", "c"} {
		d, err := f.Get(t.Context(), "default", capture, 4711)
		if err != nil || d.Flow.ID != 4711 {
			t.Errorf("%s: flow %d, %v", capture, d.Flow.ID, err)
		}
	}
	sum, err := f.Summary(t.Context(), "default", FlowFilter{})
	if err != nil || sum.Flows != 15000 {
		t.Errorf("%d flows, %v", sum.Flows, err)
	}
}
