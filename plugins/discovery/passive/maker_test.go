package passive

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

const listing = "../../../../shared/data/fingerprints/oui/ieee-oui.tsv.gz"

// TestMakers looks some makers up; with PICKET_UPDATE it makes the table anew from the IEEE's listing.
func TestMakers(t *testing.T) {
	if os.Getenv("PICKET_UPDATE") != "" {
		if _, err := os.Stat(listing); err == nil {
			writeMakers(t)
		}
	}
	sorted := sort.SliceIsSorted(make([]struct{}, makerCount), func(i, j int) bool {
		return makerRows[i*makerRow:][:makerNumber] < makerRows[j*makerRow:][:makerNumber]
	})
	if makerCount < 30_000 || !sorted || !strings.HasSuffix(makerNames, "\n") {
		t.Errorf("%d makers, in order: %v, the end %q", makerCount, sorted, makerNames[len(makerNames)-9:])
	}
	for i := range makerCount { // all of them have one
		row := makerRows[i*makerRow:]
		if name := maker(fmt.Sprintf("%02x:%02x:%02x:00:00:00", row[0], row[1], row[2])); (name == "") != (row[0]&2 != 0) {
			t.Errorf("%x: %q", row[:makerNumber], name)
		}
	}
	for mac, want := range map[string]string{
		"00:19:06:ea:b8:80": "Cisco Systems, Inc", "08:00:06:93:cf:32": "SIEMENS AG", "02:00:00:00:00:01": "", "": "", "00": "", "zz:00:00:00:00:00": "", "aa:bb:cc:00:00:00": "",
	} {
		if have := maker(mac); have != want {
			t.Errorf("%s: %q", mac, have)
		}
	}
}

func writeMakers(t *testing.T) {
	t.Helper()
	packed, err := os.ReadFile(listing)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	makers := map[string]string{}
	for line := range strings.Lines(string(text)) {
		col := strings.Split(strings.TrimSpace(line), "\t")
		if len(col) != 3 || col[0] != "MA-L" {
			continue
		}
		prefix, err := hex.DecodeString(col[1])
		if err != nil {
			t.Fatal(err)
		}
		name, known := makers[string(prefix)]
		if other := strings.TrimSpace(col[2]); !known || other < name { // of two, the same one each time
			makers[string(prefix)] = other
		}
	}
	if err := os.WriteFile("makers.bin", packMakers(makers), 0o644); err != nil {
		t.Fatal(err)
	}
}

func packMakers(makers map[string]string) []byte {
	number := func(n int) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16)} }
	out, names, places := number(len(makers)), []byte{}, map[string]int{}
	for _, prefix := range slices.Sorted(maps.Keys(makers)) {
		name := makers[prefix]
		if _, known := places[name]; !known {
			places[name] = len(names)
			names = append(append(names, name...), '\n')
		}
		out = append(append(out, prefix...), number(places[name])...)
	}
	return append(out, names...)
}

// The maker of the card is told apart, with little confidence: a device's own words count more, whichever comes first.
func TestTheMakerOfTheCard(t *testing.T) {
	arp := sdk.Batch{ARP: []sdk.ARP{{Seen: link, Protocol: "arp", Operation: "reply", SenderMAC: "08:00:06:00:00:01", SenderIP: ip("192.168.1.5")}}}
	words := sdk.Batch{DNS: answers(sdk.DNS{Seen: mdns, Protocol: "mdns"}, "x._ipp._tcp.local", "TXT", `"usb_MFG=HP"`).DNS}
	o := observe(t, "{}")
	if have := o.batch(arp); !slices.Equal(have, []string{"arp|192.168.1.5|08:00:06:00:00:01||0.95", "arp|192.168.1.5|08:00:06:00:00:01||0.4|vendor=SIEMENS AG"}) {
		t.Errorf("%q", have)
	}
	if have := o.batch(arp); len(have) > 0 {
		t.Errorf("told twice: %q", have)
	}
	if have := strings.Join(o.batch(words), " "); !strings.Contains(have, "vendor=HP") {
		t.Errorf("the device's own words: %q", have)
	}
	o = observe(t, "{}")
	o.batch(words)
	if have := o.batch(arp); len(have) != 1 || strings.Contains(have[0], "vendor") {
		t.Errorf("after the device's own words: %q", have)
	}
}
