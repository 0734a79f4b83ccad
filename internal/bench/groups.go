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
		{
			title: "Flow store: the flows of a capture written with every feature and fact; ten million of them asked for, read back and decoded",
			dir:   ".", pkg: "./internal/bench", run: "Benchmark(RecordFlows|FlowStore|FlowStoreRecording|FlowReplay)$", count: 1, benchtime: "20x",
			env: benchCapture(),
			lines: []line{
				{what: "written, for each flow with its facts", bench: "BenchmarkRecordFlows", metric: "cpu-ns/flow", target: 2800},
				{what: "on disk, for each flow", bench: "BenchmarkRecordFlows", metric: "bytes/flow"},
				{what: "p95 of all filters, orders, pages and sums", bench: "BenchmarkFlowStore/all", metric: "p95-ms", target: 200},
				{what: "p95, first pages without a filter", bench: "BenchmarkFlowStore/page/none/start", metric: "p95-ms", target: 200},
				{what: "p95, pages of one host", bench: "BenchmarkFlowStore/page/host/start", metric: "p95-ms", target: 200},
				{what: "p95, pages by a part of a name", bench: "BenchmarkFlowStore/page/names/start", metric: "p95-ms", target: 200},
				{what: "p95, sums without a filter", bench: "BenchmarkFlowStore/sum/none", metric: "p95-ms", target: 200},
				{what: "p95, one flow with its baseline", bench: "BenchmarkFlowStore/flow", metric: "p95-ms", target: 200},
				{what: "p95 of all the same while a capture is recorded, 150,000 flows/s", bench: "BenchmarkFlowStoreRecording/all", metric: "p95-ms", target: 200},
				{what: "read back and decoded, for each flow (424,000 flows/s are 2,358 ns)", bench: "BenchmarkFlowReplay", metric: "ns/flow", target: 2358},
			},
		},
		{
			title: "Application protocols: CPU for each packet of the same file, against flows without them",
			dir:   ".", pkg: "./internal/traffic/app/all", run: "Benchmark(Flows|Recognition|Parsers)$", count: 3,
			env: benchCapture(),
			lines: []line{
				{what: "flows with features", bench: "BenchmarkFlows", metric: "cpu-ns/packet"},
				{what: "and their protocols / flows", bench: "BenchmarkRecognition", floor: "BenchmarkFlows", metric: "cpu-ns/packet"},
				{what: "and every parser / flows", bench: "BenchmarkParsers", floor: "BenchmarkFlows", metric: "cpu-ns/packet"},
			},
		},
		{
			title: "Registry: wall time with 5,000 authors of ten releases each, server in the same process",
			dir:   ".", pkg: "./registry/client", run: "Benchmark(Crowd|InstallMirrored)$", count: 1, benchtime: "5x",
			lines: []line{
				{what: "refresh, resolve and fetch, cold", bench: "BenchmarkCrowd/cold", target: 700e6},
				{what: "the same, warm", bench: "BenchmarkCrowd/warm", target: 50e6},
				{what: "the same, after a restart", bench: "BenchmarkCrowd/warm,_after_a_restart", target: 50e6},
				{what: "the same, after a restart, the timestamp signed again", bench: "BenchmarkCrowd/after_a_restart,_the_timestamp_signed_again"},
				{what: "publish one release, by command", bench: "BenchmarkCrowd/publish", target: 500e6},
				{what: "publish one release over HTTP, few gates", bench: "BenchmarkCrowd/publish_over_HTTP", target: 500e6},
				{what: "install 12 MB from a mirror, plan to sealed bytes", bench: "BenchmarkInstallMirrored", target: 300e6},
			},
		},
		{
			title: "Search: 1,000 plugins of ten releases each",
			dir:   ".", pkg: "./registry/server", run: "BenchmarkSearch$", count: 1, benchtime: "300x",
			lines: []line{
				{what: "p95 over HTTP", bench: "BenchmarkSearch/http", metric: "p95-ms", target: 20},
				{what: "p95, two words with a typing error", bench: "BenchmarkSearch/typo", metric: "p95-ms", target: 20},
			},
		},
		{
			title: "Marketplace in Chromium: 1,000 plugins of ten releases each, from the start of the navigation to the first list",
			dir:   ".", pkg: "./internal/bench", run: "BenchmarkFirstList$", count: 1, benchtime: "1x", needs: "node",
			lines: []line{
				{what: "median, nothing in the browser's cache", bench: "BenchmarkFirstList", metric: "cold-p50-ms", target: 300},
				{what: "p95, nothing in the browser's cache", bench: "BenchmarkFirstList", metric: "cold-p95-ms"},
				{what: "median, everything in the browser's cache", bench: "BenchmarkFirstList", metric: "warm-p50-ms", target: 300},
				{what: "p95, everything in the browser's cache", bench: "BenchmarkFirstList", metric: "warm-p95-ms"},
			},
		},
	}...)
}

// replayed are the flows of a capture, read back from the store and shown to all detectors of flows.
func replayed(capture string) group {
	return group{
		title: "Traffic: the stored flows of that capture replayed through the default detectors and the pack, out of process",
		dir:   ".", pkg: "./internal/bench", run: "BenchmarkStoredFlows$", count: 3, benchtime: "5x",
		env: []string{"PICKET_BENCH_PCAP=" + capture},
		lines: []line{
			{what: "wall time of a flow (424,000 flows/s are 2,358 ns)", bench: "BenchmarkStoredFlows", metric: "ns/flow", target: 2358},
			{what: "flows each second", bench: "BenchmarkStoredFlows", metric: "flows/s"},
			{what: "CPU of all processes (of two cores that is 4,717 ns)", bench: "BenchmarkStoredFlows", metric: "cpu-ns/flow", target: 4717},
			{what: "CPU of the host, reading back among it", bench: "BenchmarkStoredFlows", metric: "host-ns/flow"},
			{what: "CPU of all detectors", bench: "BenchmarkStoredFlows", metric: "plugins-ns/flow"},
			{what: "findings of one replay", bench: "BenchmarkStoredFlows", metric: "findings"},
		},
	}
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
