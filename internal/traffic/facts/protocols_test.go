package facts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/all"
	"github.com/picketwatch/picket/internal/traffic/link"
	"github.com/picketwatch/picket/sdk"
)

// recogniseOnly are the protocols that say nothing.
var recogniseOnly = []string{"bittorrent", "cip-io", "dtls", "http3", "irc", "monero", "stratum"}

// Every parser's facts come through, as a kind that says what they are.
func TestEveryProtocolHasAKind(t *testing.T) {
	singles := map[string]bool{}
	for _, p := range link.Protocols() {
		singles[p.Name] = true
	}
	known := map[string]bool{}
	for _, p := range all.Protocols() {
		known[p.Name] = true
		parses := p.NewStream != nil || p.NewDatagram != nil || singles[p.Name]
		if !parses && !slices.Contains(recogniseOnly, p.Name) {
			t.Errorf("%s is recognised only, and is not listed as such", p.Name)
		}
		var kinds []string
		for _, kind := range sdk.FactKinds {
			if needs(kind, p.Name) {
				kinds = append(kinds, kind)
			}
		}
		if len(kinds) == 0 {
			t.Errorf("%s has no kind", p.Name)
		}
		if slices.Contains(kinds, sdk.FactsMessages) && (slices.Contains(kinds, sdk.FactsDNS) || slices.Contains(kinds, sdk.FactsOT)) {
			t.Errorf("%s says everything twice: %q", p.Name, kinds)
		}
	}
	for kind, list := range sources {
		for _, name := range list {
			if !known[name] && !slices.Contains(recogniseOnly, name) {
				t.Errorf("%s names the protocol %s, which is not there", kind, name)
			}
		}
	}
}

// A parser that knows of logins runs when they are wanted.
func TestEveryLoginIsFound(t *testing.T) {
	parsers, err := filepath.Glob("../app/*/*.go")
	if err != nil || len(parsers) < 50 {
		t.Fatalf("%d files, %v", len(parsers), err)
	}
	for _, path := range parsers {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(path))
		if strings.Contains(string(text), "login.Attempt") && !strings.HasSuffix(path, "_test.go") && name != "login" && !needs(sdk.FactsLogins, name) {
			t.Errorf("%s tells of logins, and does not run for them", name)
		}
	}
}

// Nobody pays for what nobody asked for.
func TestOnlyWantedParsersRun(t *testing.T) {
	for kind, want := range map[string]int{"": 0, sdk.FactsDNS: 3, sdk.FactsSMB: 1, sdk.FactsFiles: 6, sdk.FactsContents: 6} {
		var kinds []string
		if kind != "" {
			kinds = []string{kind}
		}
		m, err := New(Config{Kinds: kinds})
		if err != nil {
			t.Fatal(err)
		}
		if have := len(m.sinks()); have != want {
			t.Errorf("for %q %d parsers run, want %d", kind, have, want)
		}
	}
	if _, err := New(Config{Kinds: []string{"gossip"}}); err == nil || !strings.Contains(err.Error(), "gossip") {
		t.Errorf("an unknown kind: %v", err)
	}
}

// What all shared captures hold comes through: each fact that a parser tells is a record, or a part of one.
func TestSharedCaptures(t *testing.T) {
	if testing.Short() {
		t.Skip("reads all shared captures")
	}
	files, err := filepath.Glob("../../../../shared/pcaps/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Skip("no shared captures at ../shared/pcaps")
	}
	said, told := map[string]int{}, map[string]int{}
	for _, file := range files {
		ordered(t, file, said, told)
	}
	for name, n := range said {
		if told[name] == 0 {
			t.Errorf("%d facts of %s became no record", n, name)
		}
	}
}

// ordered checks the order of a capture's records and counts them by protocol, and the facts that they are made of.
func ordered(t *testing.T, path string, said, told map[string]int) {
	t.Helper()
	closed := map[uint64]bool{}
	var m *Maker
	m, err := New(Config{Kinds: sdk.FactKinds, Emit: Batches(func(kind string, b *sdk.Batch) error {
		heads(b, func(s *sdk.Seen, protocol string) {
			told[protocol]++
			if s.Flow != 0 && closed[s.Flow] {
				t.Errorf("%s: a fact of %s comes after its flow %d", filepath.Base(path), protocol, s.Flow)
			}
			if s.Packet == 0 || s.Time.IsZero() {
				t.Errorf("%s: a fact of %s was seen nowhere", filepath.Base(path), protocol)
			}
		})
		return nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	m.heard = func(f *app.Fact) { said[strings.TrimSuffix(f.Protocol, "-data")]++ } // files of FTP are told as such
	sum := analyse(t, m, path, func(flows []sdk.Flow) error {
		for i := range flows {
			closed[flows[i].ID] = true
		}
		return nil
	})
	if n := len(m.handshakes.by) + len(m.exchanges.by) + len(m.bodies.by) + len(m.sessions.by); n != 0 {
		t.Errorf("%s: %d flows are still waited for", filepath.Base(path), n)
	}
	if sum.Parsing.Panics > 0 {
		t.Errorf("%s: %+v", filepath.Base(path), sum.Panics)
	}
}

// heads gives the head of each record of a batch.
func heads(b *sdk.Batch, yield func(*sdk.Seen, string)) {
	for i := range b.DNS {
		yield(&b.DNS[i].Seen, b.DNS[i].Protocol)
	}
	for i := range b.TLS {
		yield(&b.TLS[i].Seen, b.TLS[i].Protocol)
	}
	for i := range b.HTTP {
		protocol := "http"
		if b.HTTP[i].Version == "2" {
			protocol = "http2"
		}
		yield(&b.HTTP[i].Seen, protocol)
	}
	for i := range b.SMB {
		yield(&b.SMB[i].Seen, "smb")
	}
	for i := range b.DHCP {
		protocol := "dhcp"
		if b.DHCP[i].Version == 6 {
			protocol = "dhcpv6"
		}
		yield(&b.DHCP[i].Seen, protocol)
	}
	for i := range b.ARP {
		yield(&b.ARP[i].Seen, b.ARP[i].Protocol)
	}
	for i := range b.OT {
		yield(&b.OT[i].Seen, b.OT[i].Protocol)
	}
	for i := range b.Files {
		yield(&b.Files[i].Seen, b.Files[i].Protocol)
	}
	for i := range b.Logins {
		yield(&b.Logins[i].Seen, b.Logins[i].Protocol)
	}
	for i := range b.Messages {
		yield(&b.Messages[i].Seen, b.Messages[i].Protocol)
	}
}
