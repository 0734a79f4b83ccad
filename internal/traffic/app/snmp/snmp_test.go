package snmp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

func tlv(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	if len(body) > 127 {
		return string([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}) + body
	}
	return string([]byte{tag, byte(len(body))}) + body
}

// message is a response with the variables.
func message(version string, variables ...string) string {
	return tlv(0x30, tlv(2, version), tlv(4, "public"), tlv(0xa2, tlv(2, "\x07"), tlv(2, "\x00"), tlv(2, "\x00"), tlv(0x30, variables...)))
}

func variable(value string) string {
	return tlv(0x30, tlv(6, "\x2b\x06\x01\x02\x01\x01\x05\x00"), value)
}

var version3 = tlv(0x30, tlv(2, "\x03"), tlv(0x30, tlv(2, "\x09"), tlv(2, "\x05\xdc"), tlv(4, "\x03"), tlv(2, "\x03")),
	tlv(4, tlv(0x30, tlv(4, "engine"), tlv(2, "\x01"), tlv(2, "\x02"), tlv(4, "bob"), tlv(4, "a"), tlv(4, "p"))), tlv(4, "encrypted"))

func read(text string) (out []Message) {
	p := SNMP.NewDatagram()
	p.Start(app.TestFlow(SNMP, 17, func(f *app.Fact) {
		m := *f.Body.(*Message)
		m.Variables = slices.Clone(m.Variables)
		out = append(out, m)
	}))
	p.Datagram(app.Client, []byte(text), 0)
	p.Close()
	return out
}

func TestMessage(t *testing.T) {
	m := read(message("\x01", variable(tlv(4, "router")), variable(tlv(4, "\x00\xff")), variable(tlv(0x43, "\x01\x00")), variable(tlv(2, "\xff")), variable(tlv(0x40, "\x01\x02\x03\x04")), variable(tlv(5))))[0]
	var values []string
	for _, v := range m.Variables {
		values = append(values, v.Value)
	}
	if m.Damaged || m.Version != 2 || m.Community != "public" || m.PDU != 2 || m.RequestID != 7 || m.Variables[0].OID != "1.3.6.1.2.1.1.5.0" ||
		strings.Join(values, " ") != "router 0x00ff 256 -1 1.2.3.4 " {
		t.Errorf("%+v", m)
	}
	if v3 := read(version3)[0]; v3.Damaged || v3.Version != 3 || v3.User != "bob" || string(v3.EngineID) != "engine" || !v3.Encrypted {
		t.Errorf("%+v", v3)
	}
}

func TestHostile(t *testing.T) {
	whole := message("\x00", variable(tlv(4, "router")))
	for n := range whole {
		if n > 0 && recognise(app.Client, []byte(whole[:n])) != app.No {
			t.Errorf("cut at %d is recognised", n)
		}
		bad := []byte(whole)
		bad[n] ^= 0x81
		read(string(bad))
	}
	many := message("\x00", slices.Repeat([]string{variable(tlv(4, strings.Repeat("x", 2000)))}, 20)...)
	if m := read(many)[0]; m.Damaged || len(m.Variables[0].Value) != maxValue {
		t.Errorf("%d bytes of a value", len(m.Variables[0].Value))
	}
	if m := read(message("\x00", slices.Repeat([]string{variable(tlv(5))}, 1000)...))[0]; len(m.Variables) != maxVariables {
		t.Errorf("%d variables", len(m.Variables))
	}
	if m := read(tlv(0x30, tlv(2, "\x00"), tlv(4, "public"), tlv(0xa0, "junk")))[0]; !m.Damaged || m.Community != "public" {
		t.Errorf("%+v", m)
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		message("\x00"): app.Sure, message("\x01"): app.Sure, version3: app.Sure, message("\x02"): app.No,
		tlv(0x30, tlv(2, "\x00"), tlv(4, "x"), tlv(0x30)): app.No, "0": app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d", text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-mgmt__ntop__snmp.pcap.pcapng")
	var have, want []string
	apptest.Run(t, path, []app.Protocol{SNMP}, func(f *app.Fact) {
		m := f.Body.(*Message)
		line := fmt.Sprint(f.Flow.Packet, " ", m.Community, " ")
		switch {
		case m.PDU == trapV1: // which has no number
		case m.Version < 3:
			line += strconv.FormatInt(m.RequestID, 10)
		default:
			line += m.User
		}
		for _, v := range m.Variables {
			line += " " + v.OID
		}
		have = append(have, line)
	})
	for _, row := range apptest.Tshark(t, path, "snmp", "frame.number", "snmp.community", "snmp.request_id", "snmp.name", "snmp.msgUserName", "snmp.msgVersion") {
		line := row[0][0] + " " + strings.Join(row[1], "") + " "
		if len(row[5]) == 0 {
			line += strings.Join(row[2], "")
		} else {
			line += strings.Join(row[4], "")
		}
		for _, oid := range row[3] {
			line += " " + oid
		}
		want = append(want, line)
	}
	if len(have) != len(want) || len(want) < 50 {
		t.Fatalf("%d messages, want %d", len(have), len(want))
	}
	for i := range want {
		if have[i] != want[i] {
			t.Errorf("have %s\nwant %s", have[i], want[i])
		}
	}
}

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, SNMP, []byte(message("\x00", variable(tlv(4, "router")))), []byte(version3))
}
