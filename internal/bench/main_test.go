package main

import "testing"

func TestParseReadsEachMetricOfEachRun(t *testing.T) {
	got := parse("goos: linux\nBenchmarkInspect/process-2   \t 100\t 2000 ns/op\t 1.50 ns/flow\nBenchmarkInspect/process-2 \t 100\t 4000 ns/op\t 2.50 ns/flow\nPASS\n")
	runs := got["BenchmarkInspect/process"]
	if len(runs["ns/op"]) != 2 || runs["ns/flow"][1] != 2.5 {
		t.Errorf("parsed %v", got)
	}
	if v, ok := median(runs["ns/op"]); !ok || v != 4000 {
		t.Errorf("median %v %v", v, ok)
	}
}
