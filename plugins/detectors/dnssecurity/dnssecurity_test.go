package dnssecurity

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/dnssecurity") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

// Every attack of its kind that the public captures name is found, and ordinary traffic is quiet.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		got := find(t, detector(t, "{}"), func(show func(sdk.Batch) error) { c.Batches(t, show) })
		if len(got) > 0 && c.Benign() || c.Class == "atk-dns" && len(got) == 0 {
			t.Errorf("%s: %d findings", c.Class, len(got))
		}
		for _, f := range got {
			t.Logf("%s %s %s %.2f: %s", c.Class, f.Rule, f.Severity, f.Confidence, f.Summary)
		}
	})
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

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

// find shows a detector batches. Of findings with the same id the last one counts.
func find(tb testing.TB, d *Detector, show func(func(sdk.Batch) error)) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	show(func(b sdk.Batch) error { return d.Inspect(context.Background(), b, s) })
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	var out []sdk.Finding
	at := map[string]int{}
	for _, f := range s.findings {
		id := sdk.FindingID(f)
		if i, known := at[id]; known {
			out[i] = f
		} else {
			at[id] = len(out)
			out = append(out, f)
		}
	}
	return out
}

// answer is the i-th to a client, one every 100 ms.
func answer(i int, text string, qtype uint16, code uint16, addresses ...string) sdk.DNS {
	m := sdk.DNS{
		Seen: sdk.Seen{Flow: uint64(i + 1), Packet: uint64(i + 1), Time: noon.Add(time.Duration(i) * 100 * time.Millisecond), Client: client, Server: resolver,
			ClientPort: 40000, ServerPort: 53, Proto: sdk.ProtoUDP, FromServer: true},
		Protocol: "dns", Query: text, QType: qtype, QClass: 1, Questions: 1, RecursionDesired: true, Response: true, RCode: code, Length: 100,
		Answers: addresses,
	}
	for range addresses {
		m.AnswerTypes, m.AnswerTTLs = append(m.AnswerTypes, typeA), append(m.AnswerTTLs, 30)
	}
	return m
}

func several(n int, one func(i int) sdk.DNS) (out []sdk.DNS) {
	for i := range n {
		out = append(out, one(i))
	}
	return out
}

func shown(list []sdk.DNS) func(func(sdk.Batch) error) {
	return func(show func(sdk.Batch) error) {
		for i := range list {
			_ = show(sdk.Batch{DNS: list[i : i+1]})
		}
	}
}

func big(i int, text string, qtype uint16) sdk.DNS {
	m := answer(i, text, qtype, 0)
	m.Length = 2000
	return m
}

