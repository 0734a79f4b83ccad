package intel

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/intel") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

func detector(tb testing.TB, list, allow string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte("{}"), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	if err := d.bad.read("bad.csv", strings.NewReader(list)); err != nil {
		tb.Fatal(err)
	}
	if err := d.allow.read("good.json", strings.NewReader(allow)); err != nil {
		tb.Fatal(err)
	}
	return d
}

func find(tb testing.TB, d *Detector, batches ...sdk.Batch) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	for _, b := range batches {
		if err := d.Inspect(context.Background(), b, s); err != nil {
			tb.Fatal(err)
		}
	}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	return s.findings
}

const (
	digestText = "44d88612fea8a8f36de82e1278abb02f44d88612fea8a8f36de82e1278abb02f"
	shortText  = "44d88612fea8a8f36de82e1278abb02f"
	ja4Text    = "t13d1516h2_8daaf6152771_b186095e22b6"
)

const list = `# what is bad
type,value,source,expiry,confidence,added
address,198.51.100.9,ours,2030-01-01,0.9,2026-02-20
network,203.0.113.0/24
evil.example
0.0.0.0 worse.example # as in files of hosts
http://shop.example/bad?x=1
domain,old.example,ours,2026-01-01
domain,stale.example,ours,,0.9,2020-01-01
` + digestText + `
md5,` + shortText + `
ja3,` + "54d88612fea8a8f36de82e1278abb02f" + `
` + ja4Text + `
2001:db8:bad::/48
`

var (
	client = netip.MustParseAddr("10.0.0.7")
	server = netip.MustParseAddr("192.0.2.1")
)

func seen() sdk.Seen {
	return sdk.Seen{Flow: 3, Packet: 5, Time: noon, Client: client, Server: server, ClientPort: 40000, ServerPort: 443, Proto: sdk.ProtoTCP}
}

func flowTo(text string) sdk.Batch {
	return sdk.Batch{Flows: []sdk.Flow{{ID: 3, Start: noon, End: noon, Src: client, Dst: netip.MustParseAddr(text), SrcPort: 40000, DstPort: 443, Proto: sdk.ProtoTCP, FwdPayload: 9, RevPayload: 9, Packets: []uint64{5}}}}
}

func asks(name string) sdk.Batch {
	return sdk.Batch{DNS: []sdk.DNS{{Seen: seen(), Protocol: "dns", Query: name}}}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		name, want string
		batch      sdk.Batch
	}{
		{"address", "high address", flowTo("198.51.100.9")},
		{"network", "medium address", flowTo("203.0.113.77")},
		{"network of IPv6", "medium address", flowTo("2001:db8:bad:7::1")},
		{"beside the network", "", flowTo("203.0.114.77")},
		{"name", "high name", asks("Evil.Example")},
		{"below a name", "high name", asks("a.b.evil.example.")},
		{"of a file of hosts", "high name", asks("worse.example")},
		{"only looks like it", "", asks("notevil.example")},
		{"above it", "", asks("example")},
		{"expired", "", asks("old.example")},
		{"long ago", "", asks("stale.example")},
		{"allowed", "", asks("good.evil.example")},
		{"server name", "high name", sdk.Batch{TLS: []sdk.TLS{{Seen: seen(), ServerName: "evil.example"}}}},
		{"fingerprint", "medium fingerprint", sdk.Batch{TLS: []sdk.TLS{{Seen: seen(), JA3: "54d88612fea8a8f36de82e1278abb02f"}}}},
		{"the other fingerprint", "medium fingerprint", sdk.Batch{TLS: []sdk.TLS{{Seen: seen(), JA4: ja4Text}}}},
		{"a digest is no fingerprint", "", sdk.Batch{TLS: []sdk.TLS{{Seen: seen(), JA3: shortText}}}},
		{"page", "high page", sdk.Batch{HTTP: []sdk.HTTP{{Seen: seen(), Host: "Shop.example:80", Target: "/bad?x=1"}}}},
		{"another page", "", sdk.Batch{HTTP: []sdk.HTTP{{Seen: seen(), Host: "shop.example", Target: "/bad?x=2"}}}},
		{"host of a page", "high name", sdk.Batch{HTTP: []sdk.HTTP{{Seen: seen(), Host: "www.evil.example:8080", Target: "/"}}}},
		{"file", "high file", sdk.Batch{Files: []sdk.File{{Seen: seen(), Name: "a.exe", SHA256: strings.ToUpper(digestText)}}}},
		{"file by its other digest", "high file", sdk.Batch{Files: []sdk.File{{Seen: seen(), MD5: shortText}}}},
		{"nothing", "", sdk.Batch{TLS: []sdk.TLS{{Seen: seen()}}, HTTP: []sdk.HTTP{{Seen: seen()}}, Files: []sdk.File{{Seen: seen()}}, DNS: []sdk.DNS{{Seen: seen()}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			have := ""
			for _, f := range find(t, detector(t, list, `{"list": ["good.evil.example"], "type": "hostname"}`), test.batch) {
				t.Log(f.Summary, f.Confidence)
				have = strings.TrimSpace(have + " " + string(f.Severity) + " " + f.Rule)
			}
			if have != test.want {
				t.Errorf("found %q, want %q", have, test.want)
			}
			if found := find(t, detector(t, "", ""), test.batch); len(found) > 0 {
				t.Errorf("found without a list: %+v", found)
			}
		})
	}
	knock := flowTo("198.51.100.9")
	knock.Flows[0].RevPayload = 0
	if found := find(t, detector(t, list, ""), knock); len(found) != 1 || found[0].Severity != sdk.SeverityLow || found[0].Features["age_days"] != 10 {
		t.Errorf("without an answer: %+v", found)
	}
	if found := find(t, detector(t, list, ""), slices.Repeat([]sdk.Batch{asks("evil.example")}, 300)...); len(found) != 4 {
		t.Errorf("300 questions are %d findings", len(found))
	}
}

