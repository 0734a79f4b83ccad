package ntp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

func packet(first, stratum byte, seconds uint32) []byte {
	b := make([]byte, timeSize)
	b[0], b[1], b[2], b[3] = first, stratum, 6, 0xec
	copy(b[12:], "GPS\x00")
	binary.BigEndian.PutUint32(b[40:], seconds)
	binary.BigEndian.PutUint32(b[44:], 1<<31)
	return b
}

func read(b []byte) (out []Message) {
	p := NTP.NewDatagram()
	p.Start(app.TestFlow(NTP, 17, func(f *app.Fact) { out = append(out, *f.Body.(*Message)) }))
	p.Datagram(app.Client, b, 0)
	p.Close()
	return out
}

func TestMessage(t *testing.T) {
	for seconds, want := range map[uint32]time.Time{
		3_913_056_000: time.Date(2024, 1, 1, 0, 0, 0, 5e8, time.UTC), 3600: time.Date(2036, 2, 7, 7, 28, 16, 5e8, time.UTC),
	} {
		m := read(packet(0x24, 1, seconds))[0]
		if m.Version != 4 || m.Mode != ModeServer || m.Stratum != 1 || m.Precision != -20 || string(m.RefID[:3]) != "GPS" || !m.Transmit.Equal(want) || !m.Origin.IsZero() {
			t.Errorf("%+v", m)
		}
	}
	monlist := []byte{0x17, 0, 3, 42, 0, 0, 0, 0}
	if m := read(monlist)[0]; m.Mode != ModePrivate || m.Code != 42 || m.Response {
		t.Errorf("%+v", m)
	}
	whole := packet(0x23, 0, 1)
	for n := 1; n < len(whole); n++ {
		if m := read(whole[:n]); len(m) != 0 {
			t.Errorf("cut at %d: %+v", n, m)
		}
	}
}

func TestRecognise(t *testing.T) {
	for _, test := range []struct {
		d    app.Dir
		b    []byte
		want app.Verdict
	}{
		{app.Client, packet(0x23, 0, 1), app.Likely},
		{app.Server, packet(0x23, 0, 1), app.No}, // a client's packet from a server
		{app.Server, packet(0x24, 1, 1), app.Likely},
		{app.Client, packet(0x2b, 0, 1), app.No}, // version 5
		{app.Client, packet(0x23, 200, 1), app.No},
		{app.Client, packet(0x23, 0, 1)[:47], app.No},
		{app.Client, []byte{0x17, 0, 3, 42, 0, 0, 0, 0}, app.Likely},
		{app.Client, []byte{0x16, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, app.Likely},
		{app.Client, []byte{0x16, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9}, app.No},
	} {
		if have := recognise(test.d, test.b); have != test.want {
			t.Errorf("%d % x: %d, want %d", test.d, test.b, have, test.want)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-mgmt__zeek__ntp.pcap")
	var have, want []string
	apptest.Run(t, path, []app.Protocol{NTP}, func(f *app.Fact) {
		m := f.Body.(*Message)
		have = append(have, fmt.Sprint(f.Flow.Packet, " ", m.Version, m.Mode, m.Leap, m.Stratum, m.Poll, uint8(m.Precision), m.Transmit.UnixMicro()))
	})
	for _, row := range apptest.Tshark(t, path, "ntp && !icmp", "frame.number", "ntp.flags.vn", "ntp.flags.mode", "ntp.flags.li", "ntp.stratum", "ntp.ppoll", "ntp.precision", "ntp.xmt") {
		if row[2][0] == "6" || row[2][0] == "7" {
			continue
		}
		number := func(i int) int64 {
			n, _ := strconv.ParseInt(strings.Join(row[i], ""), 0, 64)
			return n
		}
		at, err := time.Parse("Jan _2, 2006 15:04:05.000000000 MST", strings.Join(row[7], ""))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(row[0][0], " ", number(1), number(2), number(3), number(4), number(5), number(6), at.UnixMicro()))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) < 20 {
		t.Errorf("have %d\n%s\nwant %d\n%s", len(have), strings.Join(have, "\n"), len(want), strings.Join(want, "\n"))
	}
}

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, NTP, packet(0x24, 1, 1), []byte{0x17, 0, 3, 42, 0, 0, 0, 0})
}