func TestWhatCounts(t *testing.T) {
	r := random()
	tests := []struct {
		name, config string
		list         []sdk.DNS
		want         string
	}{
		{"ANY ten times", "", several(10, func(i int) sdk.DNS { return big(i, "example.org", typeANY) }), RuleAmplification},
		{"ANY of other names", "", several(10, func(i int) sdk.DNS { return big(i, fmt.Sprintf("example%d.org", i), typeANY) }), RuleAmplification},
		{"ANY nine times", "", several(9, func(i int) sdk.DNS { return big(i, "example.org", typeANY) }), ""},
		{"keys thirty times", "", several(30, func(i int) sdk.DNS { return big(i, "example.org", 48) }), RuleAmplification},
		{"keys of other names", "", several(90, func(i int) sdk.DNS { return big(i, fmt.Sprintf("example%d.org", i), 48) }), ""},
		{"keys in an hour", "", several(60, func(i int) sdk.DNS { return big(i*600, "example.org", 48) }), ""},
		{"small answers", "", several(500, func(i int) sdk.DNS { return answer(i, "example.org", 48, 0) }), ""},

		{"random names", "", several(50, func(i int) sdk.DNS {
			return answer(i, lower32.EncodeToString(data(r, 8))+".example.org", typeA, codeNoName)
		}), RuleRandomNames},
		{"random names, half as many at once", "", several(25, func(i int) sdk.DNS {
			return answer(i, lower32.EncodeToString(data(r, 8))+".example.org", typeA, codeNoName)
		}), RuleRandomNames},
		{"random names, a few at once", "", several(22, func(i int) sdk.DNS {
			return answer(i, lower32.EncodeToString(data(r, 8))+".example.org", typeA, codeNoName)
		}), RuleRandomNames},
		{"random names, fewer at once", "", several(18, func(i int) sdk.DNS {
			return answer(i, lower32.EncodeToString(data(r, 8))+".example.org", typeA, codeNoName)
		}), ""},
		{"random names, a few in a minute", "", several(22, func(i int) sdk.DNS {
			return answer(i*20, lower32.EncodeToString(data(r, 8))+".example.org", typeA, codeNoName)
		}), ""},
		{"random names, half as many in two minutes", "", several(40, func(i int) sdk.DNS {
			return answer(i*30, lower32.EncodeToString(data(r, 8))+".example.org", typeA, codeNoName)
		}), ""},
		{"random names, half as many at once, of which one exists", "", several(40, func(i int) sdk.DNS {
			return answer(i, lower32.EncodeToString(data(r, 8))+".example.org", typeA, uint16(codeNoName*min(1, i%20)))
		}), ""},
		{"data", "", several(200, func(i int) sdk.DNS {
			return answer(i, lower32.EncodeToString(data(r, 30))+".example.org", typeA, codeNoName)
		}), ""},
		{"words", "", several(140, func(i int) sdk.DNS { return answer(i*20, fmt.Sprintf("machine-%d.example.org", i), typeA, codeNoName) }), ""},
		{"words at once", "", several(25, func(i int) sdk.DNS { return answer(i, fmt.Sprintf("machine-%d.example.org", i), typeA, codeNoName) }), RuleRandomNames},
		{"words at once, one of which exists", "", several(25, func(i int) sdk.DNS {
			return answer(i, fmt.Sprintf("machine-%d.example.org", i), typeA, uint16(codeNoName*min(1, i%20)))
		}), ""},
		{"many words", "", several(250, func(i int) sdk.DNS { return answer(i, fmt.Sprintf("machine-%d.example.org", i), typeA, codeNoName) }), RuleRandomNames},
		{"random names, half of which exist", "", several(200, func(i int) sdk.DNS {
			return answer(i, lower32.EncodeToString(data(r, 8))+".example.org", typeA, uint16(3*(i%2)))
		}), ""},
		{"random names, slowly", "", several(200, func(i int) sdk.DNS {
			return answer(i*100, lower32.EncodeToString(data(r, 8))+".example.org", typeA, codeNoName)
		}), ""},
		{"random names below what may fail", "", several(200, func(i int) sdk.DNS {
			return answer(i, lower32.EncodeToString(data(r, 8))+".dbl.spamhaus.org", typeA, codeNoName)
		}), ""},
		{"domains that do not exist", "", several(60, func(i int) sdk.DNS { return answer(i, fmt.Sprintf("a%d-example.org", i), typeA, codeNoName) }), RuleFailures},
		{"domains of which half exist", "", several(200, func(i int) sdk.DNS { return answer(i, fmt.Sprintf("a%d-example.org", i), typeA, uint16(3*(i%2))) }), ""},

		{"fast flux", "", several(12, func(i int) sdk.DNS {
			return answer(i, "a.example.com", typeA, 0, fmt.Sprintf("%d.1.2.3", 20+i))
		}), RuleFastFlux},
		{"networks of one company", "", several(30, func(i int) sdk.DNS {
			return answer(i, "a.example.com", typeA, 0, fmt.Sprintf("%d.1.2.%d", 20+i%9, i))
		}), ""},
		{"long lives", "", several(12, func(i int) sdk.DNS {
			m := answer(i, "a.example.com", typeA, 0, fmt.Sprintf("%d.1.2.3", 20+i))
			m.AnswerTTLs[0] = 3600
			return m
		}), ""},
		{"a name of the site", "", several(12, func(i int) sdk.DNS { return answer(i, "a.corp.local", typeA, 0, fmt.Sprintf("%d.1.2.3", 20+i)) }), ""},

		{"outside, then inside", "", []sdk.DNS{answer(0, "a.example.com", typeA, 0, "198.51.100.1"), answer(9, "A.example.com", typeA, 0, "127.0.0.1")}, RuleRebinding},
		{"both at once", "", []sdk.DNS{answer(0, "a.example.com", typeA, 0, "192.168.0.1", "198.51.100.1")}, RuleRebinding},
		{"inside only", "", []sdk.DNS{answer(0, "a.example.com", typeA, 0, "192.168.0.1"), answer(1, "a.example.com", typeA, 0, "192.168.0.2")}, ""},
		{"inside, then outside", "", []sdk.DNS{answer(0, "a.example.com", typeA, 0, "192.168.0.1"), answer(1, "a.example.com", typeA, 0, "198.51.100.1")}, ""},
		{"much later", "", []sdk.DNS{answer(0, "a.example.com", typeA, 0, "198.51.100.1"), answer(9000, "a.example.com", typeA, 0, "192.168.0.1")}, ""},

		{"blocked", `{"blocked": ["Example.com."]}`, []sdk.DNS{question(0, "a.EXAMPLE.com")}, RuleBlocked},
		{"not blocked", `{"blocked": ["example.com"]}`, []sdk.DNS{question(0, "an-example.com")}, ""},
		{"another resolver", `{"resolvers": ["10.0.0.53/32"]}`, []sdk.DNS{question(0, "a.example.com")}, RuleResolver},
		{"a listed resolver", `{"resolvers": ["10.0.0.1/32"]}`, []sdk.DNS{question(0, "a.example.com")}, ""},
		{"a listed resolver asks", `{"resolvers": ["10.0.0.66/32"]}`, []sdk.DNS{question(0, "a.example.com")}, ""},
	}
	for _, test := range tests {
		text := test.config
		if text == "" {
			text = "{}"
		}
		got := find(t, detector(t, text), shown(test.list))
		if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || got[0].Rule != test.want) {
			t.Errorf("%s: want %q, got %+v", test.name, test.want, got)
		}
	}
}

