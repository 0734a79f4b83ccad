package pluginhost

import (
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// A shadow that has no room for the state it should begin with leaves the capture out, and begins with the next.
func TestAShadowIsNotComparedWithoutItsState(t *testing.T) {
	s := &supervisor{}
	s.journal.keeps, s.journal.snapshot = true, []byte("what it knows")
	sh := &shadow{s: s, jobs: make(chan shadowJob, 1)}
	sh.report.Running = true
	sh.put(0, nil)
	sh.before()
	sh.inspected("a", []byte("frame"))
	if sh.active || len(sh.jobs) != 1 {
		t.Errorf("without its state: active %t, %d jobs", sh.active, len(sh.jobs))
	}
	sh.flushed("a")
	if sh.report.Skipped != 1 {
		t.Errorf("%d captures left out", sh.report.Skipped)
	}
	<-sh.jobs
	sh.before()
	if j := <-sh.jobs; !sh.active || j.size != len(s.journal.snapshot) {
		t.Errorf("with room: active %t, a job of %d bytes", sh.active, j.size)
	}
}

// The version in charge may be shown more than its shadow was granted.
func TestAShadowIsShownWhatItWasGranted(t *testing.T) {
	r := &run{shown: sdk.Subscription{Facts: []string{sdk.FactsDNS}}}
	sh := &shadow{s: &supervisor{}, r: r, jobs: make(chan shadowJob, 9), active: true}
	sh.report.Running = true
	for _, frame := range [][]byte{
		records.AppendFacts(nil, []sdk.TLS{{}}), records.AppendPackets(nil, []sdk.Packet{{}}), flowFrame(1), records.AppendFacts(nil, []sdk.DNS{{}}),
	} {
		sh.inspected("a", frame)
	}
	if len(sh.jobs) != 1 || sh.broken {
		t.Errorf("it is shown %d frames, broken %t", len(sh.jobs), sh.broken)
	}
}
