package tls

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

func beat(kind byte, length int, payload string) string {
	size := 3 + len(payload)
	return string([]byte{recordHeartbeat, 3, 2, byte(size >> 8), byte(size), kind, byte(length >> 8), byte(length)}) + payload
}

// tshark reads the same heartbeats.
func TestHeartbeatsAsTshark(t *testing.T) {
	const path = "../../../../plugins/detectors/tls/testdata/heartbleed/input.pcap"
	var have, want []string
	apptest.Run(t, path, []app.Protocol{TLS()}, func(f *app.Fact) {
		if b, is := f.Body.(*Heartbeat); is {
			have = append(have, fmt.Sprint(f.Flow.Packet, " ", b.Response, " ", b.Length, " ", b.Size))
		}
	})
	for _, row := range apptest.Tshark(t, path, "tls.heartbeat_message", "frame.number", "tls.heartbeat_message.type", "tls.heartbeat_message.payload_length", "tls.record.length") {
		length := number(row[2][0])
		size := number(row[3][0])
		if length+19 <= size {
			continue // as it should be
		}
		want = append(want, fmt.Sprint(row[0][0], " ", row[1][0] == "2", " ", length, " ", size))
	}
	if !slices.Equal(have, want) || len(want) != 3 {
		t.Errorf("%q, tshark reads %q", have, want)
	}
}

// A heartbeat that asks for more than it brings is told, and what answers it; honest ones, and what is encrypted, are not.
func TestHeartbeats(t *testing.T) {
	const changeCipher = "\x14\x03\x02\x00\x01\x01"
	hello := conversation(t, 0x0303)[0]
	padding := strings.Repeat("p", 16)
	ask, give := apptest.Client(beat(1, 0x4000, "")), apptest.Server(beat(2, 0x4000, strings.Repeat("m", 5000)))
	for name, c := range map[string]struct {
		talk []apptest.Said
		want []string
	}{
		"bleeding":      {[]apptest.Said{ask, give}, []string{"0 false 16384 3 16400", "1 true 16384 5003 5000"}},
		"mended":        {[]apptest.Said{ask}, []string{"0 false 16384 3 16400"}},
		"honest":        {[]apptest.Said{apptest.Client(beat(1, 4, "ping"+padding)), apptest.Server(beat(2, 4, "ping"+padding))}, nil},
		"by the server": {[]apptest.Said{apptest.Server(beat(1, 100, padding))}, []string{"1 false 100 19 100"}},
		"encrypted":     {[]apptest.Said{apptest.Client(changeCipher), ask, give}, nil},
		"too short":     {[]apptest.Said{apptest.Client("\x18\x03\x02\x00\x02\x01\x40")}, nil},
	} {
		for _, size := range []int{1, 1 << 20} {
			var have []string
			apptest.Stream(TLS(), size, func(f *app.Fact) {
				if b, is := f.Body.(*Heartbeat); is {
					have = append(have, fmt.Sprint(f.Dir, " ", b.Response, " ", b.Length, " ", b.Size, " ", b.Beyond))
				}
			}, append([]apptest.Said{hello}, c.talk...)...)
			if !slices.Equal(have, c.want) {
				t.Errorf("%s, in parts of %d: %q, want %q", name, size, have, c.want)
			}
		}
	}
}