func TestSuffixed(t *testing.T) {
	for made, want := range map[string]bool{
		"www.example.com": true, "www.example.com.uri": true, "example.co.uk": true, "example.de": true,
		"": false, "www": false, "com": false, "a.www": false, "a.b.c": false, "x.": false,
	} {
		if suffixed(made) != want {
			t.Errorf("%q: %v", made, !want)
		}
	}
}

// The cases that are called quiet are.
func TestQuietCases(t *testing.T) {
	files, err := filepath.Glob("testdata/quiet*/want.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if b, err := os.ReadFile(file); err != nil || string(b) != "[]\n" {
			t.Errorf("%s: %s %v", file, b, err)
		}
	}
}

func question(i int, text string) sdk.DNS {
	m := answer(i, text, typeA, 0)
	m.Response, m.FromServer = false, false
	return m
}

// everything is some of each attack.
func everything() (out []sdk.DNS) {
	r := random()
	for i := range 120 {
		out = append(out, big(i, "example.org", typeANY), question(i, "a.example.com"),
			answer(i, lower32.EncodeToString(data(r, 8))+".example.org", typeA, codeNoName),
			answer(i, fmt.Sprintf("a%d-example.org", i), typeA, codeNoName),
			answer(i, "flux.example.com", typeA, 0, netip.AddrFrom4([4]byte{byte(11 + i), 1, 2, 3}).String()))
	}
	return append(out, answer(120, "flux.example.com", typeA, 0, "10.0.0.1"))
}

const lists = `{"blocked": ["example.com"], "resolvers": ["10.0.0.53/32"]}`

func TestAStateIsHandedOn(t *testing.T) {
	list := everything()
	first, second := detector(t, lists), detector(t, lists)
	want := find(t, detector(t, lists), shown(list))
	early := &sink{}
	shown(list[:301])(func(b sdk.Batch) error { return first.Inspect(t.Context(), b, early) })
	state, err := first.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	savedtest.HandsOn(t, second, detector(t, lists))
	got := find(t, second, shown(list[301:]))
	rules := map[string]sdk.Finding{}
	for _, f := range append(early.findings, got...) {
		rules[sdk.FindingID(f)] = f
	}
	if len(want) != 7 || len(rules) != len(want) {
		t.Errorf("%d findings, %d over a snapshot", len(want), len(rules))
	}
	for _, f := range want {
		if !reflect.DeepEqual(rules[sdk.FindingID(f)], f) {
			t.Errorf("%+v\nwant\n%+v", rules[sdk.FindingID(f)], f)
		}
	}
	if detector(t, "{}").Restore(t.Context(), state[:len(state)-1]) == nil {
		t.Error("a state that was cut is taken")
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, lists)
	shown(everything()[:100])(func(b sdk.Batch) error { return d.Inspect(f.Context(), b, &sink{}) })
	state, err := d.Snapshot(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, lists)
		if d.Restore(t.Context(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		savedtest.HandsOn(t, d, detector(t, lists))
		find(t, d, shown(everything()[:50]))
	})
}

func FuzzMessage(f *testing.F) {
	f.Add("a.example.org", "198.51.100.1", uint16(1), uint16(0), uint32(3000))
	f.Add(`\000\255.\.`, "", uint16(255), uint16(3), uint32(0))
	f.Fuzz(func(t *testing.T, text, data string, qtype, code uint16, length uint32) {
		m := answer(0, text, qtype, code, data, "10.0.0.1")
		m.Length = length
		find(t, detector(t, lists), shown([]sdk.DNS{m, question(1, text), m, m}))
	})
}
