//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/bench/refdetector/detectors"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// Each sample is so long, with a piece of the same work in process before and after it.
const (
	sampleTime = 250 * time.Millisecond
	aroundTime = 50 * time.Millisecond
)

// cpuTime is the processor time that a process has used; pid 0 is this one.
func cpuTime(pid int) time.Duration {
	clock := int32(^pid<<3 | 2) // CPUCLOCK_SCHED of the process, as clock_getcpuclockid(3) makes it
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// programsDir is where programs are, "" until somebody asked for them.
var programsDir string

// programs are built once: the detector as a process and as a guest, and the runner of guests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "picket-planes-")
	if err != nil {
		return "", err
	}
	programsDir = dir
	for _, b := range []struct {
		env  []string
		args []string
	}{
		{nil, []string{"-ldflags=-s -w", "-o", filepath.Join(dir, "detector"), "./refdetector"}},
		{nil, []string{"-o", filepath.Join(dir, "picket-wasm"), "../../cmd/picket-wasm"}},
		{nil, []string{"-o", filepath.Join(dir, "picket-launch"), "../../cmd/picket-launch"}},
		{[]string{"GOOS=wasip1", "GOARCH=wasm"}, []string{"-ldflags=-s -w", "-buildmode=c-shared", "-o", filepath.Join(dir, "guest.wasm"), "./refdetector"}},
	} {
		cmd := exec.Command("go", append([]string{"build"}, b.args...)...)
		cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), b.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	if err := os.Chmod(dir, 0o755); err != nil { // a confined plugin has an own user
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "key"), key, 0o600)
})

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownHostEnv); dir != "" {
		if err := playHost(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	if programsDir != "" && code == 0 {
		os.RemoveAll(programsDir)
	}
	os.Exit(code)
}

func isGuest(way string) bool { return way == "guest" || way == "rust" }

// buildRust builds the guest in Rust, where there is a toolchain for it.
var buildRust = sync.OnceValue(func() error {
	dir, err := programs()
	if err != nil {
		return err
	}
	const triple = "wasm32-unknown-unknown"
	target := filepath.Join(dir, "rust")
	cmd := exec.Command("cargo", "build", "--quiet", "--release", "--locked", "--offline", "--target", triple)
	cmd.Dir, cmd.Env = "refdetector/rust", append(os.Environ(), "CARGO_TARGET_DIR="+target)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cargo build: %w\n%s", err, out)
	}
	return os.Rename(filepath.Join(target, triple, "release", "refdetector.wasm"), filepath.Join(dir, "rust.wasm"))
})

// start starts the detector by one of the ways: socket, ring, grpc, guest (in Go) or rust.
func start(b *testing.B, way string, ring *host.Ring) *host.Process {
	b.Helper()
	dir, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "pk") //nolint:usetesting // b.TempDir is too long for a socket
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(sockets) })
	cfg := host.Config{Name: way, Cmd: exec.Command(filepath.Join(dir, "detector")), SocketDir: sockets, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if isGuest(way) {
		cfg.Cmd = exec.Command(filepath.Join(dir, "picket-wasm"), "--guest-fd", "3", "--cache", dir, "--cache-key-fd", "4", "--memory", "64")
		for _, name := range []string{way + ".wasm", "key"} {
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			cfg.Cmd.ExtraFiles = append(cfg.Cmd.ExtraFiles, f)
		}
	}
	if way != "grpc" {
		own, child, err := host.RecordsPair()
		if err != nil {
			b.Fatal(err)
		}
		defer child.Close()
		cfg.Records = own
		cfg.Cmd.ExtraFiles = append(cfg.Cmd.ExtraFiles, child)
		cfg.Cmd.Env = append(cfg.Cmd.Env, fmt.Sprintf("%s=%d", host.RecordsEnv, 2+len(cfg.Cmd.ExtraFiles)))
	}
	if way == "ring" || isGuest(way) {
		cfg.Ring = ring
	}
	p, err := host.Start(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Kill)
	return p
}

func configure(b *testing.B, p *host.Process, plugin string) *host.Instance {
	b.Helper()
	i, err := p.Configure(b.Context(), host.InstanceConfig{Instance: "i", Plugin: plugin, Config: json.RawMessage(`{}`)})
	if err != nil {
		b.Fatal(err)
	}
	return i
}

// found counts findings.
type found struct{ n int }

