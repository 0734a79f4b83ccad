package ssdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

const (
	search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMan: \"ssdp:discover\"\r\nmx: 3\r\nST: upnp:rootdevice\r\nUSER-AGENT: OS/1 UPnP/1.1 app/2\r\n\r\n"
	notify = "NOTIFY * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nCACHE-CONTROL: max-age = 1800\r\nLOCATION: http://10.0.0.9/d.xml\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\n" +
		"SERVER: Linux/4 UPnP/1.0 Camera/7\r\nUSN: uuid:1::upnp:rootdevice\r\n\r\nUSN: of a body"
	answer = "HTTP/1.1 200 OK\nST:upnp:rootdevice\nUSN:uuid:1\nEXT:\nSERVER: S\xff\n\n"
)

func line(m *Message) string {
	return fmt.Sprintf("%d %d %q %q %q %q %q %q %d %d", m.Kind, m.Status, m.Target, m.State, m.USN, m.Location, m.Server, m.Agent, m.MaxAge, m.Wait)
}

func read(b ...string) (lines []string) {
	p := SSDP.NewDatagram()
	p.Start(app.TestFlow(SSDP, 17, func(f *app.Fact) { lines = append(lines, line(f.Body.(*Message))) }))
	for _, b := range b {
		p.Datagram(app.Client, []byte(b), 0)
	}
	p.Close()
	return lines
}

func TestConversation(t *testing.T) {
	want := []string{
		`0 0 "upnp:rootdevice" "" "" "" "" "OS/1 UPnP/1.1 app/2" -1 3`,
		`1 0 "upnp:rootdevice" "ssdp:alive" "uuid:1::upnp:rootdevice" "http://10.0.0.9/d.xml" "Linux/4 UPnP/1.0 Camera/7" "" 1800 -1`,
		`2 200 "upnp:rootdevice" "" "uuid:1" "" "S` + "\ufffd" + `" "" -1 -1`,
	}
	if have := read(search, notify, answer, "GET / HTTP/1.1\r\n\r\n"); !slices.Equal(have, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	for _, whole := range []string{search, notify, answer} {
		for n := range len(whole) {
			if have := read(whole[:n]); len(have) > 1 {
				t.Errorf("%q", have)
			}
		}
	}
	if have := read("HTTP/1.1 x", "NOTIFY * HTTP/1.1\r\nMX: -5\r\nno colon\r\nST: "+strings.Repeat("a", 5000)+strings.Repeat("\r\nA: b", 100)); len(have) != 2 ||
		!strings.HasPrefix(have[0], "2 -1 ") || len(have[1]) > 1100 || !strings.HasSuffix(have[1], "-1") {
		t.Errorf("%q", have)
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		search: app.Sure, notify: app.Sure, answer: app.Sure, "HTTP/1.1 200 OK\r\n\r\n": app.Likely, "M-SEARCH": app.No, "NOTIFY sip:a SIP/2.0\r\n": app.No, "M": app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-smb__elcabezzonn__normal_share_traversal.pcap.pcapng")
	have := map[string]string{}
	apptest.Run(t, path, []app.Protocol{SSDP}, func(f *app.Fact) {
		m := f.Body.(*Message)
		method := ""
		if m.Kind != Answer {
			method, _, _ = strings.Cut(starts[m.Kind], " ")
		}
		have[strconv.FormatUint(f.Flow.Packet, 10)] = fmt.Sprintf("%s %q %q %q", method, m.Server, m.Location, m.Agent)
	})
	rows := apptest.Tshark(t, path, "ssdp", "frame.number", "http.request.method", "http.server", "http.location", "http.user_agent")
	for _, row := range rows {
		want := fmt.Sprintf("%s %q %q %q", strings.Join(row[1], ""), strings.Join(row[2], ""), strings.Join(row[3], ""), strings.Join(row[4], ""))
		if have[row[0][0]] != want {
			t.Errorf("packet %s: %q, want %q", row[0][0], have[row[0][0]], want)
		}
	}
	if len(rows) < 20 {
		t.Errorf("%d messages were compared", len(rows))
	}
}

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, SSDP, []byte(search), []byte(notify), []byte(answer))
}
