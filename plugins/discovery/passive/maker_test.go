package passive

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"slices"
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
	list := makers()
	if len(list) < 30_000 || !slices.IsSorted(list) {
		t.Errorf("%d makers, in order: %v", len(list), slices.IsSorted(list))
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
	var list []string
	for line := range strings.Lines(string(text)) {
		if col := strings.Split(strings.TrimSpace(line), "\t"); len(col) == 3 && col[0] == "MA-L" {
			list = append(list, col[1]+strings.TrimSpace(col[2]))
		}
	}
	slices.Sort(list)
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Join(slices.Compact(list), "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("makers.gz", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
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
