package rustsdk

import (
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/internal/bench/refdetector/detectors"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
)

const reference = "../bench/refdetector/rust"

// buildReference builds the reference detector of the benchmarks in Rust.
func buildReference(tb testing.TB) string {
	tb.Helper()
	toolchain(tb)
	target := filepath.Join(workDir, "reference")
	cmd := exec.CommandContext(testContext(tb), "cargo", "build", "--quiet", "--release", "--locked", "--offline", "--target", "wasm32-unknown-unknown")
	cmd.Dir = reference
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+target)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build the guest: %v\n%s", err, out)
	}
	return filepath.Join(target, "wasm32-unknown-unknown", "release", "refdetector.wasm")
}

// referenceFlows holds some that the reference detector finds.
func referenceFlows() []sdk.Flow {
	flows := sdktest.SampleFlows()
	for i := range flows {
		if i%97 == 0 {
			f := &flows[i]
			f.DstPort, f.Src = detectors.MarkerPort, netip.MustParseAddr("2001:db8::1")
			// The trees alone may vote below zero.
			f.FwdPackets, f.RevBytes, f.FwdLenMean, f.IATMax, f.SynCount = 501, 100_001+uint64(i), float64(901+i), 11, float64(4+i%7)
		}
	}
	return flows
}

func inProcess(tb testing.TB, id string) sdk.Detector {
	tb.Helper()
	for _, p := range detectors.Plugins() {
		if p.ID == id {
			return p.New().(sdk.Detector)
		}
	}
	tb.Fatalf("there is no %s", id)
	return nil
}

func configureReference(tb testing.TB, p *host.Process, id string) *host.Instance {
	tb.Helper()
	i, err := p.Configure(testContext(tb), host.InstanceConfig{Instance: id, Plugin: id})
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

// The reference detector in Rust is the one in Go: the benchmarks compare like with like.
func TestReferenceDetector(t *testing.T) {
	p := startGuest(t, buildReference(t), io.Discard)
	flows := referenceFlows()
	for _, id := range []string{detectors.Reference, detectors.Light} {
		var want findings
		if err := inProcess(t, id).Inspect(t.Context(), sdk.Batch{Flows: flows}, &want); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i].Detector = id
			want[i].ID = sdk.FindingID(want[i])
		}
		if len(want) < 3 || len(want) > len(flows)/2 {
			t.Fatalf("%s: %d findings in %d flows: this compares nothing", id, len(want), len(flows))
		}
		compare(t, judge(t, configureReference(t, p, id), flows, records.BatchGuest), want)
	}
}

func BenchmarkReference(b *testing.B) {
	flows := referenceFlows()[:records.BatchGuest]
	frame := records.AppendFlows(nil, flows)
	b.Run("in process", func(b *testing.B) {
		d := inProcess(b, detectors.Reference)
		for b.Loop() {
			if err := d.Inspect(b.Context(), sdk.Batch{Flows: flows}, &findings{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(flows)), "ns/flow")
	})
	b.Run("guest", func(b *testing.B) {
		i := configureReference(b, startGuest(b, buildReference(b), io.Discard), detectors.Reference)
		ctx := testContext(b)
		for b.Loop() {
			if err := i.Inspect(ctx, "c", frame, &findings{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(flows)), "ns/flow")
	})
}
