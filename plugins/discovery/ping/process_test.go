package ping

import (
	"os"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/processtest"
)

func TestProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for an ICMP socket")
	}
	inst := processtest.Start(t, "picket/ping", `{"targets": ["127.0.0.0/30"]}`, nil)
	var got sightings
	if err := inst.Discover(t.Context(), scope("127.0.0.0/30"), &got); err != nil {
		t.Fatal(err)
	}
	if got.addresses() != "127.0.0.1 127.0.0.2" {
		t.Errorf("sighted %s", got.addresses())
	}
}
