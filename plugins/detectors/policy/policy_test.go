package policy

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/policy") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

// No secret of the captures is in what is told of them.
func TestNoSecretIsTold(t *testing.T) {
	files, err := filepath.Glob("testdata/*/want.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if told, err := os.ReadFile(file); err != nil || strings.Contains(string(told), "hunter2") || strings.Contains(string(told), "not for everybody") {
			t.Errorf("%s tells a secret (%v)", file, err)
		}
	}
}

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

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

func inspect(tb testing.TB, d *Detector, s *sink, batches ...sdk.Batch) *sink {
	tb.Helper()
	for _, b := range batches {
		if err := d.Inspect(context.Background(), b, s); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func seen(client, server byte, port uint16, after time.Duration) sdk.Seen {
	return sdk.Seen{Flow: uint64(client)<<8 | uint64(server), Packet: uint64(after/time.Second) + 1, Time: noon.Add(after), Client: host(client), Server: host(server), ClientPort: 40000, ServerPort: port, Proto: sdk.ProtoTCP}
}

func login(client byte, after time.Duration, protocol, user, method string) sdk.Batch {
	return sdk.Batch{Logins: []sdk.Login{{Seen: seen(client, 20, 80, after), Protocol: protocol, User: user, Method: method, Clear: true}}}
}

func message(protocol, name string, server bool, fields map[string]string) sdk.Batch {
	m := sdk.Message{Seen: seen(5, 20, 161, 0), Protocol: protocol, Name: name, Response: server, Fields: fields}
	m.FromServer = server
	return sdk.Batch{Messages: []sdk.Message{m}}
}

func flow(from, to uint16, app string, answer uint64) sdk.Batch {
	return sdk.Batch{Flows: []sdk.Flow{{ID: 1, Start: noon, Src: host(5), Dst: host(20), SrcPort: from, DstPort: to, Proto: sdk.ProtoTCP, FwdPayload: 10, RevPayload: answer, App: app, Packets: []uint64{3}}}}
}

func TestKinds(t *testing.T) {
	smb := func(version uint8, name string, response bool) sdk.Batch {
		return sdk.Batch{SMB: []sdk.SMB{{Seen: seen(5, 20, 445, 0), Version: version, Name: name, Response: response}}}
	}
	handshake := func(outside bool, port uint16, name string) sdk.Batch {
		r := sdk.TLS{Seen: seen(5, 20, port, 0), ServerName: name}
		if outside {
			r.Server = netip.MustParseAddr("203.0.113.53")
		}
		return sdk.Batch{TLS: []sdk.TLS{r}}
	}
	hidden := login(5, 0, "http", "ada", "DIGEST")
	hidden.Logins[0].Clear = false
	for name, c := range map[string]struct {
		batch  sdk.Batch
		config string
		want   string
	}{
		"HTTP Basic":              {login(5, 0, "http", "ada", "BASIC"), "", "low 10.0.0.20:80 takes passwords that everybody on the way can read: HTTP Basic (ada)"},
		"a token":                 {login(5, 0, "http2", "", "BEARER"), "", "low 10.0.0.20:80 takes passwords that everybody on the way can read: HTTP with a token"},
		"something new":           {login(5, 0, "nntp", "ada", "PASS"), "", "low 10.0.0.20:80 takes passwords that everybody on the way can read: another protocol (ada)"},
		"nothing to read":         {hidden, "", ""},
		"everybody's":             {login(5, 0, "ftp", "Anonymous", "PASS"), "", ""},
		"ntlm 1":                  {sdk.Batch{SMB: []sdk.SMB{{Seen: seen(5, 20, 445, 0), Version: 2, Name: "session-setup", User: "ada", NTLM: 1}}}, "", "low 10.0.0.20:445 takes logons with NTLM of version 1 (ada)"},
		"ntlm 2":                  {sdk.Batch{SMB: []sdk.SMB{{Seen: seen(5, 20, 445, 0), Version: 2, Name: "session-setup", User: "ada", NTLM: 2}}}, "", ""},
		"not wanted":              {login(5, 0, "ftp", "ada", "PASS"), `{"kinds": ["smb1"]}`, ""},
		"a client that may":       {login(5, 0, "ftp", "ada", "PASS"), `{"clients": ["10.0.0.5/32"]}`, ""},
		"a server where all may":  {login(5, 0, "ftp", "ada", "PASS"), `{"servers": ["10.0.0.16/28"]}`, ""},
		"SNMP 1":                  {message("snmp", "response", true, map[string]string{"version": "1"}), "", "info 10.0.0.20:161 answers SNMP in the clear: version 1"},
		"SNMP 2c, public":         {message("snmp", "response", true, map[string]string{"version": "2", "community": "public"}), "", `low 10.0.0.20:161 answers SNMP in the clear: version 2c, community "public"`},
		"SNMP 3":                  {message("snmp", "report", true, map[string]string{"version": "3"}), "", ""},
		"a question of SNMP":      {message("snmp", "get", false, map[string]string{"version": "1", "community": "public"}), "", ""},
		"SSH 1":                   {message("ssh", "banner", true, map[string]string{"version": "1.5"}), "", "low 10.0.0.20:161 speaks SSH of version 1"},
		"SSH 1 or 2":              {message("ssh", "banner", true, map[string]string{"version": "1.99"}), "", ""},
		"SSH 1 of a client":       {message("ssh", "banner", false, map[string]string{"version": "1.5"}), "", ""},
		"SMB 1":                   {smb(1, "session-setup", true), "", "low 10.0.0.20:445 takes sessions of SMB 1"},
		"SMB 1 that is asked for": {smb(1, "negotiate", false), "", ""},
		"SMB 2":                   {smb(2, "session-setup", true), "", ""},
		"Telnet":                  {flow(40000, 2323, "telnet", 10), "", "info 10.0.0.20:2323 speaks Telnet"},
		"Telnet, no answer":       {flow(40000, 23, "telnet", 0), "", ""},
		"rlogin":                  {flow(1021, 513, "", 10), "", "low 10.0.0.20:513 speaks: rlogin"},
		"rsh":                     {flow(1021, 514, "", 10), "", "low 10.0.0.20:514 speaks: rsh"},
		"syslog":                  {flow(40000, 514, "", 10), "", ""},
		"TLS on a port of rsh":    {flow(1021, 514, "tls", 10), "", ""},
		"DNS over TLS, unwanted":  {handshake(true, 853, ""), "", ""},
		"DNS over TLS":            {handshake(true, 853, ""), `{"kinds": ["encrypted-dns"]}`, "info 203.0.113.53:853 is asked for names in secret: DNS over TLS"},
		"DNS over HTTPS":          {handshake(true, 443, "DNS.google"), `{"kinds": ["encrypted-dns"]}`, "info 203.0.113.53:443 is asked for names in secret: a public resolver over HTTPS (DNS.google)"},
		"an own resolver":         {handshake(false, 853, ""), `{"kinds": ["encrypted-dns"]}`, ""},
		"a page":                  {handshake(true, 443, "www.google.com"), `{"kinds": ["encrypted-dns"]}`, ""},
	} {
		if c.config == "" {
			c.config = "{}"
		}
		have := ""
		for _, f := range inspect(t, detector(t, c.config), &sink{}, c.batch).findings {
			have += string(f.Severity) + " " + f.Summary
		}
		if have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Clients: []string{"x"}}, {Servers: []string{"x"}}} {
		if err := (&Detector{cfg: cfg}).Start(t.Context(), nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	if err := config.Decode([]byte(`{"kinds": ["everything"]}`), (&Detector{}).Config()); err == nil {
		t.Error("a kind that does not exist was taken")
	}
}

// all is something of each kind, and some of it again.
func all() (out []sdk.Batch) {
	for i := range 12 {
		out = append(out, login(byte(i), time.Duration(i)*time.Second, []string{"ftp", "http", "imap"}[i%3], fmt.Sprint("user", i), "BASIC"))
	}
	return append(out, flow(1021, 513, "", 10), flow(40000, 23, "telnet", 9), message("snmp", "response", true, map[string]string{"version": "1", "community": "public"}),
		message("ssh", "banner", true, map[string]string{"version": "1.5"}), login(5, 30*time.Hour, "ftp", "ada", "PASS"))
}

// A state that is taken over in the middle changes nothing.
func TestAStateIsRestored(t *testing.T) {
	list, whole, want := all(), detector(t, "{}"), &sink{}
	inspect(t, whole, want, list...)
	if err := whole.Flush(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if len(want.findings) != 9 { // three protocols, the rest of the day, four kinds, the next day
		t.Fatalf("%d findings: %+v", len(want.findings), want.findings)
	}
	for cut := range list {
		first, second, parts := detector(t, "{}"), detector(t, "{}"), &sink{}
		inspect(t, first, parts, list[:cut]...)
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, first, second)
		if detector(t, "{}").Restore(t.Context(), slices.Clone(state[:len(state)-1])) == nil {
			t.Fatal("a state that was cut is taken")
		}
		inspect(t, second, parts, list[cut:]...)
		if err := second.Flush(t.Context(), parts); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parts.findings, want.findings) {
			t.Fatalf("cut at %d:\n%+v\nwant\n%+v", cut, parts.findings, want.findings)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	inspect(f, d, &sink{}, all()...)
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		whole := saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...)) // or the checksum refuses nearly all
		for _, state := range [][]byte{state, whole} {
			d := detector(t, "{}")
			if d.Restore(context.Background(), state) != nil {
				continue
			}
			savedtest.HandsOn(t, d, detector(t, "{}"))
			inspect(t, d, &sink{}, all()...)
		}
	})
}

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	for name, change := range map[string]func(i int, r *sdk.Login){
		"logins everywhere":         func(i int, r *sdk.Login) { r.Server = heap.Addr(20, i/40) },
		"many clients of one place": func(i int, r *sdk.Login) { r.Client = heap.Addr(10, i) },
	} {
		t.Run(name, func(t *testing.T) {
			d, s, n := detector(t, "{}"), &sink{}, 0
			heap.Check(t, 600_000, func(int, *sdk.Flow) {}, func(b sdk.Batch) error {
				for range b.Flows {
					one := login(5, 0, "http", fmt.Sprintf("%0250d", n), "BASIC")
					r := &one.Logins[0]
					r.Flow, r.Client = uint64(n+1), heap.Addr(10, n)
					change(n, r)
					if err := d.Inspect(t.Context(), one, s); err != nil {
						return err
					}
					n++
				}
				s.findings = nil
				return nil
			})
			if d.issues.Len() == 0 {
				t.Error("nothing was remembered")
			}
		})
	}
}

// TestSharedCaptures asks for nothing above low in any capture: these are statements, not alarms.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.findings {
			t.Logf("%s %s risk %d, %v times: %s", f.Severity, f.Rule, f.Risk, f.Features["times"], f.Summary)
			if f.Severity.Rank() > sdk.SeverityLow.Rank() {
				t.Errorf("an alarm: %s", f.Summary)
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	batch := sdk.Batch{}
	for i := range 1024 {
		batch.Messages = append(batch.Messages, message([]string{"snmp", "ntp", "dcerpc", "kerberos"}[i%4], "call", false, nil).Messages...)
		batch.Flows = append(batch.Flows, flow(40000, 443, "tls", 10).Flows...)
	}
	d := detector(b, "{}")
	b.ReportAllocs()
	for b.Loop() {
		_ = d.Inspect(context.Background(), batch, &sink{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(2*len(batch.Messages)), "ns/record")
}
