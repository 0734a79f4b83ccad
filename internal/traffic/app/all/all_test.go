package all_test

import (
	"slices"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/all"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/ftp"
)

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range all.Protocols() {
		if p.Name == "" || seen[p.Name] {
			t.Errorf("the name %q is there twice, or empty", p.Name)
		}
		seen[p.Name] = true
		if p.Stream == nil && p.NewStream != nil && p.Name != ftp.Data.Name || p.Datagram == nil && p.NewDatagram != nil {
			t.Errorf("%s has a parser for what it does not recognise", p.Name)
		}
	}
}

// A connection that is upgraded from HTTP/1.1 to HTTP/2 gives facts of both.
func TestUpgrade(t *testing.T) {
	var have []string
	apptest.Run(t, apptest.Shared(t, "benign-http2__secdev__http2_h2c.pcap"), all.Protocols(), func(f *app.Fact) {
		have = append(have, f.Protocol)
	})
	if have = slices.Compact(have); !slices.Equal(have, []string{"http", "http2"}) {
		t.Errorf("%q", have)
	}
}
