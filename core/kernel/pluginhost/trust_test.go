package pluginhost

import (
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// Nothing is granted that a release does not ask for. A release that its node took back, whose successor was granted more,
// runs with what it asks for itself.
func TestGrantsOfAReleaseThatWasTakenBack(t *testing.T) {
	grants := []sdk.Permission{{Cap: sdk.CapFlowsRead}, {Cap: sdk.CapPacketsRead}}
	d := &registry.Descriptor{Manifest: registry.Manifest{ID: "a/b", Version: "1.0.0", Kind: sdk.KindDetector, Permissions: grants[:1]}}
	a := Assignment{Instance: "a/b", Plugin: "a/b", Version: "1.0.0", Grants: grants}
	wanted := a
	wanted.Version = "1.1.0"
	for name, c := range map[string]struct {
		s    *supervisor
		fits bool
	}{
		"assigned":         {&supervisor{want: &a}, false},
		"of other version": {&supervisor{want: &wanted}, false},
		"taken back":       {&supervisor{want: &wanted, pin: "1.0.0"}, true},
	} {
		c.s.host = &Host{cfg: Config{Ceiling: policy.Default()}}
		got, err := c.s.allowed(a, d)
		if (err == nil) != c.fits || c.fits && (len(got) != 1 || got[0].Cap != sdk.CapFlowsRead) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
