package s7comm

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// tpkt wraps a unit.
func tpkt(unit string) string {
	return string(binary.BigEndian.AppendUint16([]byte{3, 0}, uint16(4+len(unit)))) + unit
}

// s7 makes a message of parameters and data.
func s7(kind byte, params, data string) string {
	head := []byte{0x32, kind, 0, 0, 0, 9}
	head = binary.BigEndian.AppendUint16(head, uint16(len(params)))
	head = binary.BigEndian.AppendUint16(head, uint16(len(data)))
	if kind == answer || kind == answerData {
		head = append(head, 0x85, 0x04)
	}
	return tpkt("\x02\xf0\x80" + string(head) + params + data)
}

// entry makes one of a status list, 28 bytes wide.
func entry(index byte, order, version string) string {
	return string([]byte{0, index}) + order + strings.Repeat(" ", 20-len(order)) + "\x00\xc0" + version
}

var (
	hello    = tpkt("\x11\xe0\x00\x00\x00\x01\x00\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x0a")
	accepted = tpkt("\x11\xd0\x00\x01\x00\x05\x00\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x01\x02")
	setUp    = s7(jobRequest, "\xf0\x00\x00\x01\x00\x01\x01\xe0", "")
	write    = s7(jobRequest, "\x05\x01\x12\x0a\x10\x02\x00\x04\x00\x05\x84\x00\x00\x10", "\x00\x04\x00\x20abcd")
	failed   = s7(answerData, "\x05\x01", "\x05")
	load     = s7(jobRequest, "\x1a\x00\x00\x00\x00\x00\x00\x00\x09_0800001P\x0d1000142000130", "")
	start    = s7(jobRequest, "\x28\x00\x00\x00\x00\x00\x00\xfd\x00\x00\x09P_PROGRAM", "")
	insert   = s7(jobRequest, "\x28\x00\x00\x00\x00\x00\x00\xfd\x00\x02\x50\x05\x05_INSE", "")
	halt     = s7(jobRequest, "\x29\x00\x00\x00\x00\x00\x09P_PROGRAM", "")
	askList  = s7(userData, "\x00\x01\x12\x04\x11\x44\x01\x00", "\xff\x09\x00\x04\x00\x11\x00\x00")
	list     = "\x00\x11\x00\x00\x00\x1c\x00\x02" + entry(1, "6ES7 315-2EH14-0AB0", "\x00\x03\x00\x01") + entry(7, "", "V\x03\x02\x06")
	list1    = s7(userData, "\x00\x01\x12\x08\x12\x84\x01\x02\x07\x01\x00\x00", "\xff\x09\x00\x14"+list[:20])
	list2    = s7(userData, "\x00\x01\x12\x08\x12\x84\x01\x02\x07\x00\x00\x00", "\xff\x09\x00\x2c"+list[20:])
	plus     = tpkt("\x02\xf0\x80\x72\x01\x00\x0a\x31\x00\x00\x04\xca\x00\x00\x00\x01\x00")

	conversation = []apptest.Said{
		apptest.Client(hello), apptest.Server(accepted), apptest.Client(setUp + write), apptest.Server(failed), apptest.Client(load + start + insert + halt),
		apptest.Client(askList), apptest.Server(list1 + list2), apptest.Client(plus),
	}
)

func line(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Connect:
		return fmt.Sprintf("connect %v %x %x", m.Confirmed, m.Called, m.Calling)
	case *Plus:
		return fmt.Sprintf("plus %d %x %s %s", m.Version, m.Opcode, m.Name, m.Action)
	case *Message:
		return fmt.Sprintf("%d %s/%s %v %x %v %q %x %+v", m.Reference, m.Name, m.Action, m.Response, m.Error, m.Items, m.Block, m.List, m.Identity)
	}
	return ""
}

