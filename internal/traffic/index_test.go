package traffic

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/sdk"
)

// indexed is one row of the shared captures' INDEX.tsv.
type indexed struct {
	file    string
	class   string
	packets uint64
	link    string
}

func readIndex(tb testing.TB) []indexed {
	tb.Helper()
	text, err := os.ReadFile("../../../shared/pcaps/INDEX.tsv")
	if err != nil {
		tb.Skip("no shared captures at ../shared/pcaps")
	}
	var out []indexed
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		col := strings.Split(line, "\t")
		n, err := strconv.ParseUint(col[7], 10, 64)
		if err != nil {
			tb.Fatalf("INDEX.tsv: %s: packets %q", col[0], col[7])
		}
		out = append(out, indexed{file: col[0], class: col[5], packets: n, link: col[8]})
	}
	return out
}

// Captures that break: the number of good packets before the damage, which capinfos refuses to count past.
var damagedCaptures = map[string]string{
	"malformed__OISF__tls_DER-incomplete-header.pcap":             "damaged",
	"malformed__seladb__crash-pcapng-epb-unbounded-length.pcapng": "damaged",
}

// Every packet that capinfos counted is read, with the right link type.
func TestPacketCountsMatchIndex(t *testing.T) {
	links := map[string]capture.LinkType{
		"ether": capture.LinkEthernet, "linux-sll": capture.LinkSLL, "linux-sll2": capture.LinkSLL2,
		"rawip": capture.LinkRaw, "null": capture.LinkNull,
	}
	for _, row := range readIndex(t) {
		t.Run(row.file, func(t *testing.T) {
			f, err := os.Open(filepath.Join("../../../shared/pcaps", row.file))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			sum, err := Analyze(context.Background(), f, Options{}, func([]sdk.Flow) error { return nil })
			var damage *capture.DamagedError
			if errors.As(err, &damage) != (damagedCaptures[row.file] != "") || err != nil && damage == nil {
				t.Errorf("error %v", err)
			}
			if damage == nil && sum.Packets != row.packets {
				t.Errorf("%d packets, the index says %d", sum.Packets, row.packets)
			}
			_, link, _ := strings.Cut(row.link, "/")
			if want, known := links[link]; known && len(sum.LinkTypes) > 0 && sum.LinkTypes[0] != want {
				t.Errorf("link types %v, the index says %s", sum.LinkTypes, link)
			}
		})
	}
}
