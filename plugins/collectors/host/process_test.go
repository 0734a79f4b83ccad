package host

import (
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/processtest"
	"github.com/picketwatch/picket/sdk"
)

func TestProcess(t *testing.T) {
	inst := processtest.Start(t, "picket/host", `{}`, nil)
	got := recorder{}
	if err := inst.Collect(t.Context(), sdk.CollectRequest{Time: time.Now(), Interval: time.Second}, got); err != nil {
		t.Fatal(err)
	}
	if _, ok := got["system.memory.limit{}"]; !ok || len(got) < 20 {
		t.Errorf("%d series", len(got))
	}
}
