package modbus

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
	readRequest   = "\x00\x01\x00\x00\x00\x06\x11\x03\x00\x6b\x00\x03"
	readResponse  = "\x00\x01\x00\x00\x00\x09\x11\x03\x06\x02\x2b\x00\x00\x00\x64"
	writeRequest  = "\x00\x02\x00\x00\x00\x0b\x11\x10\x00\x01\x00\x02\x04\x00\x0a\x01\x02"
	writeResponse = "\x00\x02\x00\x00\x00\x06\x11\x10\x00\x01\x00\x02"
	coilRequest   = "\x00\x03\x00\x00\x00\x06\x11\x05\x00\xac\xff\x00"
	exception     = "\x00\x03\x00\x00\x00\x03\x11\x85\x02"
	identity      = "\x00\x04\x00\x00\x00\x10\x11\x2b\x0e\x01\x01\x00\x00\x02\x00\x03Acm\x01\x01X"
)

var conversation = []apptest.Said{
	apptest.Client(readRequest), apptest.Server(readResponse), apptest.Client(writeRequest + coilRequest),
	apptest.Server(writeResponse + exception + identity),
}

func TestConversation(t *testing.T) {
	want := []string{
		"1 17 3 false 0 107 3 false  []", "1 17 3 true 0 0 0 false 06022b00000064 []",
		"2 17 16 false 0 1 2 true 000a0102 []", "3 17 5 false 0 172 1 true ff00 []",
		"2 17 16 true 0 1 2 true  []", "3 17 5 true 2 0 0 true  []", "4 17 43 true 0 0 0 false 0e010100000200034163 6d010158 [{0 Acm} {1 X}]",
	}
	want[6] = strings.Replace(want[6], "4163 6d", "41636d", 1)
	for _, size := range []int{1, 5, 100} {
		var have []string
		next := apptest.Stream(Modbus, size, func(f *app.Fact) {
			m := f.Body.(*Message)
			have = append(have, fmt.Sprintf("%d %d %d %v %d %d %d %v %x %v", m.Transaction, m.Unit, m.Function, m.Response, m.Exception, m.Address, m.Quantity, m.Write, m.Data, m.Objects))
		}, conversation...)
		if !slices.Equal(have, want) || next != app.Continue {
			t.Errorf("pieces of %d:\n%s\nwant\n%s", size, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestRecognise(t *testing.T) {
	for _, test := range []struct {
		d    app.Dir
		text string
		want app.Verdict
	}{
		{app.Client, readRequest, app.Sure}, {app.Server, readResponse, app.Sure}, {app.Client, writeRequest, app.Sure}, {app.Server, writeResponse, app.Sure},
		{app.Server, exception, app.Likely}, {app.Client, exception, app.No}, {app.Client, readResponse, app.No},
		{app.Client, readRequest[:7], app.More}, {app.Client, readRequest[:11], app.More}, {app.Client, "\x00\x01\x00\x01", app.No},
		{app.Client, strings.Repeat("\x00", 20), app.No}, {app.Client, "\x00\x01\x00\x00\xff\xff\x11\x03", app.No},
	} {
		if have := recognise(test.d, []byte(test.text)); have != test.want {
			t.Errorf("%d %q: %d, want %d", test.d, test.text, have, test.want)
		}
	}
}

func TestAfterAHole(t *testing.T) {
	n := 0
	apptest.Stream(Modbus, 100, func(*app.Fact) { n++ }, apptest.Client(readRequest[:5]), apptest.Said{Text: readRequest, Missing: 9}, apptest.Client("bad bytes"), apptest.Client(readRequest))
	if n != 2 {
		t.Errorf("%d messages", n)
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{
		"ot-modbus__zeek__modbusSmall.pcap": 30, "ot-modbus__OISF__modbus.pcap": 20, "ot-modbus__antoinelemay__CnC_uploading_exe_modbus_6RTU_with_operate.pcap": 290,
	} {
		t.Run(file, func(t *testing.T) {
			path := apptest.Shared(t, file)
			have, want := map[uint64]string{}, map[uint64]string{}
			apptest.Run(t, path, []app.Protocol{Modbus}, func(f *app.Fact) {
				m := f.Body.(*Message)
				text := fmt.Sprintf("%d %d %d %d;", m.Transaction, m.Unit, m.Function, m.Exception)
				have[f.Flow.Packet] += text
			})
			for _, row := range apptest.Tshark(t, path, "modbus && !_ws.malformed", "frame.number", "mbtcp.trans_id", "mbtcp.unit_id", "modbus.func_code", "modbus.exception_code") {
				if len(row[3]) != 1 {
					continue // several messages in one packet, whose fields do not line up
				}
				frame, _ := strconv.ParseUint(row[0][0], 10, 64)
				if strings.Contains(file, "OISF") && frame > 90 {
					continue // port 502 connects to another one and sends exceptions: tshark goes by the port
				}
				exception := "0"
				if len(row[4]) > 0 {
					exception = row[4][0]
				}
				want[frame] = fmt.Sprintf("%s %s %s %s;", row[1][0], row[2][0], row[3][0], exception)
			}
			for frame, w := range want {
				if have[frame] != w {
					t.Errorf("packet %d: %q, want %q", frame, have[frame], w)
				}
			}
			if len(want) < least {
				t.Errorf("%d messages were compared", len(want))
			}
		})
	}
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, Modbus, conversation) }
