package pluginhost

import "testing"

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
