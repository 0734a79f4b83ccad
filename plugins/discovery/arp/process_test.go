package arp

import (
	"runtime"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/processtest"
)

func TestProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	inst := processtest.Start(t, "picket/arp", `{}`, nil)
	var got sightings
	if err := inst.Discover(t.Context(), scope("0.0.0.0/0", "::/0"), &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d neighbours", len(got))
}
