package beacon

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/dnscase"
	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/sdk"
)

var (
	resolver = netip.MustParseAddr("10.0.0.1")
	desk     = netip.MustParseAddr("10.0.0.7")
)

// exchange is a question so many seconds after noon, and its answer.
type exchange struct {
	at     float64
	client netip.Addr
	name   string
	qtype  uint16
	code   uint16
	ttl    uint64
}

func (e *exchange) messages(n int) []sdk.DNS {
	at := noon.Add(time.Duration(e.at * float64(time.Second)))
	client := e.client
	if !client.IsValid() {
		client = src
	}
	q := sdk.DNS{Seen: sdk.Seen{Flow: uint64(n + 1), Packet: uint64(2*n + 1), Time: at, Client: client, ClientPort: uint16(20000 + n), Server: resolver, ServerPort: 53, Proto: sdk.ProtoUDP},
		Protocol: sdk.FactsDNS, Questions: 1, Query: e.name, QType: e.qtype, RecursionDesired: true}
	a := q
	a.Response, a.FromServer, a.Packet, a.Time, a.RCode = true, true, q.Packet+1, at.Add(20*time.Millisecond), e.code
	if e.code == 0 {
		a.Answers, a.AnswerTypes, a.AnswerTTLs = []string{"x"}, []uint64{uint64(e.qtype)}, []uint64{e.ttl}
	}
	return []sdk.DNS{q, a}
}

// asking makes n exchanges with a period, each off by up to the jitter (a share of the period) at random.
func asking(period float64, n int, jitter float64, change func(i int, e *exchange)) (out []exchange) {
	r := rand.New(rand.NewPCG(7, 7))
	at := 0.0
	for i := range n {
		e := exchange{at: at, name: fmt.Sprintf("a1b2c3.t%d.example.com", i), qtype: dnscase.TXT, ttl: 300}
		if change != nil {
			change(i, &e)
		}
		out = append(out, e)
		at += period * (1 + jitter*(2*r.Float64()-1))
	}
	return out
}

func named(name string, qtype uint16, ttl uint64) func(int, *exchange) {
	return func(i int, e *exchange) {
		e.name, e.qtype, e.ttl = name, qtype, ttl
		if strings.Contains(name, "%") {
			e.name = fmt.Sprintf(name, i)
		}
	}
}

// ask shows a detector exchanges in order of time, and returns what it says until the end, and then.
func askAll(tb testing.TB, d *Detector, all []exchange) (before, after []sdk.Finding) {
	tb.Helper()
	var live, end sink
	for n := range all {
		if err := d.Inspect(tb.Context(), sdk.Batch{DNS: all[n].messages(n)}, &live); err != nil {
			tb.Fatal(err)
		}
	}
	if err := d.Flush(tb.Context(), &end); err != nil {
		tb.Fatal(err)
	}
	return live.findings, end.findings
}

func TestFindsBeaconsInNames(t *testing.T) {
	tests := map[string]struct {
		asks []exchange
		want sdk.Severity
	}{
		"texts, on the second":         {asking(60, 10, 0.001, nil), sdk.SeverityMedium},
		"texts, ten per cent":          {asking(3, 16, 0.1, nil), sdk.SeverityMedium},
		"texts, thirty per cent":       {asking(3, 28, 0.3, nil), sdk.SeverityMedium},
		"once in ten minutes":          {asking(600, 40, 0.2, nil), sdk.SeverityMedium},
		"of no type at all":            {asking(10, 20, 0.1, named("%d.c2.example.org", dnscase.NULL, 0)), sdk.SeverityMedium},
		"addresses":                    {asking(30, 20, 0.1, named("k%d.example.org", dnscase.A, 60)), sdk.SeverityLow},
		"nobody answers":               {asking(30, 20, 0.1, func(_ int, e *exchange) { e.code = 3 }), sdk.SeverityLow},
		"ever the same text":           {asking(30, 20, 0.1, named("task.example.org", dnscase.TXT, 5)), sdk.SeverityLow},
		"of a domain others ask, too":  {append([]exchange{{client: desk, name: "www.example.com", qtype: dnscase.A}}, asking(30, 20, 0.1, nil)...), sdk.SeverityLow},
		"names in letters of any case": {asking(60, 10, 0.001, named("T%d.ExAmple.org", dnscase.TXT, 5)), sdk.SeverityMedium},
	}
	for name, test := range tests {
		live, end := askAll(t, detector(t, "{}"), test.asks)
		all := append(live, end...)
		if len(live) == 0 || all[len(all)-1].Rule != RuleNames || all[len(all)-1].Severity != test.want {
			t.Errorf("%s: %d findings live, then %d: %+v", name, len(live), len(end), all)
		}
		for i := range all {
			if sdk.FindingID(all[i]) != sdk.FindingID(all[0]) {
				t.Errorf("%s: finding %d has another id", name, i)
			}
		}
	}
}

