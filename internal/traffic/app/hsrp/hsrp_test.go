package hsrp

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

const (
	hello1     = "00 00 10 03 0a 64 05 00 636973636f000000 c0000201"
	advertise1 = "00 03 0001 000a 01 00 0001 0000 00000000"
	hello2     = "01 28 02 00 06 04 0005 020000000001 00000064 00000bb8 00002710 c0000201 000000000000000000000000"
)

func raw(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func read(b []byte) (lines []string) {
	p := HSRP.NewDatagram()
	p.Start(app.TestFlow(HSRP, 17, func(f *app.Fact) { lines = append(lines, fmt.Sprintf("%+v", *f.Body.(*Message))) }))
	p.Datagram(app.Client, b, 0)
	p.Close()
	return lines
}

func TestMessage(t *testing.T) {
	for text, want := range map[string]string{
		hello1:     "{Version:1 Name:hello State:active Group:5 Priority:100 Address:192.0.2.1 Router:[0 0 0 0 0 0]}",
		advertise1: "{Version:1 Name:advertise State: Group:0 Priority:0 Address:invalid IP Router:[0 0 0 0 0 0]}",
		hello2:     "{Version:2 Name:hello State:active Group:5 Priority:100 Address:192.0.2.1 Router:[2 0 0 0 0 1]}",
	} {
		if have := read(raw(t, text)); len(have) != 1 || have[0] != want {
			t.Errorf("have %q\nwant %q", have, want)
		}
		if v := recognise(app.Client, raw(t, text)); v != app.Likely {
			t.Errorf("recognised: %d", v)
		}
	}
}

func TestHostile(t *testing.T) {
	for _, text := range []string{hello1, advertise1, hello2} {
		whole := raw(t, text)
		for n := range whole {
			if have := read(slices.Clone(whole[:n])); len(have) > 0 {
				t.Errorf("cut at %d: %q", n, have)
			}
			bad := slices.Clone(whole)
			bad[n] ^= 0xff
			read(bad)
		}
	}
	for _, text := range []string{"00 07 10 03 0a 64 05 00 636973636f000000 c0000201", "00 00 03 03 0a 64 05 00 636973636f000000 c0000201", "02 28"} {
		if v := recognise(app.Client, raw(t, text)); v != app.No {
			t.Errorf("%s: %d", text, v)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "disc-routing__ntop__hsrp0.pcap")
	var have, want []string
	apptest.Run(t, path, []app.Protocol{HSRP}, func(f *app.Fact) {
		m := f.Body.(*Message)
		have = append(have, fmt.Sprint(f.Flow.Packet, " ", slices.Index(names[:], m.Name), " ", m.Priority, " ", m.Group, " ", m.Address))
	})
	for _, row := range apptest.Tshark(t, path, "hsrp", "frame.number", "hsrp.opcode", "hsrp.priority", "hsrp.group", "hsrp.virt_ip") {
		var line []string
		for _, field := range row {
			line = append(line, strings.Join(field, ","))
		}
		want = append(want, strings.Join(line, " "))
	}
	if !slices.Equal(have, want) || len(want) < 4 {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

func FuzzDatagram(f *testing.F) { apptest.FuzzDatagram(f, HSRP, raw(f, hello1), raw(f, hello2)) }
