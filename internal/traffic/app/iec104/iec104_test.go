package iec104

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// data makes a message of application data.
func data(asdu string) string {
	return "\x68" + string([]byte{byte(4 + len(asdu))}) + "\x04\x00\x02\x00" + asdu
}

const (
	startTransfer = "\x68\x04\x07\x00\x00\x00"
	started       = "\x68\x04\x0b\x00\x00\x00"
	stopTransfer  = "\x68\x04\x13\x00\x00\x00"
	acknowledge   = "\x68\x04\x01\x00\x06\x00"
)

var (
	interrogate = data("\x64\x01\x06\x00\x0a\x00\x00\x00\x00\x14")
	points      = data("\x01\x83\x14\x00\x0a\x00\x05\x00\x00\x01\x00\x01")
	scattered   = data("\x0b\x02\x03\x00\x0a\x00\x05\x00\x00\x01\x00\x00\x09\x01\x00\x02\x00\x00")
	operate     = data("\x2d\x01\x06\x05\x0a\x01\x01\x02\x03\x81")
	refused     = data("\x2d\x01\x47\x05\x0a\x01\x01\x02\x03\x81")
	reset       = data("\x69\x01\x06\x00\x0a\x00\x00\x00\x00\x01")
	segment     = data("\x7d\x01\x0d\x00\x0a\x00\x01\x00\x00\x01\x00\x01\x03abc")

	conversation = []apptest.Said{
		apptest.Client(startTransfer), apptest.Server(started), apptest.Client(interrogate), apptest.Server(points + scattered), apptest.Client(acknowledge + operate),
		apptest.Server(refused), apptest.Client(reset + segment + stopTransfer),
	}
)

func line(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Control:
		return fmt.Sprintf("%s %v %s", m.Name, m.Confirm, m.Action)
	case *Message:
		return fmt.Sprintf("%d %d %s/%s cause %d %v originator %d station %d %d %v %x %v", m.Send, m.Receive, m.Name, m.Action, m.Cause, m.Negative, m.Originator, m.Station, m.Count, m.Objects, m.Value, m.Damaged)
	}
	return ""
}

func TestConversation(t *testing.T) {
	want := []string{
		"start false connect", "start true connect", "2 1 C_IC_NA_1/read cause 6 false originator 0 station 10 1 [0] 14 false",
		"2 1 M_SP_NA_1/ cause 20 false originator 0 station 10 3 [5 6 7]  false", "2 1 M_ME_NB_1/ cause 3 false originator 0 station 10 2 [5 265]  false",
		"2 1 C_SC_NA_1/operate cause 6 false originator 5 station 266 1 [197121] 81 false", "2 1 C_SC_NA_1/operate cause 7 true originator 5 station 266 1 [197121] 81 false",
		"2 1 C_RP_NA_1/restart cause 6 false originator 0 station 10 1 [0] 01 false", "2 1 F_SG_NA_1/program cause 13 false originator 0 station 10 1 [1]  false", "stop false stop",
	}
	for _, size := range []int{1, 7, 1000} {
		var have []string
		apptest.Stream(IEC104, size, func(f *app.Fact) { have = append(have, line(f)) }, conversation...)
		if !slices.Equal(have, want) {
			t.Errorf("pieces of %d:\n%s\nwant\n%s", size, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestCut(t *testing.T) {
	for _, whole := range []string{interrogate, points, scattered, operate} {
		for n := range len(whole) - headerSize {
			apptest.Stream(IEC104, 1000, func(f *app.Fact) {
				if m := f.Body.(*Message); !m.Damaged || m.Value != nil {
					t.Errorf("%d bytes gave %s", n, line(f))
				}
			}, apptest.Client(data(whole[headerSize:][:n])))
		}
	}
	n := 0
	apptest.Stream(IEC104, 1000, func(*app.Fact) { n++ }, apptest.Client(points[:9]), apptest.Said{Text: operate, Missing: 11}, apptest.Client("lost"), apptest.Client(operate))
	if n != 2 {
		t.Errorf("%d facts after a hole", n)
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		startTransfer: app.Sure, acknowledge: app.Sure, interrogate: app.Sure, points: app.Sure, points[:12]: app.Sure, points[:11]: app.More, "h": app.More, "h\x04": app.More,
		points + startTransfer: app.Sure, "hello": app.More, "hello world": app.No, "h\x04\x07\x00\x00\x01": app.No, "h\x05\x07\x00\x00\x00": app.No, "h\x04\x0f\x00\x00\x00": app.No,
		data("\x64\x01\x06\x00\x0a\x00\x00\x00\x00\x14more"): app.Likely, data("\x99\x01\x06\x00\x0a\x00\x00\x00\x00\x14"): app.No, data("\x64\x01\x00\x00\x0a\x00\x00\x00\x00\x14"): app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{"ot-iec104__ntop__iec60780-5-104.pcap": 4, "ot-iec104__snort3__iec104_asdu_func.pcap": 1} {
		t.Run(file, func(t *testing.T) {
			path := apptest.Shared(t, file)
			have := map[uint64]string{}
			facts := 0
			apptest.Run(t, path, []app.Protocol{IEC104}, func(f *app.Fact) {
				facts++
				if m, ok := f.Body.(*Message); ok {
					have[f.Flow.Packet] += fmt.Sprintln(m.Type, m.Cause, m.Station, m.Originator, m.Count, m.Objects)
				}
			})
			compared := 0
			for _, row := range apptest.Tshark(t, path, "iec60870_asdu && !_ws.malformed", "frame.number", "iec60870_asdu.typeid", "iec60870_asdu.causetx", "iec60870_asdu.addr", "iec60870_asdu.oa",
				"iec60870_asdu.numix", "iec60870_asdu.ioa") {
				if len(row[1]) != 1 {
					continue // several messages in one packet, whose fields do not line up
				}
				frame, _ := strconv.ParseUint(row[0][0], 10, 64)
				compared++
				if want := fmt.Sprintln(row[1][0], row[2][0], row[3][0], row[4][0], row[5][0], row[6]); have[frame] != want {
					t.Errorf("packet %d: %q, want %q", frame, have[frame], want)
				}
			}
			if compared < least {
				t.Errorf("%d messages were compared", compared)
			}
			t.Logf("%d messages compared, %d facts", compared, facts)
		})
	}
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, IEC104, conversation) }
