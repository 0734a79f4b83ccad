package dns

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

func unhex(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const (
	query = "1234 0100 0001 0000 0000 0001 03777777 076578616d706c65 03636f6d 00 0001 0001 00 0029 04d0 00 00 8000 0000"
	reply = "1234 8180 0001 0006 0000 0000 03777777 076578616d706c65 03636f6d 00 0001 0001" +
		"c00c 0005 0001 0000003c 0006 03 637564 c010" + // CNAME cud.example.com
		"c02d 0001 0001 0000003c 0004 c0000201" + // A
		"c010 000f 0001 0000003c 0009 000a 046d61696c c010" + // MX
		"c010 0010 0001 0000003c 0006 02 6122 02 6301" + // TXT
		"c010 0041 0001 0000003c 000d 0001 00 0001 0006 026832 026833" + // HTTPS
		"c010 ff00 0001 0000003c 0002 beef" // unknown
)

func read(tb testing.TB, p app.Protocol, b []byte, cut int) *Message {
	tb.Helper()
	var out *Message
	parser := p.NewDatagram()
	parser.Start(app.TestFlow(p, 17, func(f *app.Fact) { out = f.Body.(*Message) }))
	parser.Datagram(app.Client, b, cut)
	parser.Close()
	return out
}

func TestMessage(t *testing.T) {
	q := read(t, DNS, unhex(t, query), 0)
	if q.Damaged || q.Response || !q.RecursionDesired || len(q.Questions) != 1 || q.Questions[0] != (Question{"www.example.com", 1, 1}) {
		t.Errorf("query %+v", q)
	}
	if q.EDNS == nil || *q.EDNS != (EDNS{UDPSize: 1232, DNSSECOK: true}) {
		t.Errorf("EDNS %+v", q.EDNS)
	}
	r := read(t, DNS, unhex(t, reply), 0)
	var have []string
	for _, a := range r.Answers {
		have = append(have, fmt.Sprint(a.Name, " ", a.Type, " ", a.TTL, " ", a.Data))
	}
	want := []string{
		"www.example.com 5 60 cud.example.com",
		"cud.example.com 1 60 192.0.2.1",
		"example.com 15 60 10 mail.example.com",
		`example.com 16 60 "a\"" "c\001"`,
		"example.com 65 60 1 . alpn=h2,h3",
		`example.com 65280 60 \# 2 beef`,
	}
	if r.Damaged || !slices.Equal(have, want) {
		t.Errorf("damaged %v\n%s\nwant\n%s", r.Damaged, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

func TestEveryCutIsDamaged(t *testing.T) {
	whole := unhex(t, reply)
	for n := headerSize; n < len(whole); n++ {
		if m := read(t, DNS, whole[:n], len(whole)-n); !m.Damaged || m.Length != len(whole) {
			t.Fatalf("cut at %d: %+v", n, m)
		}
	}
}

// Names of 255 bytes within record data.
func TestLongestTexts(t *testing.T) {
	long := strings.Repeat("61", 255)
	head := "0001 8000 0000 0001 0000 0000 00"
	for name, text := range map[string]string{
		"alpn":     head + "0041 0001 00000000 0107 0001 00 0001 0100 ff" + long,
		"caa":      head + "0101 0001 00000000 0102 00 ff" + long + "62",
		"txt":      head + "0010 0001 00000000 0100 ff" + long,
		"caa, cut": head + "0101 0001 00000000 0100 00 ff" + strings.Repeat("61", 254),
	} {
		b := unhex(t, text)
		m := read(t, DNS, b, 0)
		if len(m.Answers) != 1 || name != "caa, cut" && !strings.Contains(m.Answers[0].Data, strings.Repeat("a", 255)) {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestHostileNames(t *testing.T) {
	head := "0001 8000 0001 0000 0000 0000"
	for name, text := range map[string]string{
		"points to itself":  head + "c00c 0001 0001",
		"points forward":    head + "c010 0001 0001 00",
		"loop over a label": head + "0161 c00c 0001 0001",
		"label too long":    head + "40" + strings.Repeat("61", 64) + "00 0001 0001",
		"name too long":     head + strings.Repeat("3f"+strings.Repeat("61", 63), 5) + "00 0001 0001",
		"ends in a label":   head + "05 6161",
	} {
		if m := read(t, DNS, unhex(t, text), 0); !m.Damaged || len(m.Questions) != 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// A message of 64 KiB may not say more than a few times that.
func TestMuchTextFromFewBytes(t *testing.T) {
	b := unhex(t, "0001 8000 0000 ffff 0000 0000"+strings.Repeat("3f"+strings.Repeat("01", 63), 3)+"00 0010 0001 00000000 0000")
	for len(b) < 65_000 {
		b = append(b, unhex(t, "c00c 0010 0001 00000000 0000")...)
	}
	var r reader
	r.message(app.TestFlow(DNS, 17, nil), b, 0)
	if len(r.text) > 4*maxText || len(r.msg.Answers) > maxRecords {
		t.Errorf("%d bytes of text, %d records", len(r.text), len(r.msg.Answers))
	}
}

func TestStream(t *testing.T) {
	q, r := unhex(t, query), unhex(t, reply)
	framed := func(b []byte) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(b)))) + string(b) }
	for _, size := range []int{1, 2, 7, 1000} {
		var ids []string
		next := apptest.Stream(DNS, size, func(f *app.Fact) {
			m := f.Body.(*Message)
			ids = append(ids, fmt.Sprint(f.Dir, m.Response, len(m.Answers), m.Damaged))
		}, apptest.Client(framed(q)+framed(q)), apptest.Server(framed(r)))
		if next != app.Continue || !slices.Equal(ids, []string{"0 false 0 false", "0 false 0 false", "1 true 6 false"}) {
			t.Errorf("pieces of %d: %v", size, ids)
		}
	}
	if next := apptest.Stream(DNS, 100, func(*app.Fact) {}, apptest.Said{Text: "x", Missing: 5}); next != app.Done {
		t.Error("goes on after a hole")
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		query: app.Sure, reply: app.Sure,
		"0000 8400 0000 0001 0000 0000 0161 00 0001 8001 00000078 0004 01020304":        app.Sure, // mDNS announcement
		"1234 0110 0001 0000 0000 0000 20 " + strings.Repeat("43", 32) + "00 0020 0001": app.No,   // NetBIOS
		strings.Repeat("00", 40): app.No,
		strings.Repeat("ff", 40): app.No,
	} {
		if have := recognise(app.Client, unhex(t, text)); have != want {
			t.Errorf("%s: %d", text, have)
		}
	}
}

func TestMessagesAllocateLittle(t *testing.T) {
	b := unhex(t, reply)
	var r reader
	f := app.TestFlow(DNS, 17, nil)
	if n := testing.AllocsPerRun(100, func() { r.message(f, b, 0) }); n > 1 {
		t.Errorf("%v allocations for a message", n)
	}
}

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, DNS, unhex(f, query), unhex(f, reply))
}

func FuzzStream(f *testing.F) {
	apptest.FuzzStream(f, DNS, []apptest.Said{apptest.Client("\x00\x20" + string(unhex(f, query))), apptest.Server("\x00\x90" + string(unhex(f, reply)))})
}
