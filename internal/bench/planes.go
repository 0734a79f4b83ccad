package main

// planes are the figures of the record plane. The benchmarks compare each way with the same detector in process, a sample
// of the one between two of the other, because the machine does not run equally fast all the time.
func planes() []group {
	ratio := func(what, bench, metric string) line {
		return line{what: what, bench: "BenchmarkPlanes/" + bench, metric: metric}
	}
	return []group{{
		title: "Record plane: CPU of host and plugin together, encoding and hand-over included, one finding in 1,000 flows",
		dir:   ".", pkg: "./internal/bench", run: "Benchmark(Planes|Start)$", count: 3,
		lines: []line{
			ratio("in process, reference detector", "reference/socket/1024", "inproc-ns/record"),
			ratio("process by socket / in process, reference, 1,024 rows", "reference/socket/1024", "×"),
			ratio("process by ring / in process, reference, 1,024 rows", "reference/ring/1024", "×"),
			ratio("process by gRPC / in process, reference, 1,024 rows", "reference/grpc/1024", "×"),
			ratio("Go guest by ring / in process, reference, 256 rows", "reference/guest/256", "×"),
			ratio("hand-over by socket, light detector", "light/socket/1024", "extra-ns/record"),
			ratio("hand-over by ring, light detector", "light/ring/1024", "extra-ns/record"),
			ratio("hand-over by gRPC, light detector", "light/grpc/1024", "extra-ns/record"),
			ratio("hand-over to a Go guest, decoded there, light detector", "light/guest/256", "extra-ns/record"),
			ratio("packets of 700 bytes by ring, batches of 512", "packets/ring/512", "cpu-ns/record"),
			ratio("packets of 700 bytes by socket, batches of 512", "packets/socket/512", "cpu-ns/record"),
			ratio("allocations by socket, host", "reference/socket/1024", "host-allocs/record"),
			ratio("allocations by socket, plugin", "reference/socket/1024", "plugin-allocs/record"),
			ratio("allocations, guest by ring, host", "reference/guest/256", "host-allocs/record"),
			ratio("allocations, guest by ring, guest", "reference/guest/256", "plugin-allocs/record"),
			{what: "start to ready, mutual TLS, process, not confined", bench: "BenchmarkStart/process", metric: "ms"},
			{what: "start to ready, mutual TLS, guest from the cache, not confined", bench: "BenchmarkStart/guest", metric: "ms"},
		},
	}}
}
