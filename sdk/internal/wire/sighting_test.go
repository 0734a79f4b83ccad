package wire

import (
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"google.golang.org/protobuf/proto"
)

// What is appended is what the message would be.
func TestAppendSighting(t *testing.T) {
	list := []sdk.Sighting{
		{},
		{Time: time.Unix(0, 0), IP: netip.MustParseAddr("10.0.0.1"), Confidence: math.Copysign(0, -1)},
		{Time: time.Unix(1e9, 5), IP: netip.MustParseAddr("2001:db8::1"), MAC: "00:11:22:33:44:55", Hostname: "printer", Source: "mdns", Capture: "c", Packet: math.MaxUint64,
			Confidence: 0.5, Facts: map[string]string{"vendor": strings.Repeat("x", 300), "role": "", "os": "linux"}},
		{MAC: "00:11:22:33:44:55", Ports: []sdk.Port{{Index: 3, Name: "Gi0/3", Speed: 1e9, State: "up", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}, {Index: 4, Alias: "\xff"}},
			Links: []sdk.Link{{Port: "Gi0/3", Protocol: "lldp", Name: "core", IP: netip.MustParseAddr("192.0.2.2")}, {}}},
		{Time: time.Unix(-5, 0), Hostname: "\xff not UTF-8"},
		{Facts: map[string]string{"": "nothing", "long": strings.Repeat("y", 20_000)}},
	}
	var b []byte
	want := &pb.InspectResponse{}
	for i := range list {
		b = AppendSighting(b, &list[i])
		want.Sightings = append(want.Sightings, SightingToPB(list[i]))
	}
	var got pb.InspectResponse
	if err := proto.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(&got, want) {
		t.Errorf("got  %v\nwant %v", &got, want)
	}
	var flush pb.FlushResponse
	if err := proto.Unmarshal(b, &flush); err != nil || len(flush.GetSightings()) != len(list) {
		t.Errorf("at the end of a capture: %d, %v", len(flush.GetSightings()), err)
	}
}

// A field that the message gets must be written too.
func TestEveryFieldOfASightingIsWritten(t *testing.T) {
	if n := (&pb.Sighting{}).ProtoReflect().Descriptor().Fields().Len(); n != 11 {
		t.Errorf("a Sighting has %d fields", n)
	}
	if n := reflect.TypeFor[sdk.Sighting]().NumField(); n != 11 {
		t.Errorf("sdk.Sighting has %d fields", n)
	}
}
