package main

// planes are the figures of the plugin host. The benchmarks compare each way of the record plane with the same detector in
// process, a sample of the one between two of the other, because the machine does not run equally fast all the time.
func planes() []group {
	figure := func(what, bench, metric string, target float64) line {
		return line{what: what, bench: "Benchmark" + bench, metric: metric, target: target}
	}
	return []group{{
		title: "Record plane: CPU of host and plugin together, encoding and hand-over included, one finding in 1,000 flows",
		dir:   ".", pkg: "./internal/bench", run: "BenchmarkPlanes$", count: 3,
		lines: []line{
			figure("in process, reference detector", "Planes/reference/socket/1024", "inproc-ns/record", 0),
			figure("process by socket / in process, reference, 1,024 rows", "Planes/reference/socket/1024", "×", 1.25),
			figure("process by ring / in process, reference, 1,024 rows", "Planes/reference/ring/1024", "×", 1.15),
			figure("process by gRPC / in process, reference, 1,024 rows", "Planes/reference/grpc/1024", "×", 1.5),
			figure("guest in Go by ring / in process, reference, 256 rows", "Planes/reference/guest/256", "×", 2.5),
			figure("hand-over by socket, light detector", "Planes/light/socket/1024", "extra-ns/record", 250),
			figure("hand-over by ring, light detector", "Planes/light/ring/1024", "extra-ns/record", 250),
			figure("hand-over by gRPC, light detector", "Planes/light/grpc/1024", "extra-ns/record", 700),
			figure("hand-over to a guest in Go, decoded there, light detector", "Planes/light/guest/256", "extra-ns/record", 0),
			figure("packets of 700 bytes by ring, batches of 512", "Planes/packets/ring/512", "cpu-ns/record", 150),
			figure("packets of 700 bytes by socket, batches of 512", "Planes/packets/socket/512", "cpu-ns/record", 0),
			figure("allocations by socket, host", "Planes/reference/socket/1024", "host-allocs/record", 0.05),
			figure("allocations by socket, plugin", "Planes/reference/socket/1024", "plugin-allocs/record", 0.05),
			figure("allocations, guest in Go by ring, host", "Planes/reference/guest/256", "host-allocs/record", 0.05),
			figure("allocations, guest in Go by ring, guest", "Planes/reference/guest/256", "plugin-allocs/record", 0.05),
		},
	}, {
		title: "Guest in Rust: the same detector, against branch-free Go in process",
		dir:   ".", pkg: "./internal/bench", run: "BenchmarkPlanes$/.*/rust", count: 3, needs: "cargo",
		lines: []line{
			figure("branch-free Go in process, reference", "Planes/reference/rust/256", "inproc-ns/record", 0),
			figure("guest in Rust by ring / branch-free Go in process, 256 rows", "Planes/reference/rust/256", "×", 1.75),
			figure("hand-over to a guest in Rust, light detector", "Planes/light/rust/256", "extra-ns/record", 0),
		},
	}, {
		title: "Plugin host: confined as far as this machine can, verified, mutual TLS",
		dir:   ".", pkg: "./internal/bench", run: "Benchmark(HostStart|Restart|Idle|Orphans)$", count: 1, benchtime: "5x",
		lines: []line{
			figure("assigned to ready, process", "HostStart/process", "ms", 60),
			figure("assigned to ready, guest in Go from the cache", "HostStart/wasm", "ms", 120),
			figure("twenty plugins of one binary, idle: memory (PSS) of each", "Idle", "PSS-MB", 4),
			figure("twenty plugins of one binary, idle: CPU of the host", "Idle", "cpu-ms/s", 0.5),
			figure("the same, all plugins together", "Idle", "plugins-cpu-ms/s", 0),
			figure("plugin killed to ready again, first time", "Restart", "ms", 1500),
			figure("host killed to the last of twenty plugins gone", "Orphans", "ms", 2000),
		},
	}, {
		title: "Confinement: a record in a confined process against one in a bare process, twenty pairs of new processes",
		dir:   ".", pkg: "./internal/bench", run: "BenchmarkConfinement$", count: 1, benchtime: "20x",
		lines: []line{
			figure("confined / bare process, reference by socket", "Confinement", "×", 1.05),
			figure("standard error of that in per cent", "Confinement", "±%", 1.5),
			figure("between the lowest and the highest pair, in per cent", "Confinement", "spread-%", 0),
		},
	}}
}
