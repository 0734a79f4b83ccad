package lateral

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/lateral") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// final is the last word on each finding.
func (s *sink) final() (out []sdk.Finding) {
	place := map[string]int{}
	for _, f := range s.findings {
		id := sdk.FindingID(f)
		if i, known := place[id]; known {
			out[i] = f
			continue
		}
		place[id] = len(out)
		out = append(out, f)
	}
	return out
}

// detector starts one with a configuration.
func detector(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(text), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

func seen(from, to byte, after time.Duration) sdk.Seen {
	at := noon.Add(after)
	return sdk.Seen{Flow: uint64(from)<<8 | uint64(to), Packet: uint64(after/time.Second) + 1, Time: at, Client: host(from), Server: host(to), ClientPort: 50000, ServerPort: 445, Proto: sdk.ProtoTCP}
}

// Who is bound over TCP without a proof does nothing, whatever is called; in a pipe the session proves it.
func TestCallsWithoutAProof(t *testing.T) {
	bind := func(fields map[string]string) sdk.Batch {
		m := sdk.Message{Seen: seen(5, 20, 0), Protocol: "dcerpc", Name: "bind", Text: svcctl, Fields: fields}
		return sdk.Batch{Messages: []sdk.Message{m}}
	}
	for name, c := range map[string]struct {
		fields map[string]string
		want   int
	}{
		"no proof": {map[string]string{"interface": svcctl}, 0}, "proof": {map[string]string{"auth": "10"}, 1}, "pipe": {map[string]string{"pipe": "svcctl"}, 1},
	} {
		s := &sink{}
		d := detector(t, "{}")
		for _, b := range []sdk.Batch{bind(c.fields), rpcCall(5, 20, time.Second, svcctl, 12)} {
			if err := d.Inspect(t.Context(), b, s); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.findings) != c.want {
			t.Errorf("%s: %+v", name, s.findings)
		}
	}
}

func rpcCall(from, to byte, after time.Duration, uuid string, operation int) sdk.Batch {
	m := sdk.Message{Seen: seen(from, to, after), Protocol: "dcerpc", Name: "call", Text: uuid, Fields: map[string]string{"interface": uuid}}
	if operation > 0 {
		m.Fields["operation"] = strconv.Itoa(operation)
	}
	return sdk.Batch{Messages: []sdk.Message{m}}
}

func message(from, to byte, after time.Duration, protocol, name string, fields map[string]string) sdk.Batch {
	return sdk.Batch{Messages: []sdk.Message{{Seen: seen(from, to, after), Protocol: protocol, Name: name, Fields: fields}}}
}

func ask(from byte, after time.Duration, service, ticket, wanted string) []sdk.Batch {
	return []sdk.Batch{message(from, 1, after, "kerberos", "tgs-req", map[string]string{"encryptions": wanted, "service": service}),
		message(from, 1, after, "kerberos", "tgs-rep", map[string]string{"ticket": ticket, "service": service})}
}

func inspect(tb testing.TB, d *Detector, s *sink, batches ...sdk.Batch) *sink {
	tb.Helper()
	for _, b := range batches {
		if err := d.Inspect(context.Background(), b, s); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func find(tb testing.TB, d *Detector, batches ...sdk.Batch) []sdk.Finding {
	tb.Helper()
	s := inspect(tb, d, &sink{}, batches...)
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	return s.final()
}

func TestCalls(t *testing.T) {
	for _, test := range []struct {
		name, uuid string
		operation  int
		want       string
	}{
		{"CreateServiceW", svcctl, 12, "service-made"}, {"CreateServiceWOW64W", svcctl, 45, "service-made"}, {"OpenSCManagerW", svcctl, 15, ""},
		{"StartServiceW of one that is there", svcctl, 19, ""}, {"NetrJobAdd", atsvc, 0, "task-made"}, {"NetrJobEnum", atsvc, 2, ""},
		{"SchRpcRegisterTask", scheduler, 1, "task-made"}, {"ExecMethod", wbem, 24, "wmi"}, {"ExecQuery", wbem, 20, ""}, {"Invoke", dispatch, 6, "dcom"},
		{"BaseRegSaveKey", winreg, 20, "registry-saved"}, {"BaseRegQueryValue", winreg, 17, ""}, {"DRSGetNCChanges", drsuapi, 3, "dcsync"},
		{"DRSCrackNames", drsuapi, 12, ""}, {"EfsRpcOpenFileRaw", efsrpc, 0, "coercion"}, {"NetrDfsAddStdRoot", netdfs, 12, "coercion"}, {"another interface", "x", 12, ""},
	} {
		have := ""
		for _, f := range find(t, detector(t, "{}"), rpcCall(66, 1, 0, test.uuid, test.operation)) {
			have += f.Rule
		}
		if have != test.want {
			t.Errorf("%s: %q, want %q", test.name, have, test.want)
		}
	}
}

func TestWhoMay(t *testing.T) {
	replicate := rpcCall(66, 1, time.Minute, drsuapi, 3)
	for name, test := range map[string]struct {
		config string
		before []sdk.Batch
		want   int
	}{
		"anybody":                              {"{}", nil, 1},
		"a domain controller by configuration": {`{"domain_controllers": ["10.0.0.66/32"]}`, nil, 0},
		"a domain controller by its tickets":   {"{}", []sdk.Batch{message(7, 66, 0, "kerberos", "as-rep", nil)}, 0},
		"who only asks for tickets":            {"{}", []sdk.Batch{message(66, 7, 0, "kerberos", "as-rep", nil)}, 1},
		"an administrator":                     {`{"administrators": ["10.0.0.66/32"]}`, nil, 0},
	} {
		if found := find(t, detector(t, test.config), append(test.before, replicate)...); len(found) != test.want {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// Where it was not captured to what a client was bound, the operations tell of replication, when there are no others.
func TestReplicationWithoutItsBeginning(t *testing.T) {
	for name, test := range map[string]struct {
		operations []int
		want       int
	}{
		"names, controllers, secrets": {[]int{0, 16, 12, 0, 3, 1}, 1}, "no secrets": {[]int{0, 16, 12, 1}, 0}, "no names": {[]int{0, 16, 3}, 0},
		"another interface": {[]int{0, 15, 16, 12, 3}, 0},
	} {
		var batches []sdk.Batch
		for _, o := range test.operations {
			batches = append(batches, rpcCall(66, 1, 0, "", o))
		}
		if found := find(t, detector(t, "{}"), batches...); len(found) != test.want {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestTickets(t *testing.T) {
	many := func(n int, pause time.Duration, service, wanted string) (out []sdk.Batch) {
		for i := range n {
			out = append(out, ask(66, time.Duration(i)*pause, fmt.Sprint(service, i), "23", wanted)...)
		}
		return out
	}
	for name, test := range map[string]struct {
		batches []sdk.Batch
		want    string
	}{
		"one, asked for":                      {ask(66, 0, "MSSQLSvc/db", "23", "23"), "medium"},
		"one, asked for before others":        {ask(66, 0, "MSSQLSvc/db", "23", "23, 16, 3"), "medium"},
		"three, asked for":                    {many(3, time.Second, "MSSQLSvc/db", "23"), "high"},
		"asked for, but the answer is better": {ask(66, 0, "MSSQLSvc/db", "18", "23"), ""},
		"of a machine, asked for":             {ask(66, 0, "cifs/nas", "23", "23"), ""},
		"of a machine's account":              {ask(66, 0, "NAS$", "23", "23"), ""},
		"of the domain":                       {ask(66, 0, "krbtgt/X", "23", "23"), ""},
		"four of old services":                {many(4, time.Second, "HTTP/", "18, 17, 23"), ""},
		"five of old services":                {many(5, time.Second, "HTTP/", "18, 17, 23"), "medium"},
		"the same one, often":                 {slices.Repeat(ask(66, 0, "HTTP/a", "23", "18, 17, 23"), 20), ""},
		"many of old services over the day":   {many(30, 11*time.Minute, "HTTP/", "18, 17, 23"), ""},
	} {
		have := ""
		for _, f := range find(t, detector(t, "{}"), test.batches...) {
			have = string(f.Severity)
		}
		if have != test.want {
			t.Errorf("%s: %q, want %q", name, have, test.want)
		}
	}
}

// A weak ticket in a domain that can do better is low, once for a service.
func TestWeakTickets(t *testing.T) {
	const offered = "18, 17, 23"
	aes := func(name string) sdk.Batch {
		return message(66, 1, 0, "kerberos", name, map[string]string{"ticket": "18", "service": "krbtgt/X"})
	}
	for name, test := range map[string]struct {
		batches []sdk.Batch
		want    int
	}{
		"where the first ticket is AES":     {append([]sdk.Batch{aes("as-rep")}, ask(66, time.Second, "MSSQLSvc/db", "23", offered)...), 1},
		"where others are AES":              {append([]sdk.Batch{aes("tgs-rep")}, ask(67, time.Second, "MSSQLSvc/db", "23", offered)...), 1},
		"where nothing is known of AES":     {ask(66, time.Second, "MSSQLSvc/db", "23", offered), 0},
		"with AES":                          {append([]sdk.Batch{aes("as-rep")}, ask(66, time.Second, "MSSQLSvc/db", "18", offered)...), 0},
		"of a machine":                      {append([]sdk.Batch{aes("as-rep")}, ask(66, time.Second, "cifs/nas", "23", offered)...), 0},
		"for the same service by two hosts": {append(append([]sdk.Batch{aes("as-rep")}, ask(66, time.Second, "HTTP/a", "23", offered)...), ask(67, time.Hour, "HTTP/a", "23", offered)...), 1},
		"for two services":                  {append(append([]sdk.Batch{aes("as-rep")}, ask(66, time.Second, "HTTP/a", "23", offered)...), ask(66, time.Hour, "HTTP/b", "23", offered)...), 2},
	} {
		got := find(t, detector(t, "{}"), test.batches...)
		if len(got) != test.want || slices.ContainsFunc(got, func(f sdk.Finding) bool { return f.Rule != weakTicket.ID || f.Severity != sdk.SeverityLow }) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	asked := find(t, detector(t, "{}"), append([]sdk.Batch{aes("as-rep")}, ask(66, time.Second, "MSSQLSvc/db", "23", "23")...)...)
	if len(asked) != 1 || asked[0].Rule != "kerberoast" {
		t.Errorf("asked for: %+v", asked)
	}
}

func TestNewPairs(t *testing.T) {
	week := 8 * 24 * time.Hour
	ssh := func(from, to byte, after time.Duration) sdk.Batch {
		return message(from, to, after, "ssh", "banner", nil)
	}
	for name, test := range map[string]struct {
		batches []sdk.Batch
		want    []string
	}{
		"while it learns":         {[]sdk.Batch{ssh(1, 2, 0), ssh(3, 4, time.Hour)}, nil},
		"a usual one":             {[]sdk.Batch{ssh(1, 2, 0), ssh(1, 2, week)}, nil},
		"a new one":               {[]sdk.Batch{ssh(1, 2, 0), ssh(1, 3, week), ssh(1, 3, week+time.Hour)}, []string{"new-pair T1021.004"}},
		"RDP where SSH is usual":  {[]sdk.Batch{ssh(1, 2, 0), message(1, 2, week, "rdp", "request", nil)}, []string{"new-pair T1021.001"}},
		"WMI after services":      {[]sdk.Batch{rpcCall(1, 2, 0, svcctl, 12), rpcCall(1, 2, week, wbem, 24)}, []string{"service-made T1569.002", "wmi T1047"}},
		"a service somewhere new": {[]sdk.Batch{ssh(1, 2, 0), rpcCall(1, 2, week, svcctl, 12)}, []string{"new-pair T1021.002", "service-made T1569.002"}},
	} {
		var have []string
		for _, f := range find(t, detector(t, "{}"), test.batches...) {
			have = append(have, f.Rule+" "+f.Techniques[0])
		}
		if !slices.Equal(have, test.want) {
			t.Errorf("%s: %q, want %q", name, have, test.want)
		}
	}
	outside := ssh(1, 2, week)
	outside.Messages[0].Server = netip.MustParseAddr("198.51.100.1")
	if found := find(t, detector(t, "{}"), ssh(1, 2, 0), outside); len(found) > 0 {
		t.Errorf("outside: %+v", found)
	}
}

func TestFindingTellsWhatHappened(t *testing.T) {
	d, s := detector(t, "{}"), &sink{}
	open := sdk.SMB{Seen: seen(66, 20, 0), Name: "tree-connect", MessageID: 1, Share: `\\server\ADMIN$`}
	opened := sdk.SMB{Seen: seen(66, 20, time.Second), Name: "tree-connect", MessageID: 1, Response: true, Tree: 5}
	write := sdk.SMB{Seen: seen(66, 20, 2*time.Second), Name: "create", MessageID: 2, Tree: 5, File: "a.exe", Access: 2}
	written := sdk.SMB{Seen: seen(66, 20, 3*time.Second), Name: "create", MessageID: 2, Response: true, Tree: 5}
	batch := sdk.Batch{SMB: []sdk.SMB{open, opened, write, written}}
	// The call may be told before the copy: records of two kinds come in batches of their own.
	for _, batches := range [][]sdk.Batch{{batch, rpcCall(66, 20, 4*time.Second, svcctl, 12)}, {rpcCall(66, 20, 4*time.Second, svcctl, 12), batch}} {
		s = &sink{}
		inspect(t, d, s, batches...)
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		found := s.final()
		slices.SortFunc(found, func(a, b sdk.Finding) int { return a.Start.Compare(b.Start) })
		if len(found) != 2 || found[0].Summary != "10.0.0.66 copied a program to an administrators' share of 10.0.0.20: a.exe" || found[0].Severity != sdk.SeverityMedium ||
			found[1].Summary != "10.0.0.66 made or changed a service on 10.0.0.20, where it copied a program to" || found[1].Severity != sdk.SeverityHigh || found[1].Risk != 85 ||
			found[1].Confidence != 0.9 || !slices.Equal(found[1].Packets, []uint64{5}) || len(found[1].Flows) != 1 || found[1].Flows[0].Dst != "10.0.0.20:445" {
			t.Errorf("%+v", found)
		}
	}
}

func TestAHostThatSpreads(t *testing.T) {
	var batches []sdk.Batch
	for i := range byte(20) {
		batches = append(batches, rpcCall(66, 100+i, time.Duration(i)*time.Minute, svcctl, 12))
	}
	count := 0
	for _, f := range inspect(t, detector(t, "{}"), &sink{}, batches...).findings {
		if f.Rule == "spreading" {
			count++
			if f.Severity != sdk.SeverityHigh || f.Src != "10.0.0.66" || f.Features["hosts"] < 5 {
				t.Errorf("%+v", f)
			}
		}
	}
	if count != 3 {
		t.Errorf("told %d times", count)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Administrators: []string{"x"}}, {DomainControllers: []string{"x"}}, {Internal: []string{"x"}}} {
		if err := (&Detector{cfg: cfg}).Start(t.Context(), nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	for name, make := range map[string]func(i int) sdk.Batch{
		"services everywhere": func(i int) sdk.Batch {
			b := rpcCall(1, 2, time.Duration(i)*time.Millisecond, svcctl, 12)
			b.Messages[0].Client, b.Messages[0].Server = heap.Addr(10, i), heap.Addr(20, i)
			return b
		},
		"tickets for everybody": func(i int) sdk.Batch {
			b := message(1, 2, time.Duration(i)*time.Millisecond, "kerberos", "tgs-rep", map[string]string{"ticket": "23", "service": fmt.Sprint("HTTP/", i)})
			b.Messages[0].Client, b.Messages[0].Server = heap.Addr(10, i/70), heap.Addr(20, i)
			return b
		},
		"connections that never end": func(i int) sdk.Batch {
			open := sdk.SMB{Seen: seen(1, 2, 0), Name: "tree-connect", Share: `\\server\ADMIN$`}
			open.Flow = uint64(i + 1)
			return sdk.Batch{SMB: []sdk.SMB{open}}
		},
		"programs with long names": func(i int) sdk.Batch {
			s := seen(1, 2, time.Duration(i)*time.Millisecond)
			s.Flow, s.Client, s.Server = uint64(i+1), heap.Addr(10, i/5), heap.Addr(20, i/5)
			name := fmt.Sprintf("%0900d.exe", i)
			return sdk.Batch{SMB: []sdk.SMB{
				{Seen: s, Name: "tree-connect", Share: `\\s\C$`}, {Seen: s, Name: "tree-connect", Response: true, Tree: 1},
				{Seen: s, Name: "create", Tree: 1, Access: 2, File: name}, {Seen: s, Name: "create", Tree: 1, Response: true},
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, s, n := detector(t, "{}"), &sink{}, 0
			heap.Check(t, 200_000, func(int, *sdk.Flow) {}, func(b sdk.Batch) error {
				for range b.Flows {
					if err := d.Inspect(t.Context(), make(n), s); err != nil {
						return err
					}
					n++
				}
				s.findings = nil
				return nil
			})
			runtime.KeepAlive(d)
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	batch := sdk.Batch{}
	for i := range 1024 {
		one := message(byte(i), 1, time.Duration(i)*time.Millisecond, []string{"snmp", "ntp", "dcerpc", "kerberos"}[i%4], "call", map[string]string{})
		batch.Messages = append(batch.Messages, one.Messages...)
	}
	d := detector(b, "{}")
	for b.Loop() {
		_ = d.Inspect(context.Background(), batch, &sink{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch.Messages)), "ns/message")
}