func TestRefused(t *testing.T) {
	l := newLists()
	text := "nothing\n-\ndomain,198.51.100.9\nurl,http://\naddress,1.2.3.4,x,tomorrow\ndomain,a.example,x,,7\n0.0.0.0/0\na b c\n\x00\x01.example\n"
	if err := l.read("x", strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if len(l.table.entries) != 0 || l.refused != 9 {
		t.Errorf("%d entries, %d refused", len(l.table.entries), l.refused)
	}
	d := &Detector{cfg: Config{Entries: []string{"nothing"}}}
	if err := d.Start(t.Context(), nil); err == nil {
		t.Error("an entry that is none is taken")
	}
	d.cfg = Config{Lists: []string{"/nowhere"}}
	if err := d.Start(t.Context(), nil); err == nil {
		t.Error("a list that is nowhere is taken")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(list))
	f.Add([]byte(`{"list": ["a.example", "10.0.0.0/8"]}`))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLists()
		if l.read("x", bytes.NewReader(b)) != nil {
			return
		}
		for i := range l.table.entries {
			if int(l.table.entries[i].source) >= len(l.sources) {
				t.Fatal("an entry of no source")
			}
		}
		l.table.findName(string(b))
	})
}

// million writes a list of a million entries: addresses, names and digests.
func million(w io.Writer) {
	var b [32]byte
	for i := range 1_000_000 {
		binary.BigEndian.PutUint32(b[:], uint32(i)*2654435761)
		switch i % 4 {
		case 0:
			fmt.Fprintln(w, netip.AddrFrom4([4]byte(b[:4])))
		case 1, 2:
			fmt.Fprintf(w, "host-%x.domain%d.example\n", b[:4], i)
		default:
			binary.BigEndian.PutUint64(b[8:], uint64(i)*0x9e3779b97f4a7c15)
			fmt.Fprintln(w, hex.EncodeToString(b[:]))
		}
	}
}

// A million entries take at most 64 MiB, and all of them are found.
func TestAMillion(t *testing.T) {
	var text bytes.Buffer
	million(&text)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := newLists()
	if err := l.read("million", bytes.NewReader(text.Bytes())); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d entries, %d doubled, %d refused, %d MiB", len(l.table.entries), l.table.doubled, l.refused, held>>20)
	if held > 64<<20 || len(l.table.entries)+l.table.doubled != 1_000_000 {
		t.Errorf("%d entries in %d MiB", len(l.table.entries), held>>20)
	}
	var room [32]byte
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSpace(line)
		var e *entry
		if a, err := netip.ParseAddr(line); err == nil {
			e, _ = l.table.findAddress(a)
		} else if sum := digest(&room, line, 32); sum != nil {
			e = l.table.find(sha256, sum)
		} else {
			e, _ = l.table.findName("www." + line)
		}
		if e == nil {
			t.Fatalf("%s is not found", line)
		}
	}
}

