package confine

import (
	"testing"
)

func TestLevelReport(t *testing.T) {
	level := best(t)
	p := start(t, request(t, ""), "uid", "pids", "ifaces", "list:/", "list:/dev", "list:/etc", "fds", "env", "list:/proc")
	t.Logf("%+v", p.report)
	t.Logf("%+v", Detect())
	for _, r := range p.results() {
		t.Logf("%+v", r)
	}
	if p.report.Level != level {
		t.Fatal(p.report.Level)
	}
}
