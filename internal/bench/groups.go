package main

import (
	"os"
	"path/filepath"
)

func groups() []group {
	return append(planes(), []group{
		{
			title: "Plugin host: CPU of host and plugin for each flow, one light detector, encoding and hand-over included",
			dir:   ".", pkg: "./cmd/picket-wasm", run: "BenchmarkInspect", count: 5,
			lines: []line{
				{what: "in process, 1,024 rows", bench: "BenchmarkInspect/in-process/1024", metric: "cpu-ns/flow"},
				{what: "process / in process, 1,024 rows", bench: "BenchmarkInspect/process/1024", floor: "BenchmarkInspect/in-process/1024", metric: "cpu-ns/flow"},
				{what: "process / in process, 256 rows", bench: "BenchmarkInspect/process/256", floor: "BenchmarkInspect/in-process/256", metric: "cpu-ns/flow"},
				{what: "WASM / in process, 1,024 rows", bench: "BenchmarkInspect/wasm/1024", floor: "BenchmarkInspect/in-process/1024", metric: "cpu-ns/flow"},
				{what: "WASM / in process, 256 rows", bench: "BenchmarkInspect/wasm/256", floor: "BenchmarkInspect/in-process/256", metric: "cpu-ns/flow"},
				{what: "WASM / process, 256 rows", bench: "BenchmarkInspect/wasm/256", floor: "BenchmarkInspect/process/256", metric: "cpu-ns/flow"},
			},
		},
		{
			title: "Capture: CPU for each packet, against a bare walk from header to header of the same file",
			dir:   ".", pkg: "./internal/traffic", run: "Benchmark(HeaderWalk|Read|Decode|Flows|Frames)$", count: 5,
			env: benchCapture(),
			lines: []line{
				{what: "header walk", bench: "BenchmarkHeaderWalk", metric: "cpu-ns/packet"},
				{what: "read / walk", bench: "BenchmarkRead", floor: "BenchmarkHeaderWalk", metric: "cpu-ns/packet"},
				{what: "read, decode / walk", bench: "BenchmarkDecode", floor: "BenchmarkHeaderWalk", metric: "cpu-ns/packet"},
				{what: "read, decode, flows, features / walk", bench: "BenchmarkFlows", floor: "BenchmarkHeaderWalk", metric: "cpu-ns/packet"},
				{what: "the same written as frames / walk", bench: "BenchmarkFrames", floor: "BenchmarkHeaderWalk", metric: "cpu-ns/packet"},
			},
		},
		{
			title: "Store: samples acknowledged after commit, 16 agents, against DuckDB's bare appender",
			dir:   ".", pkg: "./core/kernel/store", run: "Benchmark(Ingest|BareAppender)$", count: 3,
			lines: []line{
				{what: "batches of 1,000", bench: "BenchmarkIngest/batch=1000", metric: "rows/s"},
				{what: "batches of 50", bench: "BenchmarkIngest/batch=50", metric: "rows/s"},
				{what: "CPU per row, batches of 1,000 / bare appender", bench: "BenchmarkIngest/batch=1000", floor: "BenchmarkBareAppender", metric: "cpu-µs/row"},
				{what: "rows/s, batches of 1,000 / bare appender", bench: "BenchmarkIngest/batch=1000", floor: "BenchmarkBareAppender", metric: "rows/s"},
			},
		},
	}...)
}

// benchCapture names the bundled capture unless the caller chose a larger one.
func benchCapture() []string {
	if os.Getenv("PICKET_BENCH_PCAP") != "" {
		return nil
	}
	path, err := filepath.Abs("examples/datasets/first-light/first-light.pcap")
	if err != nil {
		return nil
	}
	return []string{"PICKET_BENCH_PCAP=" + path}
}