func TestStaysQuietAboutNames(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	human := func(format string, qtype uint16) (out []exchange) {
		at := 0.0
		for i := range 200 {
			out = append(out, exchange{at: at, name: fmt.Sprintf(format, i), qtype: qtype, ttl: 60})
			at += r.ExpFloat64() * 20
		}
		return out
	}
	both := asking(30, 40, 0.01, named("k%d.example.org", dnscase.A, 60))
	for i := range both[:40] {
		if i%2 == 1 {
			both[i].client = desk
		}
	}
	tests := map[string][]exchange{
		"seven questions":            asking(60, 7, 0, nil),
		"time service":               asking(64, 60, 0.001, named("2.pool.ntp.org", dnscase.A, 150)),
		"a page that is polled":      asking(60, 60, 0.01, named("api.example.com", dnscase.A, 300)),
		"telemetry that is blocked":  asking(60, 60, 0.01, func(i int, e *exchange) { e.name, e.qtype, e.code = "log.example.com", dnscase.A, 3 }),
		"a text that gets too old":   asking(300, 30, 0.001, named("policy.example.com", dnscase.TXT, 300)),
		"a text that does not exist": asking(30, 30, 0.01, func(_ int, e *exchange) { e.name, e.code = "policy.example.com", 3 }),
		"addresses looked up":        asking(10, 60, 0.01, named("%d.2.0.192.in-addr.arpa", dnscase.PTR, 300)),
		"lists of senders":           asking(10, 60, 0.01, named("%d.2.0.192.bl.example.net", dnscase.A, 300)),
		"a list in the configuration": asking(10, 60, 0.01,
			named("x%d.avqs.mcafee.com", dnscase.A, 300)),
		"keys of mail":                          asking(10, 60, 0.01, named("k%d._domainkey.example.com", dnscase.TXT, 300)),
		"names of the site":                     asking(10, 60, 0.01, named("host%d.local", dnscase.A, 300)),
		"domains without more":                  asking(10, 60, 0.01, named("example%d.com", dnscase.A, 300)),
		"a few names in turn":                   asking(10, 60, 0.01, func(i int, e *exchange) { e.name, e.qtype = fmt.Sprintf("n%d.example.com", i%7), dnscase.A }),
		"a few texts in turn":                   asking(10, 60, 0.01, func(i int, e *exchange) { e.name = fmt.Sprintf("n%d.example.com", i%3) }),
		"a person":                              human("img%d.example.com", dnscase.A),
		"a person's texts":                      human("img%d.example.com", dnscase.TXT),
		"faster than a second":                  asking(0.5, 200, 0.01, nil),
		"new names, of more than one client":    both,
		"one question again and again, unheard": asking(5, 3, 0, named("x.example.com", dnscase.TXT, 0)),
	}
	for name, asks := range tests {
		if live, end := askAll(t, detector(t, "{}"), asks); len(live)+len(end) != 0 {
			t.Errorf("%s: %s", name, append(live, end...)[0].Summary)
		}
	}
	if live, end := askAll(t, detector(t, `{"ignore": ["10.0.0.1/32"]}`), asking(60, 10, 0.001, nil)); len(live)+len(end) != 0 {
		t.Error("a server that is ignored is told")
	}
}

// Both kinds of address of a name, and questions that are sent again, are one question.
func TestRepetitionsAreOneQuestion(t *testing.T) {
	var asks []exchange
	for _, e := range asking(30, 20, 0.05, named("k%d.example.org", dnscase.A, 60)) {
		six, again := e, e
		six.qtype, six.at = dnscase.AAAA, e.at+0.001
		again.at += 5
		asks = append(asks, e, six, again)
	}
	live, _ := askAll(t, detector(t, "{}"), asks)
	if len(live) == 0 || live[0].Features["questions"] > 12 || live[0].Features["period_seconds"] < 28 {
		t.Errorf("%+v", live)
	}
}