func (f *found) Finding(sdk.Finding) error {
	f.n++
	return nil
}

// input is more than the caches hold, cut into batches.
type input struct {
	plugin  string
	batches []sdk.Batch
	rows    int // in each
}

const inputRows = 16_384

func flowInput(plugin string, rows int) input {
	r := mathrand.New(mathrand.NewPCG(3, 4))
	flows := make([]sdk.Flow, inputRows)
	for i := range flows {
		f := sdk.Flow{ID: uint64(i + 1), CommunityID: fmt.Sprintf("1:%027dA=", r.Int64()), Start: time.Unix(int64(i), 5).UTC(), End: time.Unix(int64(i), 9).UTC(),
			Src: netip.AddrFrom4([4]byte{10, 0, byte(r.Int()), byte(r.Int())}), Dst: netip.AddrFrom4([4]byte{10, 1, byte(r.Int()), byte(r.Int())}),
			SrcPort: uint16(1024 + r.IntN(60_000)), DstPort: uint16(r.IntN(1000)), Proto: sdk.ProtoTCP,
			Packets: []uint64{uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)}}
		if i%1000 == 500 {
			f.DstPort = detectors.MarkerPort
		}
		for _, v := range []*uint64{&f.FwdPackets, &f.RevPackets, &f.FwdBytes, &f.RevBytes, &f.FwdPayload, &f.RevPayload} {
			*v = uint64(r.IntN(1000))
		}
		for _, v := range []*float64{&f.FwdLenMin, &f.FwdLenMax, &f.FwdLenMean, &f.FwdLenStd, &f.RevLenMin, &f.RevLenMax, &f.RevLenMean, &f.RevLenStd,
			&f.IATMin, &f.IATMax, &f.IATMean, &f.IATStd, &f.FwdIATMin, &f.FwdIATMax, &f.FwdIATMean, &f.FwdIATStd,
			&f.RevIATMin, &f.RevIATMax, &f.RevIATMean, &f.RevIATStd, &f.SynCount, &f.FinCount, &f.PshCount, &f.AckCount} {
			*v = r.Float64() * 1000
		}
		flows[i] = f
	}
	in := input{plugin: plugin, rows: rows}
	for part := range slices.Chunk(flows, rows) {
		in.batches = append(in.batches, sdk.Batch{Capture: "c", Flows: part})
	}
	return in
}

func packetInput(rows int) input {
	packets := make([]sdk.Packet, inputRows)
	data := make([]byte, inputRows*700)
	for i := range packets {
		p := data[i*700 : (i+1)*700 : (i+1)*700]
		binary.BigEndian.PutUint16(p[12:], 0x0800)
		p[14], p[23] = 0x45, 6
		binary.BigEndian.PutUint32(p[34:], uint32(i+1))
		packets[i] = sdk.Packet{Number: uint64(i + 1), Time: time.Unix(int64(i), 0).UTC(), Link: 1, Length: 700, Data: p}
	}
	in := input{plugin: detectors.Packets, rows: rows}
	for part := range slices.Chunk(packets, rows) {
		in.batches = append(in.batches, sdk.Batch{Capture: "c", Packets: part})
	}
	return in
}

func encode(dst []byte, batch sdk.Batch) []byte {
	if batch.Packets != nil {
		return records.AppendLocalPackets(dst, batch.Packets)
	}
	return records.AppendLocalFlows(dst, batch.Flows)
}

func size(batch sdk.Batch) int {
	if batch.Packets != nil {
		return records.PacketsSize(batch.Packets)
	}
	return records.FlowsSize(batch.Flows)
}

// BenchmarkPlanes measures what the hand-over to a plugin costs. One iteration is one sample.
func BenchmarkPlanes(b *testing.B) {
	ring, err := host.NewRing(32 << 20)
	if err != nil {
		b.Fatal(err)
	}
	defer ring.Close()
	for _, in := range []struct {
		name  string
		input input
		ways  []string
	}{
		{"reference", flowInput(detectors.Reference, records.BatchProcess), []string{"socket", "ring", "grpc"}},
		{"reference", flowInput(detectors.Reference, records.BatchGuest), []string{"guest", "rust"}},
		{"light", flowInput(detectors.Light, records.BatchProcess), []string{"socket", "ring", "grpc"}},
		{"light", flowInput(detectors.Light, records.BatchGuest), []string{"guest", "rust"}},
		{"packets", packetInput(records.BatchPackets), []string{"socket", "ring"}},
	} {
		for _, way := range in.ways {
			b.Run(fmt.Sprintf("%s/%s/%d", in.name, way, in.input.rows), func(b *testing.B) { measure(b, in.input, way, ring) })
		}
	}
}

