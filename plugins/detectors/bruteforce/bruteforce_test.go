package bruteforce

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/bruteforce") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
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

// try is a login of host 10.0.0.from on host 10.0.1.to; flow tells it apart.
type try struct {
	protocol string
	from, to byte
	user     string
	result   string // "success", or the code of a failure
	after    time.Duration
}

func (l try) login(n int, at time.Time) sdk.Login {
	out := sdk.Login{Protocol: l.protocol, User: l.user, Result: "failure", Code: l.result, Method: "X"}
	if l.result == "success" {
		out.Result = l.result
	}
	out.Seen = sdk.Seen{Flow: uint64(n + 1), Packet: uint64(10 * (n + 1)), Time: at, Client: netip.AddrFrom4([4]byte{10, 0, 0, l.from}), Server: netip.AddrFrom4([4]byte{10, 0, 1, l.to}),
		ClientPort: 50000, ServerPort: 1000, Proto: sdk.ProtoTCP}
	return out
}

func inspect(tb testing.TB, d *Detector, tries ...try) *sink {
	tb.Helper()
	s, at := &sink{}, noon
	for i, l := range tries {
		at = at.Add(max(l.after, time.Second))
		if err := d.Inspect(context.Background(), sdk.Batch{Logins: []sdk.Login{l.login(i, at)}}, s); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// find is what the last word on each finding is.
func find(tb testing.TB, d *Detector, tries ...try) (out []sdk.Finding) {
	tb.Helper()
	s := inspect(tb, d, tries...)
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	last := map[string]int{}
	for _, f := range s.findings {
		id := sdk.FindingID(f)
		if i, known := last[id]; known {
			out[i] = f
			continue
		}
		last[id] = len(out)
		out = append(out, f)
	}
	return out
}

func times(n int, one try) []try { return slices.Repeat([]try{one}, n) }

// each makes a try for each number from 0, changed by the caller.
func each(n int, one try, change func(i int, l *try)) (out []try) {
	for i := range n {
		l := one
		change(i, &l)
		out = append(out, l)
	}
	return out
}

func TestVerdicts(t *testing.T) {
	ssh, ftp := try{protocol: "ssh", from: 1, to: 1}, try{protocol: "ftp", from: 1, to: 1, user: "ada", result: "530"}
	in := func(l try) try { l.result = "success"; return l }
	name := func(i int, l *try) { l.user = fmt.Sprint("user", i) }
	host := func(i int, l *try) { l.to = byte(i + 1) }
	from := func(i int, l *try) { l.from = byte(i + 1) }
	slowly := func(l try, d time.Duration) try { l.after = d; return l }
	tests := []struct {
		name  string
		tries []try
		want  []string
	}{
		{"seven failures", times(7, ssh), nil},
		{"eight failures", times(8, ssh), []string{"guessing medium"}},
		{"eight failures, two hours apart, without a name", times(8, slowly(ssh, 2*time.Hour)), []string{"guessing medium"}},
		{"the same with a name, as an old password", times(8, slowly(ftp, 2*time.Hour)), []string{"guessing low"}},
		{"names, two hours apart", each(8, slowly(ftp, 2*time.Hour), name), []string{"spraying medium"}},
		{"a failure a week", times(30, slowly(ssh, 7*24*time.Hour)), nil},
		{"somebody mistypes thrice, five times a day", slices.Repeat(append(times(3, ftp), in(ftp)), 5), nil},
		{"a program that gets in every minute", times(500, slowly(in(ssh), time.Minute)), nil},
		{"an interface that wants to be asked twice", slices.Repeat([]try{{protocol: "http", from: 1, to: 1, user: "a", result: "401"}, {protocol: "http", from: 1, to: 1, user: "a", result: "success"}}, 50), nil},
		{"guesses, and one works", append(times(20, ssh), in(ssh)), []string{"guessing high"}},
		{"guesses, of which one works at another account", append(times(20, ftp), try{protocol: "ftp", from: 1, to: 1, user: "bob", result: "success"}), []string{"guessing high"}},
		{"guesses, and it works at another host", append(times(20, ftp), try{protocol: "ftp", from: 1, to: 2, user: "ada", result: "success"}), []string{"guessing medium"}},
		{"somebody else gets in", append(times(20, ftp), try{protocol: "ftp", from: 2, to: 1, user: "ada", result: "success"}), []string{"guessing medium"}},
		{"its own logins do not hide the guesses at another account", slices.Repeat([]try{ftp, in(try{protocol: "ftp", from: 1, to: 1, user: "bob"})}, 10), []string{"guessing high"}},
		{"eight names", each(8, ftp, name), []string{"spraying medium"}},
		{"eight names of Kerberos that nobody has", each(8, try{protocol: "kerberos", from: 1, to: 1, result: "6"}, name), []string{"spraying medium"}},
		{"one name that nobody has, again and again", times(50, try{protocol: "kerberos", from: 1, to: 1, result: "6", user: "x"}), nil},
		{"one account that is locked, after five guesses", append(times(5, try{protocol: "smb", from: 1, to: 1, result: "0xc000006a", user: "x"}), times(50, try{protocol: "smb", from: 1, to: 1, result: "0xc0000234", user: "x"})...), nil},
		{"Kerberos wants a proof", each(50, try{protocol: "kerberos", from: 1, to: 1, result: "25"}, name), nil},
		{"expired passwords", each(50, try{protocol: "smb", from: 1, to: 1, result: "0xc0000071"}, name), nil},
		{"many passwords of three accounts", slices.Repeat(each(3, ftp, name), 10), []string{"guessing medium"}},
		{"one password on eight hosts", each(8, ssh, host), []string{"spraying medium"}},
		{"four hosts, twice", slices.Repeat(each(4, ssh, host), 2), nil},
		{"nine sources", each(18, ssh, func(i int, l *try) { from(i%9, l) }), nil},
		{"ten sources, twice", each(20, ssh, func(i int, l *try) { from(i%10, l) }), []string{"distributed medium"}},
		{"ten people who get in at last", slices.Repeat(append(each(10, ftp, from), each(10, in(ftp), from)...), 3), nil},
		{"two services of one source are two matters", append(times(5, ssh), times(5, ftp)...), nil},
		{"a protocol without passwords", times(50, try{protocol: "other", from: 1, to: 1}), nil},
	}
	for _, test := range tests {
		var have []string
		for _, f := range find(t, detector(t, "{}"), test.tries...) {
			have = append(have, f.Rule+" "+string(f.Severity))
		}
		if !slices.Equal(have, test.want) {
			t.Errorf("%s: %q, want %q", test.name, have, test.want)
		}
	}
}

func TestFindingTellsWhatHappened(t *testing.T) {
	one := try{protocol: "ftp", from: 1, to: 1, user: "ada", result: "530"}
	found := find(t, detector(t, "{}"), append(times(40, one), try{protocol: "ftp", from: 1, to: 1, user: "ada", result: "success"})...)
	if len(found) != 1 {
		t.Fatalf("%d findings", len(found))
	}
	f := found[0]
	if f.Summary != "10.0.0.1 tried 41 passwords of ada against FTP on 10.0.1.1 within 40s, 1 may have worked" || f.Src != "10.0.0.1" || f.Dst != "10.0.1.1:1000" ||
		!slices.Equal(f.Techniques, []string{"T1110.001"}) || len(f.Packets) != maxPackets || f.Packets[0] != 10 || f.Packets[maxPackets-1] != 410 ||
		len(f.Flows) != maxFlows || f.Flows[maxFlows-1].ID != 41 || f.Confidence != 0.97 || f.Risk != 94 || f.Features["failures"] != 40 || f.Features["worked"] != 1 {
		t.Errorf("%+v", f)
	}
	names := find(t, detector(t, "{}"), each(12, try{protocol: "imap", from: 1, to: 1, result: "NO"}, func(i int, l *try) { l.user = fmt.Sprint("user", i) })...)
	if len(names) != 1 || names[0].Summary != "10.0.0.1 tried 12 names (user0, user1, user2, ...) against IMAP on 10.0.1.1 within 11s, none worked" ||
		!slices.Equal(names[0].Techniques, []string{"T1110.003", "T1110.004"}) {
		t.Errorf("%+v", names)
	}
	hosts := find(t, detector(t, "{}"), each(30, try{protocol: "ssh", from: 1}, func(i int, l *try) { l.to = byte(i) })...)
	if len(hosts) == 0 || hosts[len(hosts)-1].Dst != "10.0.1.0/24" || hosts[len(hosts)-1].Summary != "10.0.0.1 tried 30 passwords against SSH on 30 hosts in 10.0.1.0/24 within 29s, none worked" {
		t.Errorf("%+v", hosts)
	}
}

// A long attack is told as it begins, and each time it has doubled.
func TestAnAttackIsToldAsItGrows(t *testing.T) {
	s := inspect(t, detector(t, "{}"), times(1000, try{protocol: "ssh", from: 1, to: 1})...)
	if len(s.findings) != 7 || sdk.FindingID(s.findings[0]) != sdk.FindingID(s.findings[6]) {
		t.Errorf("%d findings", len(s.findings))
	}
}

// rdp is a connection that asks for a session, and its flow.
func rdpTry(n int, got uint64, long time.Duration) sdk.Batch {
	at := noon.Add(time.Duration(n) * 10 * time.Second)
	src, dst := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.1.1")
	return sdk.Batch{
		Logins: []sdk.Login{{Seen: sdk.Seen{Flow: uint64(n + 1), Packet: uint64(n + 1), Time: at, Client: src, Server: dst, ServerPort: 3389, Proto: 6}, Protocol: "rdp", Method: "RDP"}},
		Flows: []sdk.Flow{{ID: uint64(n + 1), Src: src, Dst: dst, SrcPort: 50000, DstPort: 3389, Proto: 6, Start: at, End: at.Add(long), FwdPayload: 2000, RevPayload: got, App: "tls"},
			{ID: uint64(n + 1000), Src: src, Dst: dst, Proto: 6, Start: at, End: at.Add(long)}},
	}
}

func TestConnectionsTellHowALoginWent(t *testing.T) {
	for _, test := range []struct {
		name  string
		tries []sdk.Batch
		want  string
	}{
		{"refused at the network level", slices.Repeat([]sdk.Batch{rdpTry(0, 3000, time.Second)}, 1), ""},
		{"again and again", rdpTries(10, 3000, time.Second), "medium"},
		{"the screen is left at once", rdpTries(10, 90_000, 3*time.Second), "medium"},
		{"guesses and a session", append(rdpTries(10, 3000, time.Second), rdpTry(10, 3_000_000, time.Minute)), "high"},
		{"sessions", rdpTries(20, 3_000_000, time.Minute), ""},
		{"a look at the port", rdpTries(20, 19, time.Second), ""},
		{"short looks at a screen", rdpTries(20, 90_000, 40*time.Second), ""},
	} {
		d, s := detector(t, "{}"), &sink{}
		for _, b := range test.tries {
			if err := d.Inspect(t.Context(), b, s); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		have := ""
		if n := len(s.findings); n > 0 {
			have = string(s.findings[n-1].Severity)
		}
		if have != test.want {
			t.Errorf("%s: %q, want %q", test.name, have, test.want)
		}
	}
}

func rdpTries(n int, got uint64, long time.Duration) (out []sdk.Batch) {
	for i := range n {
		out = append(out, rdpTry(i, got, long))
	}
	return out
}

func TestCommunities(t *testing.T) {
	guesses := sdk.Flow{ID: 1, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.1.1"), DstPort: 161, Proto: 17, App: "snmp", Start: noon, End: noon.Add(time.Second),
		FwdPackets: 50, FwdLenMin: 68, FwdLenMax: 81, FwdIATMean: 0.02, Packets: []uint64{1}}
	for name, test := range map[string]struct {
		change func(*sdk.Flow)
		want   int
	}{
		"fifty, none right":      {func(*sdk.Flow) {}, 1},
		"one right":              {func(f *sdk.Flow) { f.RevPackets = 1 }, 1},
		"a manager":              {func(f *sdk.Flow) { f.RevPackets = 50 }, 0},
		"a host that is down":    {func(f *sdk.Flow) { f.FwdIATMean = 2 }, 0},
		"the same question":      {func(f *sdk.Flow) { f.FwdLenMax = 68 }, 0},
		"traps":                  {func(f *sdk.Flow) { f.DstPort = 162 }, 0},
		"questions of all kinds": {func(f *sdk.Flow) { f.FwdLenMax = 400 }, 0},
	} {
		d, s, f := detector(t, "{}"), &sink{}, guesses
		test.change(&f)
		if err := d.Inspect(t.Context(), sdk.Batch{Flows: []sdk.Flow{f}}, s); err != nil {
			t.Fatal(err)
		}
		if len(s.findings) != test.want {
			t.Errorf("%s: %+v", name, s.findings)
		}
	}
}

func TestForms(t *testing.T) {
	login := sdk.HTTP{Method: "POST", Target: "/wp-login.php?x=1", RequestType: "application/x-www-form-urlencoded", Status: 200, ContentType: "text/html; charset=UTF-8"}
	for name, test := range map[string]struct {
		change     func(*sdk.HTTP)
		ok, worked bool
	}{
		"the form once more":       {func(*sdk.HTTP) {}, true, false},
		"sent back":                {func(h *sdk.HTTP) { h.Status, h.Location = 302, "https://example.org/Login?error=1" }, true, false},
		"sent to where it was":     {func(h *sdk.HTTP) { h.Target, h.Status, h.Location = "/auth", 303, "/auth" }, true, false},
		"sent on":                  {func(h *sdk.HTTP) { h.Status, h.Location = 302, "/wp-admin/" }, true, true},
		"refused":                  {func(h *sdk.HTTP) { h.Status, h.ContentType = 401, "application/json" }, true, false},
		"slowed down":              {func(h *sdk.HTTP) { h.Status = 429 }, true, false},
		"an answer to a program":   {func(h *sdk.HTTP) { h.RequestType, h.ContentType = "application/json", "application/json" }, true, true},
		"no answer":                {func(h *sdk.HTTP) { h.Status = 0 }, false, false},
		"a broken server":          {func(h *sdk.HTTP) { h.Status = 502 }, false, false},
		"a page":                   {func(h *sdk.HTTP) { h.Method = "GET" }, false, false},
		"another form":             {func(h *sdk.HTTP) { h.Target = "/search" }, false, false},
		"an upload":                {func(h *sdk.HTTP) { h.RequestType = "application/octet-stream" }, false, false},
		"a word in the parameters": {func(h *sdk.HTTP) { h.Target = "/search?q=login" }, false, false},
	} {
		h := login
		test.change(&h)
		if a, ok := form(&h); ok != test.ok || ok && a.worked != test.worked {
			t.Errorf("%s: %v, worked %v", name, ok, a.worked)
		}
	}
}

func TestIgnoredSources(t *testing.T) {
	if found := find(t, detector(t, `{"ignore": ["10.0.0.0/24"]}`), times(50, try{protocol: "ssh", from: 1, to: 1})...); len(found) > 0 {
		t.Error(found)
	}
	d := &Detector{cfg: Config{Ignore: []string{"nobody"}}}
	if d.Start(t.Context(), nil) == nil {
		t.Error("nonsense was taken")
	}
}

// What must go to make room is told before, and counted.
func TestMemoryIsBounded(t *testing.T) {
	d := detector(t, `{"max_sources": 16, "max_accounts": 256}`)
	var tries []try
	for i := range 200 {
		tries = append(tries, each(10, try{protocol: "ftp", from: byte(i), result: "530"}, func(n int, l *try) { l.user, l.to = fmt.Sprint(i*n), byte(n) })...)
	}
	s := inspect(t, d, tries...)
	m := &d.memory
	if len(m.sources) > 16 || len(m.accounts) > 256 || m.quiet.Len() != len(m.sources) || m.forgotten == 0 {
		t.Errorf("%d sources, %d accounts, %d forgotten", len(m.sources), len(m.accounts), m.forgotten)
	}
	if len(s.findings) < 200 {
		t.Errorf("%d findings", len(s.findings))
	}
	if err := d.Flush(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func TestVictimsGoWithTheirSources(t *testing.T) {
	d := detector(t, "{}")
	inspect(t, d, each(200, try{protocol: "ssh"}, func(i int, l *try) { l.from, l.to = byte(i), byte(i%7) })...)
	for _, s := range d.memory.inOrder() {
		d.memory.remove(s)
	}
	if m := &d.memory; len(m.sources)+len(m.victims)+len(m.accounts)+m.quiet.Len() > 0 {
		t.Errorf("%+v", m)
	}
}

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	for name, change := range map[string]func(i int, l *sdk.Login){
		"each from a source of its own": func(i int, l *sdk.Login) { l.Client = heap.Addr(10, i) },
		"names of one source": func(i int, l *sdk.Login) {
			l.Client = heap.Addr(10, 1)
			l.User = fmt.Sprint(strings.Repeat("x", 200), i)
		},
		"sources with sixty hosts each":  func(i int, l *sdk.Login) { l.Client, l.Server = heap.Addr(10, i/60), heap.Addr(20, i) },
		"connections that never end":     func(i int, l *sdk.Login) { l.Protocol, l.Result, l.Flow = "rdp", "", uint64(i+1) },
		"sources with sixty names each":  func(i int, l *sdk.Login) { l.Client, l.User = heap.Addr(10, i/60), fmt.Sprint(i) },
		"everybody against one of a few": func(i int, l *sdk.Login) { l.Client, l.Server = heap.Addr(10, i), heap.Addr(20, i%5) },
	} {
		t.Run(name, func(t *testing.T) {
			d, s := detector(t, "{}"), &sink{}
			heap.Check(t, 300_000, func(int, *sdk.Flow) {}, func(b sdk.Batch) error {
				for i := range b.Flows {
					l := try{protocol: "ftp", result: "530"}.login(int(b.Flows[i].ID), b.Flows[i].Start)
					change(int(b.Flows[i].ID), &l)
					if err := d.Inspect(t.Context(), sdk.Batch{Logins: []sdk.Login{l}}, s); err != nil {
						return err
					}
				}
				s.findings = nil
				return nil
			})
			runtime.KeepAlive(d)
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	flows := sdktest.SampleFlows()
	d := detector(b, "{}")
	for b.Loop() {
		_ = d.Inspect(context.Background(), sdk.Batch{Flows: flows}, &sink{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(flows)), "ns/flow")
}

func BenchmarkLogins(b *testing.B) {
	var logins []sdk.Login
	for i := range 1024 {
		logins = append(logins, try{protocol: "ftp", from: byte(i % 50), to: byte(i % 3), user: fmt.Sprint(i % 9), result: "530"}.login(i, noon.Add(time.Duration(i)*time.Millisecond)))
	}
	d := detector(b, "{}")
	for b.Loop() {
		_ = d.Inspect(context.Background(), sdk.Batch{Logins: logins}, &sink{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(logins)), "ns/login")
}