func TestConversation(t *testing.T) {
	const none = "{OrderNumber: Firmware: System: Module: Plant: Serial: Type:}"
	want := []string{
		"connect false 0102 0100", "connect true 0102 0100", `9 set up communication/connect false 0 [] "" 0 ` + none,
		`9 write variables/write false 0 [{132 5 16 4 2}] "" 0 ` + none, `9 write variables/write true 8504 [] "" 0 ` + none,
		`9 request download/program false 0 [] "_0800001P" 0 ` + none, `9 program invocation/start false 0 [] "P_PROGRAM" 0 ` + none,
		`9 program invocation/program false 0 [] "_INSE" 0 ` + none, `9 stop/stop false 0 [] "P_PROGRAM" 0 ` + none,
		`9 read status list/discover false 0 [] "" 11 ` + none, `9 read status list/discover true 0 [] "" 0 ` + none,
		`9 read status list/discover true 0 [] "" 11 {OrderNumber:6ES7 315-2EH14-0AB0 Firmware:V3.2.6 System: Module: Plant: Serial: Type:}`,
		"plus 1 31 create object connect",
	}
	for _, size := range []int{1, 7, 1000} {
		var have []string
		apptest.Stream(S7, size, func(f *app.Fact) { have = append(have, line(f)) }, conversation...)
		if !slices.Equal(have, want) {
			t.Errorf("pieces of %d:\n%s\nwant\n%s", size, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Every message, cut short behind a header that owns up to it, is read without a panic and says no more than the whole one.
func TestCut(t *testing.T) {
	for _, m := range []string{hello, write[:len(write)-8], failed, load, start, insert, halt, askList, list2, plus} {
		for n := 1; n < len(m)-tpktSize; n++ {
			apptest.Stream(S7, 1000, func(f *app.Fact) {
				if m, ok := f.Body.(*Message); ok && (len(m.Items) > 0 || m.Identity != Identity{} || m.Block != "") {
					t.Errorf("%d bytes gave %s", n, line(f))
				}
			}, apptest.Client(tpkt(m[tpktSize:][:n])))
		}
	}
	n := 0
	apptest.Stream(S7, 1000, func(*app.Fact) { n++ }, apptest.Client(write[:20]), apptest.Said{Text: halt, Missing: 40})
	if n != 1 {
		t.Errorf("%d facts after a hole", n)
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		hello: app.More, hello + setUp: app.Sure, accepted + failed: app.Sure, halt: app.Sure, plus: app.Sure, hello[:3]: app.More, "\x03": app.More,
		tpkt("\x02\xf0\x80\x0d\x01\x05"):                 app.No, // ISO session, as of MMS
		hello + tpkt("\x02\xf0\x80\x7f\x65\x82\x01\x94"): app.No, // the remote desktop
		hello + "\x16\x03\x01":                           app.No,
		"\x03\x01":                                       app.No, "\x03\x00\x00\x06\x01\xe0": app.No, "\x03\x00\x00\x07\x09\xe0\x00": app.No, hello + hello + hello + hello: app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{
		"ot-s7__ITI__snap7_s300_everything.pcapng.pcap": 64, "ot-s7__ITI__step7_s300_stop.pcapng.pcap": 4, "ot-s7__cisagov__s7comm_plus.pcap": 34,
	} {
		t.Run(file, func(t *testing.T) {
			path := apptest.Shared(t, file)
			have := map[uint64]string{}
			apptest.Run(t, path, []app.Protocol{S7}, func(f *app.Fact) {
				m, ok := f.Body.(*Message)
				if !ok {
					return
				}
				function := fmt.Sprintf("0x%02x", m.Function)
				if m.Name == "" && m.Response && m.Error != 0 {
					function = ""
				}
				if m.UserData && m.Function == 0 {
					function = "0/" // tshark names no function of this group
				} else if m.UserData {
					function = fmt.Sprintf("%d/%d", m.Function, m.Sub)
				}
				var items []string
				for _, i := range m.Items {
					items = append(items, fmt.Sprintf("%d:0x%02x:0x%06x", i.Block, i.Area, i.Address))
				}
				have[f.Flow.Packet] += fmt.Sprintln(m.Reference, function, items, m.Block)
			})
			rows := apptest.Tshark(t, path, "s7comm", "frame.number", "s7comm.header.pduref", "s7comm.param.func", "s7comm.param.userdata.funcgroup", "s7comm.param.userdata.subfunc",
				"s7comm.param.item.db", "s7comm.param.item.area", "s7comm.param.item.address", "s7comm.param.pistart.servicename", "s7comm.param.blockcontrol.filename")
			for _, row := range rows {
				frame, _ := strconv.ParseUint(row[0][0], 10, 64)
				function := strings.Join(row[2], "")
				if len(row[3]) > 0 {
					function = row[3][0] + "/" + strings.Join(row[4], "")
				}
				var items []string
				for i := range row[5] {
					items = append(items, row[5][i]+":"+row[6][i]+":"+row[7][i])
				}
				want := fmt.Sprintln(row[1][0], function, items, strings.Join(slices.Concat(row[8], row[9]), ""))
				if have[frame] != want {
					t.Errorf("packet %d: %q, want %q", frame, have[frame], want)
				}
			}
			if len(rows) < least {
				t.Errorf("%d messages were compared", len(rows))
			}
		})
	}
}

// The capture's controller says what it is.
func TestIdentity(t *testing.T) {
	var have Identity
	apptest.Run(t, apptest.Shared(t, "ot-s7__ITI__snap7_s300_everything.pcapng.pcap"), []app.Protocol{S7}, func(f *app.Fact) {
		if m, ok := f.Body.(*Message); ok && m.Identity != (Identity{}) && m.List == 0x1c {
			have = m.Identity
		}
	})
	want := Identity{System: "S7300/ET200M station_1", Module: "PLC_1", Serial: "S C-B1U393142011", Type: "CPU 315-2 PN/DP"}
	if have != want {
		t.Errorf("%+v", have)
	}
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, S7, conversation) }
