package main

import (
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
)

func TestTable(t *testing.T) {
	list := []detector{
		{"idsrules", &registry.Manifest{ID: "picket/ids-rules", Summary: "Runs rules."}},
		{"beacon", &registry.Manifest{ID: "picket/beacon", Summary: "Not these words."}},
	}
	was := order(head + "| [beacon](../plugins/detectors/beacon) | calls, in words | 3 of 5 |\n")
	lab := map[string]score{"picket/beacon": {Found: 3, Missed: 2, Falsely: 1, Alarms: 1, Hours: 0.3}}
	cost := costs("BenchmarkDetectors/beacon-2  20  0.1031 held-MiB  812.4 cpu-ns/record  17058 records\nBenchmarkDetectors/ids-rules-2  20  0 held-MiB  0.4 cpu-ns/record\nPASS\n")
	lines := strings.Split(table(list, was, lab, nil, cost), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[2], "| [beacon](../plugins/detectors/beacon) | calls, in words | 3 of 5 | 0.00") ||
		!strings.HasSuffix(lines[2], "| 1 in 0.3 h | – | – | – | – | 812 | 0.10 |") {
		t.Errorf("%q", lines)
	}
	if want := "| [ids-rules](../plugins/detectors/idsrules) | Runs rules | – | – | – | – | – | – | – | – | – | – |"; lines[3] != want {
		t.Errorf("%q, want %q", lines[3], want)
	}
}