// measure takes samples of one way and reports their medians.
func measure(b *testing.B, in input, way string, ring *host.Ring) {
	b.Helper()
	if way == "rust" {
		if err := buildRust(); err != nil {
			b.Skip(err)
		}
	}
	p := start(b, way, ring)
	defer p.Kill()
	i := configure(b, p, in.plugin)
	var sink found
	var failed error
	stream := i.Stream(&sink, func(_ uint64, err error) {
		if err != nil && failed == nil {
			failed = err
		}
	})
	ctx := context.Background()
	var frame []byte
	send := func(batch sdk.Batch) error {
		if way == "ring" || isGuest(way) {
			block, err := ring.Append(ctx, size(batch), func(dst []byte) []byte { return encode(dst, batch) })
			if err != nil {
				return err
			}
			defer block.Release()
			return stream.SendBlock(ctx, batch.Capture, block)
		}
		if way == "grpc" {
			frame = records.AppendFlows(frame[:0], batch.Flows)
		} else {
			frame = encode(frame[:0], batch)
		}
		return stream.Send(ctx, batch.Capture, frame)
	}
	local := inProcess(b, in.plugin)
	var same func(sdk.Batch) error // what does it in the same way as the guest in Rust
	if way == "rust" && in.plugin == detectors.Reference {
		local, same = inProcess(b, detectors.BranchFree), inProcess(b, detectors.Interleaved)
	}
	run := func(d time.Duration, work func(sdk.Batch) error) (cost, rows float64) {
		cpu := cpuTime(0) + cpuTime(p.PID())
		n := 0
		for began := time.Now(); time.Since(began) < d; n++ {
			if err := work(in.batches[n%len(in.batches)]); err != nil {
				b.Fatal(err)
			}
		}
		stream.Wait(ctx)
		rows = float64(n * in.rows)
		return float64(cpuTime(0)+cpuTime(p.PID())-cpu) / rows, rows
	}
	run(aroundTime, send) // warm
	var ratios, costs, floors, extras, hostAllocs, pluginAllocs, sameRatios []float64
	for b.Loop() {
		before, _ := run(aroundTime, local)
		theirs, own := pluginMallocs(b, i), mallocs()
		cost, rows := run(sampleTime, send)
		hostAllocs = append(hostAllocs, (mallocs()-own)/rows)
		pluginAllocs = append(pluginAllocs, (pluginMallocs(b, i)-theirs)/rows)
		after, _ := run(aroundTime, local)
		floor := (before + after) / 2
		ratios, costs = append(ratios, cost/floor), append(costs, cost)
		floors, extras = append(floors, floor), append(extras, cost-floor)
		if same != nil {
			floor, _ := run(aroundTime, same)
			sameRatios = append(sameRatios, cost/floor)
		}
	}
	if failed != nil || in.plugin != detectors.Packets && sink.n == 0 {
		b.Fatalf("%d findings, %v", sink.n, failed)
	}
	if same != nil {
		v, _ := median(sameRatios)
		b.ReportMetric(v, "×-interleaved")
	}
	for metric, values := range map[string][]float64{"×": ratios, "cpu-ns/record": costs, "inproc-ns/record": floors, "extra-ns/record": extras,
		"host-allocs/record": hostAllocs, "plugin-allocs/record": pluginAllocs} {
		v, _ := median(values)
		b.ReportMetric(v, metric)
	}
}

// inProcess is the same detector without any hand-over.
func inProcess(b *testing.B, plugin string) func(sdk.Batch) error {
	b.Helper()
	for _, p := range detectors.Plugins() {
		if p.ID == plugin {
			d, sink := p.New().(sdk.Detector), &found{}
			return func(batch sdk.Batch) error { return d.Inspect(context.Background(), batch, sink) }
		}
	}
	b.Fatalf("no plugin %s", plugin)
	return nil
}

func mallocs() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs)
}

// pluginMallocs asks the plugin, whose snapshot is that number.
func pluginMallocs(b *testing.B, i *host.Instance) float64 {
	b.Helper()
	state, err := i.Snapshot(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseFloat(string(state), 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