// A state that is handed on in the middle changes nothing.
func TestAskedIsHandedOn(t *testing.T) {
	asks := asking(30, 40, 0.2, nil)
	want, wantEnd := askAll(t, detector(t, "{}"), asks)
	first, next := detector(t, "{}"), detector(t, "{}")
	var got sink
	for n := range asks {
		d := first
		if n == 20 {
			state, err := first.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := next.Restore(t.Context(), state); err != nil {
				t.Fatal(err)
			}
		}
		if n >= 20 {
			d = next
		}
		if err := d.Inspect(t.Context(), sdk.Batch{DNS: asks[n].messages(n)}, &got); err != nil {
			t.Fatal(err)
		}
	}
	if err := next.Flush(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	if g, w := fmt.Sprint(got.findings), fmt.Sprint(append(want, wantEnd...)); g != w {
		t.Errorf("%s\nwant\n%s", g, w)
	}
}

// However many domains are asked for, what is remembered stays within bounds.
func TestHeapOfNamesIsBounded(t *testing.T) {
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for name, domain := range map[string]int{"a domain each": 1, "fifty questions below a domain": 50} {
		d, before := detector(t, "{}"), inUse()
		for i := range 500_000 {
			e := exchange{at: 2 * float64(i), client: heap.Addr(10, i/domain), name: fmt.Sprintf("n%d.example%d.com", i, i/domain), qtype: dnscase.A}
			if err := d.Inspect(t.Context(), sdk.Batch{DNS: e.messages(i)}, &sink{}); err != nil {
				t.Fatal(err)
			}
		}
		if held := int64(inUse() - before); held > heap.Bound {
			t.Errorf("%s: %d MiB are held", name, held>>20)
		} else {
			t.Logf("%s: %d KiB are held, %d forgotten", name, held>>10, d.asked.Forgotten)
		}
		runtime.KeepAlive(d)
	}
}

func TestNameCapturesAreFresh(t *testing.T) {
	dnscase.Check(t, map[string]func(*dnscase.Capture){"names": beaconInNames, "quiet-names": quietNames})
}

// beaconInNames asks for its orders every 20 s, give or take a fifth, while somebody works.
func beaconInNames(c *dnscase.Capture) {
	r := rand.New(rand.NewPCG(1, 2))
	lookups(c, r, 15*time.Minute)
	at := 5 * time.Second
	for i := range 40 {
		c.Ask(at, dnscase.Exchange{Client: src, Server: resolver, Name: fmt.Sprintf("7fa2c1.%d.example.com", i), Type: dnscase.TXT,
			Answers: []dnscase.Record{{Type: dnscase.TXT, TTL: 1, Data: dnscase.Text("idle")}}})
		at += 16*time.Second + time.Duration(r.Int64N(int64(8*time.Second)))
	}
}

// quietNames is what is asked for in a rhythm, and is none.
func quietNames(c *dnscase.Capture) {
	r := rand.New(rand.NewPCG(1, 2))
	lookups(c, r, 30*time.Minute)
	for i := range 30 {
		at := time.Duration(i) * time.Minute
		for n, name := range []string{"2.pool.example.net", "updates.example.net", fmt.Sprintf("%d.113.0.203.in-addr.arpa", i), fmt.Sprintf("%d.113.0.203.list.example.net", i)} {
			c.Ask(at+time.Duration(n)*10*time.Second, dnscase.Exchange{Client: desk, Server: resolver, Name: name, Type: dnscase.A, Answers: []dnscase.Record{dnscase.Address(dst)}})
		}
	}
}

// lookups are those of somebody who works: names of a few dozen domains, now and then.
func lookups(c *dnscase.Capture, r *rand.Rand, until time.Duration) {
	for range int(until / (5 * time.Second)) {
		name := fmt.Sprintf("%s.site%d.example", []string{"www", "img", "api", "static"}[r.IntN(4)], r.IntN(30))
		c.Ask(time.Duration(r.Int64N(int64(until))), dnscase.Exchange{Client: desk, Server: resolver, Name: name, Type: dnscase.A, Answers: []dnscase.Record{dnscase.Address(dst)}})
	}
}

func BenchmarkNames(b *testing.B) {
	d, r := detector(b, "{}"), rand.New(rand.NewPCG(1, 1))
	var batch sdk.Batch
	for i := range 1000 {
		e := exchange{at: 3 * float64(i), client: heap.Addr(10, r.IntN(50)), name: fmt.Sprintf("www%d.example%d.com", r.IntN(4), r.IntN(100)), qtype: dnscase.A}
		batch.DNS = append(batch.DNS, e.messages(i)...)
	}
	for b.Loop() {
		_ = d.Inspect(b.Context(), batch, &sink{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch.DNS)), "ns/message")
}
