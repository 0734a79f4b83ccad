package client_test

import (
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// A revoked release that a person lets run on starts, and no other; it cannot be installed anew, and when the word is
// taken back it stops.
func TestOverriddenRevocation(t *testing.T) {
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: victim, Version: "1.0.0"})
	allowed := ""
	c := node(t, r, r.Dir, func(cfg *client.Config) {
		cfg.Overridden = func(id, version string) bool { return id+" "+version == allowed }
	})
	install(t, c, victim, "1.0.0")
	r.Revoke(t, victim, "*", "It leaks.")
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := func(when string) {
		t.Helper()
		if a, err := c.OpenVerified(t.Context(), victim, process); err == nil {
			a.Close()
			t.Fatalf("%s: it was opened", when)
		} else {
			wantRefusal(t, err, registry.Revoked, victim)
		}
	}
	refused("nobody said anything")
	allowed = victim + " 2.0.0"
	refused("another version is let run on")
	allowed = victim + " 1.0.0"
	open(t, c, victim, process)
	_, err := c.Install(t.Context(), victim, "1.0.0", process)
	wantRefusal(t, err, registry.Revoked, victim)
	allowed = ""
	refused("the word was taken back")
}
