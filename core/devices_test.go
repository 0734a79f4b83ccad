package core

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// The times of a capture are what its maker wrote: one to come would keep an address for its device.
func TestNobodyIsSeenInTheFuture(t *testing.T) {
	now := time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)
	s := start(t, Config{Settings: settings(filepath.Join(t.TempDir(), "data")), Programs: programs(t, nil), Now: func() time.Time { return now }})
	sighting := sdk.Sighting{Time: now.AddDate(100, 0, 0), IP: netip.MustParseAddr("192.0.2.1"), MAC: "00:00:5e:00:53:01", Confidence: 1}
	check(t, s.sighted(store.DefaultTenant)(t.Context(), "picket/passive", []sdk.Sighting{sighting}))
	list, _, err := s.control.ListDevices(t.Context(), s.tenant, store.Page{})
	check(t, err)
	if len(list) != 1 || !list[0].LastSeen.Equal(now) {
		t.Errorf("%+v", list)
	}
}
