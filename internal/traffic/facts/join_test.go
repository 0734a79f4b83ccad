package facts

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/dns"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/http2"
	"github.com/picketwatch/picket/internal/traffic/app/mqtt"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
	"github.com/picketwatch/picket/internal/traffic/app/tls"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func flush(t *testing.T, m *Maker) {
	t.Helper()
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestHandshake(t *testing.T) {
	m, got := gather(t, sdk.FactsTLS)
	w := newWire(m, "tls", 7)
	hello := &tls.ClientHello{Legacy: 0x303, Versions: []uint16{0x303, 0x304}, Ciphers: []uint16{1, 2}, ALPN: []string{"h2"}, ServerName: "a.example", JA3: "j"}
	w.say(app.Client, hello)
	w.say(app.Server, &tls.ServerHello{Version: 0x304, Retry: true})
	w.say(app.Client, hello)
	w.say(app.Server, &tls.ServerHello{Version: 0x303, Cipher: 2, JA3S: "s", ALPN: "h2"})
	w.say(app.Server, &tls.Certificates{Chain: []*tls.Certificate{{SHA256: "own", Subject: "CN=a", Names: []string{"a.example"}}, {SHA256: "ca"}}})
	flush(t, m)
	if len(got.TLS) != 0 {
		t.Fatal("told before all was seen")
	}
	// A second handshake in the same flow, which is not answered.
	w.say(app.Client, &tls.ClientHello{ServerName: "b.example"})
	w.end()
	flush(t, m)
	if len(got.TLS) != 2 {
		t.Fatalf("%d handshakes", len(got.TLS))
	}
	a, b := got.TLS[0], got.TLS[1]
	if a.Flow != 7 || a.Packet != 5 || a.ServerName != "a.example" || a.Offered != 0x304 || a.Version != 0x303 || !a.Retry || a.FromServer ||
		!slices.Equal(a.Chain, []string{"own", "ca"}) || a.Subject != "CN=a" || !slices.Equal(a.Ciphers, []uint64{1, 2}) || a.JA3+a.JA3S != "js" {
		t.Errorf("%+v", a)
	}
	if b.ServerName != "b.example" || b.Version != 0 || b.Chain != nil || b.Retry || b.Packet != 6 {
		t.Errorf("%+v", b)
	}
}

// What was told is not held by what waits to be used again.
func TestToldHandshakesAreForgotten(t *testing.T) {
	m, _ := gather(t, sdk.FactsTLS)
	for flow := range uint64(3) {
		w := newWire(m, "tls", flow+1)
		w.say(app.Client, &tls.ClientHello{ServerName: "a.example", ALPN: []string{"h2", "h3"}, Ciphers: []uint16{1}, JA3: "j"})
		w.say(app.Server, &tls.Certificates{Chain: []*tls.Certificate{{SHA256: "own", Subject: "CN=a", Names: []string{"a.example"}}}})
		w.end()
		flush(t, m)
		for n := m.handshakes.free; n != nil; n = n.next {
			r := n.value.row
			for _, list := range [][]string{r.ALPNs, r.Chain, r.Names} {
				if slices.ContainsFunc(list[:cap(list)], func(s string) bool { return s != "" }) {
					t.Errorf("%q are still held", list[:cap(list)])
				}
			}
			r.ALPNs, r.Chain, r.Names, r.Ciphers, r.Groups = nil, nil, nil, nil, nil
			if !reflect.ValueOf(r).IsZero() {
				t.Errorf("%+v is still held", r)
			}
		}
	}
}

// What waits in a flow whose parser broke, which ends without a last word of it, is told.
func TestBrokenFlowsAreTold(t *testing.T) {
	m, all := gather(t, sdk.FactsTLS, sdk.FactsHTTP)
	newWire(m, "tls", 1).say(app.Client, &tls.ClientHello{ServerName: "x"})
	newWire(m, "http", 2).say(app.Client, &http1.Request{Number: 1, Method: "GET"})
	func() {
		defer m.engine.Survive(2, 1)
		panic("a bug")
	}()
	m.ended(1, "tls")
	m.ended(2, "http")
	flush(t, m)
	if len(all.TLS) != 1 || len(all.HTTP) != 1 {
		t.Errorf("%d handshakes, %d exchanges", len(all.TLS), len(all.HTTP))
	}
}

// A certificate may be valid for ever, which no row can say.
func TestTimesFitIntoARow(t *testing.T) {
	for _, year := range []int{-5000, 1, 1600, 1970, 2024, 2300, 9999} {
		at := within(time.Date(year, 1, 2, 3, 4, 5, 6, time.UTC))
		rows, err := records.DecodeFacts[sdk.TLS](records.AppendFacts(nil, []sdk.TLS{{NotAfter: at}}), nil)
		if err != nil || !rows[0].NotAfter.Equal(at) {
			t.Errorf("%d: %v became %v, %v", year, at, rows[0].NotAfter, err)
		}
	}
}

// What waits is bounded in number and size; the oldest goes out as it is, and nothing is told twice or lost.
func TestWhatWaitsIsBounded(t *testing.T) {
	told := map[uint64]int{}
	m, err := New(Config{Kinds: []string{sdk.FactsTLS, sdk.FactsHTTP}, Emit: Batches(func(_ string, b *sdk.Batch) error {
		for i := range b.TLS {
			told[b.TLS[i].Flow]++
		}
		for i := range b.HTTP {
			told[b.HTTP[i].Flow]++
		}
		return nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	const flows = 3 * maxJoins
	head := make([]app.Field, 100)
	for i := range head {
		head[i] = app.Field{Name: "X-Field", Value: strings.Repeat("v", 100)}
	}
	for i := range uint64(flows) {
		newWire(m, "tls", 1+i).say(app.Client, &tls.ClientHello{ServerName: "x"})
		newWire(m, "http", flows+1+i).say(app.Client, &http1.Request{Number: 1, Method: "GET", Headers: head})
		if n := len(m.handshakes.by); n > maxJoins {
			t.Fatalf("%d handshakes wait", n)
		}
		if m.exchanges.bytes > joinBytes || m.handshakes.bytes > joinBytes {
			t.Fatalf("%d and %d bytes wait", m.exchanges.bytes, m.handshakes.bytes)
		}
	}
	for i := range uint64(flows) {
		newWire(m, "tls", 1+i).end()
		newWire(m, "http", flows+1+i).end()
	}
	flush(t, m)
	if len(told) != 2*flows || m.handshakes.bytes != 0 || m.exchanges.bytes != 0 {
		t.Errorf("%d of %d are told, %d and %d bytes are left", len(told), 2*flows, m.handshakes.bytes, m.exchanges.bytes)
	}
	for flow, n := range told {
		if n != 1 {
			t.Fatalf("flow %d is told %d times", flow, n)
		}
	}
}

func TestExchanges(t *testing.T) {
	m, got := gather(t, sdk.FactsHTTP, sdk.FactsLogins)
	w := newWire(m, "http", 3)
	secret := []app.Field{{Name: "Host", Value: "a"}, {Name: "AUTHORIZATION", Value: "Basic YWRhOnB3"}, {Name: "Cookie", Value: "id=pw"}, {Name: "Content-Type", Value: "text/x"}}
	w.say(app.Client, &http1.Request{Number: 1, Method: "GET", Target: "/1", Minor: 1, Host: "a", Headers: secret})
	w.say(app.Client, &http1.Request{Number: 2, Method: "POST", Target: "/2", Length: -1})
	w.say(app.Server, &http1.Response{Number: 1, Status: 100})
	w.say(app.Server, &http1.Response{Number: 1, Status: 401, Reason: "No", Headers: []app.Field{{Name: "Set-Cookie", Value: "id=pw"}, {Name: "Location", Value: "/x"}}})
	w.say(app.Server, &http1.Response{Number: 0, Status: 500})
	w.end()
	flush(t, m)
	if len(got.HTTP) != 3 || len(got.Logins) != 1 {
		t.Fatalf("%d exchanges, %d logins", len(got.HTTP), len(got.Logins))
	}
	x := got.HTTP[0]
	if x.Status != 401 || x.Number != 1 || x.ResponseTime != 3 || x.Location != "/x" || x.RequestType != "text/x" || x.Packet != 4 || x.FromServer {
		t.Errorf("%+v", x)
	}
	if text := fmt.Sprint(got.HTTP, got.Logins); strings.Contains(text, "pw") || strings.Contains(text, "YWRh") {
		t.Errorf("a secret is told: %s", text)
	}
	if !slices.Equal(x.RequestHeaders, []string{"Host: a", "AUTHORIZATION: ", "Cookie: ", "Content-Type: text/x"}) {
		t.Errorf("%q", x.RequestHeaders)
	}
	if got.HTTP[1].Status != 500 || got.HTTP[1].Method != "" || got.HTTP[2].Target != "/2" || got.HTTP[2].Status != 0 || got.HTTP[2].RequestLength != -1 {
		t.Errorf("%+v", got.HTTP[1:])
	}
	if l := got.Logins[0]; l.User != "ada" || l.Method != "BASIC" || !l.Clear || l.Result != "failure" || l.Code != "401" || l.Protocol != "http" {
		t.Errorf("%+v", l)
	}
}

// A call is told with its status, which comes behind the answer.
func TestCalls(t *testing.T) {
	m, got := gather(t, sdk.FactsHTTP)
	w := newWire(m, "http2", 3)
	w.say(app.Client, &http2.Request{Stream: 1, Method: "POST", Path: "/s/m", GRPC: true})
	w.say(app.Client, &http2.Request{Stream: 3, Method: "GET", Path: "/x"})
	w.say(app.Server, &http2.Response{Stream: 1, Status: "200"})
	w.say(app.Server, &http2.Response{Stream: 3, Status: "404"})
	w.say(app.Server, &http2.Response{Stream: 1, Trailers: true, GRPCStatus: "5"})
	w.say(app.Server, &http2.Response{Stream: 9, Trailers: true, GRPCStatus: "5"})
	w.end()
	flush(t, m)
	if len(got.HTTP) != 2 || got.HTTP[0].Status != 404 || got.HTTP[1].GRPCStatus != "5" || got.HTTP[1].Status != 200 || !got.HTTP[1].GRPC {
		t.Errorf("%+v", got.HTTP)
	}
}

// What a call holds until its status comes is counted, and a server that answers it over and over adds nothing.
func TestCallsAreBounded(t *testing.T) {
	m, got := gather(t, sdk.FactsHTTP)
	w := newWire(m, "http2", 3)
	head := []app.Field{{Name: "X-Field", Value: strings.Repeat("v", maxText)}}
	for stream := range uint32(maxWaiting) {
		w.say(app.Client, &http2.Request{Stream: 1 + stream, GRPC: true})
		for range 100 {
			w.say(app.Server, &http2.Response{Stream: 1 + stream, Status: "200", Headers: head})
		}
	}
	x := m.exchanges.of(3).waiting[0].row
	if len(x.ResponseHeaders) != 1 || m.exchanges.bytes < maxWaiting*maxText || m.exchanges.bytes > joinBytes {
		t.Errorf("%d fields, %d bytes", len(x.ResponseHeaders), m.exchanges.bytes)
	}
	for stream := range uint32(maxWaiting) {
		w.say(app.Server, &http2.Response{Stream: 1 + stream, Trailers: true, GRPCStatus: "0"})
	}
	if e := m.exchanges.of(3); cap(e.waiting) != 0 || m.exchanges.bytes != 0 {
		t.Errorf("room for %d, %d bytes", cap(e.waiting), m.exchanges.bytes)
	}
	w.end()
	flush(t, m)
	if len(got.HTTP) != maxWaiting {
		t.Errorf("%d calls", len(got.HTTP))
	}
}

func TestLogins(t *testing.T) {
	m, got := gather(t, sdk.FactsLogins)
	w := newWire(m, "smb", 1)
	setup := func(answer bool, status uint32, user string) {
		d := app.Client
		if answer {
			d = app.Server
		}
		w.say(d, &smb.Command{Version: 2, Code: smb.CodeSessionSetup, Response: answer, Status: status, User: user, Domain: "LAB"})
	}
	setup(false, 0, "")
	setup(true, statusMore, "")
	setup(false, 0, "ada")
	setup(true, 0xc000006d, "")
	setup(false, 0, "bob")
	setup(true, 0, "")
	setup(true, 0, "") // of nobody
	broker := newWire(m, "mqtt", 2)
	broker.say(app.Client, &mqtt.Connect{User: "sensor", Password: true})
	broker.say(app.Server, &mqtt.Connected{Code: 5})
	flush(t, m)
	var have []string
	for _, l := range got.Logins {
		have = append(have, fmt.Sprintf("%s %s %s %v %s", l.Protocol, l.User, l.Result, l.Clear, l.Code))
	}
	want := []string{`smb LAB\ada failure false 0xc000006d`, `smb LAB\bob success false `, "mqtt sensor failure true 5"}
	if !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
}

func packed(t *testing.T, coding string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if coding == "deflate" {
		w = zlib.NewWriter(&b)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFiles(t *testing.T) {
	plain := []byte("<html><body>" + strings.Repeat("words ", 1000))
	bomb := packed(t, "gzip", make([]byte, maxDecoded+4096))
	large := bytes.Repeat([]byte("0123456789abcdef"), (maxEncoded+16)/16)
	for name, c := range map[string]struct {
		sent     []byte
		coding   string
		missing  int
		cut      bool // its end is not seen
		size     int
		of       []byte // what the digest is of, when it is known
		complete bool
		expected uint64
		kind     string
	}{
		"plain":             {sent: plain, size: len(plain), of: plain, complete: true, expected: uint64(len(plain)), kind: "text/html; charset=utf-8"},
		"gzip":              {sent: packed(t, "gzip", plain), coding: "gzip", size: len(plain), of: plain, complete: true, kind: "text/html; charset=utf-8"},
		"deflate":           {sent: packed(t, "deflate", plain), coding: "Deflate", size: len(plain), of: plain, complete: true, kind: "text/html; charset=utf-8"},
		"no gzip at all":    {sent: plain, coding: "gzip", size: len(plain), of: plain, complete: true, expected: uint64(len(plain)), kind: "text/html; charset=utf-8"},
		"unknown coding":    {sent: plain, coding: "br", size: len(plain), of: plain, complete: true, expected: uint64(len(plain))},
		"a bomb":            {sent: bomb, coding: "gzip", size: maxRatio*len(bomb) + 1},
		"gzip, beyond room": {sent: large, coding: "gzip", size: len(large), of: large, complete: true, expected: uint64(len(large))},
		"holes":             {sent: plain, missing: 3, size: len(plain), of: plain, expected: uint64(len(plain))},
		"cut off":           {sent: plain[:100], cut: true, size: 100, of: plain[:100], expected: 100},
		"gzip, cut off":     {sent: packed(t, "gzip", plain)[:60], coding: "gzip", cut: true, size: -1},
	} {
		t.Run(name, func(t *testing.T) {
			m, got := gather(t, sdk.FactsFiles)
			w := newWire(m, "http", 5)
			w.say(app.Client, &http1.Request{Number: 1, Method: "GET", Target: "/a/page.html?q=1"})
			w.say(app.Server, &http1.Response{Number: 1, Status: 200, Length: int64(len(c.sent)), Headers: []app.Field{{Name: "Content-Encoding", Value: c.coding}}})
			for at := 0; at < len(c.sent); at += 1000 {
				part := c.sent[at:min(at+1000, len(c.sent))]
				p := &http1.BodyPart{Number: 1, Offset: int64(at), Data: slices.Clone(part), Last: !c.cut && at+1000 >= len(c.sent)}
				if at == 0 {
					p.Missing = c.missing
				}
				w.flow.Part(app.Server, p)
			}
			if held := m.bodies.bytes; (held > 0) != c.cut || held < 0 {
				t.Errorf("while the connection lasts, %d bytes are held", held)
			}
			w.end()
			flush(t, m)
			if len(got.Files) != 1 {
				t.Fatalf("%d files", len(got.Files))
			}
			f := got.Files[0]
			if c.size >= 0 && f.Size != uint64(c.size) || f.Complete != c.complete || f.Expected != c.expected || f.Name != "page.html" || !f.FromServer {
				t.Errorf("%+v", f)
			}
			if sum := sha256.Sum256(c.of); c.of != nil && f.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("the digest is of something else: %+v", f)
			}
			if c.kind != "" && f.Type != c.kind || len(f.Begin) > beginning || f.Entropy < 0 || f.Entropy > 8 || math.IsNaN(f.Entropy) {
				t.Errorf("%+v", f)
			}
			if m.bodies.bytes != 0 {
				t.Errorf("%d bytes are left", m.bodies.bytes)
			}
		})
	}
}

// Files by their names in requests that were sent one behind the other, in both directions.
func TestFilesOfSeveralRequests(t *testing.T) {
	m, got := gather(t, sdk.FactsFiles)
	w := newWire(m, "http", 5)
	w.say(app.Client, &http1.Request{Number: 1, Target: "/one"})
	w.say(app.Client, &http1.Request{Number: 2, Target: "/up", Length: 4, Headers: []app.Field{{Name: "Content-Disposition", Value: `form-data; filename="C:\\x\\y.txt"`}}})
	w.flow.Part(app.Client, &http1.BodyPart{Number: 2, Data: []byte("sent"), Last: true})
	w.say(app.Server, &http1.Response{Number: 1, Status: 200, Length: 3})
	w.flow.Part(app.Server, &http1.BodyPart{Number: 1, Data: []byte("got"), Last: true})
	w.say(app.Server, &http1.Response{Number: 2, Status: 200, Length: -1})
	w.flow.Part(app.Server, &http1.BodyPart{Number: 2, Data: []byte("until the end")})
	w.end()
	flush(t, m)
	var have []string
	for _, f := range got.Files {
		have = append(have, fmt.Sprintf("%s %d %v %v", f.Name, f.Size, f.Complete, f.FromServer))
	}
	if want := []string{"y.txt 4 true false", "one 3 true true", "up 13 false true"}; !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
}

// After an error nothing more is emitted.
func TestWhoDoesNotTakeThem(t *testing.T) {
	boom, calls := errors.New("boom"), 0
	m, err := New(Config{Kinds: []string{sdk.FactsDNS}, Emit: func(string, []byte) error { calls++; return boom }})
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		newWire(m, "dns", 1).say(app.Client, &dns.Message{})
	}
	flows := 0
	if err := m.Flows(func([]sdk.Flow) error { flows++; return nil })(nil); !errors.Is(err, boom) || calls != 1 || flows != 0 {
		t.Errorf("%v, %d calls, %d batches of flows", err, calls, flows)
	}
}

// Where no text forces it, nothing is allocated for a fact.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	m, err := New(Config{Kinds: sdk.FactKinds, Emit: func(string, []byte) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	names, secure, web := newWire(m, "dns", 1), newWire(m, "tls", 2), newWire(m, "http2", 3)
	question := &dns.Message{Questions: []dns.Question{{Name: "a.example"}}, Answers: []dns.Record{{Name: "a", Data: "10.0.0.1"}}}
	hello := &tls.ClientHello{Ciphers: []uint16{1, 2, 3}, ALPN: []string{"h2"}}
	server := &tls.ServerHello{Version: 0x303}
	request, response := &http2.Request{Stream: 1, Method: "GET"}, &http2.Response{Stream: 1, Status: "200"}
	round := func() {
		names.say(app.Client, question)
		secure.say(app.Client, hello)
		secure.say(app.Server, server)
		secure.end()
		web.say(app.Client, request)
		web.say(app.Server, response)
	}
	for range 1000 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