func BenchmarkMiss(b *testing.B) {
	var text bytes.Buffer
	million(&text)
	l := newLists()
	if err := l.read("million", &text); err != nil {
		b.Fatal(err)
	}
	addrs := make([]netip.Addr, 4096)
	names := make([]string, 4096)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{byte(i), byte(i >> 3), byte(i * 7), 1})
		names[i] = fmt.Sprintf("www.some-site-%d.com", i)
	}
	b.Run("address", func(b *testing.B) {
		for i := range b.N {
			l.table.findAddress(addrs[i%len(addrs)])
		}
	})
	b.Run("name of three labels", func(b *testing.B) {
		for i := range b.N {
			l.table.findName(names[i%len(names)])
		}
	})
}

// A state that is taken over in between changes nothing.
func TestAStateIsRestored(t *testing.T) {
	all := slices.Repeat([]sdk.Batch{asks("evil.example"), flowTo("203.0.113.77"), asks("worse.example"), flowTo("198.51.100.9")}, 5)
	whole := find(t, detector(t, list, ""), all...)
	if len(whole) != 8 {
		t.Fatalf("%d findings", len(whole))
	}
	for cut := range all {
		first, second, s := detector(t, list, ""), detector(t, list, ""), &sink{}
		for _, b := range all[:cut] {
			if err := first.Inspect(t.Context(), b, s); err != nil {
				t.Fatal(err)
			}
		}
		savedtest.HandsOn(t, first, second)
		have := append(s.findings, find(t, second, all[cut:]...)...)
		if !reflect.DeepEqual(have, whole) {
			t.Fatalf("cut at %d: %+v", cut, have)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, list, "")
	if err := d.Inspect(context.Background(), asks("evil.example"), &sink{}); err != nil {
		f.Fatal(err)
	}
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, list, "")
		if d.Restore(context.Background(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		savedtest.HandsOn(t, d, detector(t, list, ""))
		find(t, d, asks("evil.example"))
	})
}

// Matters are bounded, whatever is asked for.
func TestMattersAreBounded(t *testing.T) {
	d, s := detector(t, list, ""), &sink{}
	for i := range 20_000 {
		b := flowTo(fmt.Sprintf("203.0.113.%d", i%256))
		b.Flows[0].Src = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		s.findings = nil
		if err := d.Inspect(t.Context(), b, s); err != nil {
			t.Fatal(err)
		}
	}
	if d.matters.Len() != 4096 || d.matters.Forgotten == 0 {
		t.Errorf("%d matters, %d forgotten", d.matters.Len(), d.matters.Forgotten)
	}
}

// TestSharedFeeds reads the feeds and warning lists that lie beside the repository.
func TestSharedFeeds(t *testing.T) {
	const feeds = "../../../../shared/data/threatintel"
	files, _ := filepath.Glob(feeds + "/warninglists/*")
	if len(files) == 0 {
		t.Skip("no shared feeds at ../shared/data/threatintel")
	}
	for _, name := range []string{"ip/ipsum-level3plus.tsv.gz", "domain/spam404-main-blacklist.txt.gz", "url/openphish-feed.txt"} {
		l := newLists()
		readFile(t, l, filepath.Join(feeds, name))
		t.Logf("%s: %d entries, %d refused", name, len(l.table.entries), l.refused)
		if len(l.table.entries) < 9*l.refused {
			t.Errorf("too little of %s is read", name)
		}
	}
	l := newLists()
	for _, name := range files {
		if strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".json.gz") {
			readFile(t, l, name)
		}
	}
	t.Logf("warning lists: %d entries, %d refused", len(l.table.entries), l.refused)
	if e, _ := l.table.findAddress(netip.MustParseAddr("10.1.2.3")); e == nil {
		t.Error("private networks are in no warning list")
	}
}

func readFile(t *testing.T, l *lists, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := l.read(name, f); err != nil {
		t.Errorf("%s: %v", filepath.Base(name), err)
	}
}

// TestCapturesAreFresh compares the captures of the cases with what this makes; with -update it writes them.
func TestCapturesAreFresh(t *testing.T) {
	page := func(w *talk.Wire) {
		for i, host := range []string{"www.evil.example", "shop.example"} {
			w.TCP(time.Duration(i)*time.Second, client, netip.AddrFrom4([4]byte{198, 51, 100, byte(7 + i)}), 80,
				talk.Client("GET /bad?x=1 HTTP/1.1\r\nHost: "+host+"\r\n\r\n"), talk.Server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
		}
	}
	talk.Fresh(t, map[string]func(*talk.Wire){"listed": page, "no-list": page})
}
