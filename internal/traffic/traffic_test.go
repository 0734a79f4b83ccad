package traffic

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

const scan = "../../plugins/detectors/portscan/testdata/syn-scan/input.pcap"

func count(n *int) func([]sdk.Flow) error {
	return func(flows []sdk.Flow) error {
		*n += len(flows)
		return nil
	}
}

func TestSummary(t *testing.T) {
	n := 0
	var last FileProgress
	sum, err := AnalyzeFile(context.Background(), scan, Options{ProgressEvery: 50}, func(p FileProgress) { last = p }, count(&n))
	if err != nil {
		t.Fatal(err)
	}
	if sum.Flows != uint64(n) || sum.Packets != sum.Outcomes[decode.Flow] || sum.Undecoded() != 0 || !sum.Last.After(sum.First) ||
		len(sum.LinkTypes) != 1 || sum.LinkTypes[0] != capture.LinkEthernet {
		t.Errorf("%d flows emitted: %+v", n, sum)
	}
	info, err := os.Stat(scan)
	if err != nil {
		t.Fatal(err)
	}
	if last.Total != info.Size() || last.BytesRead <= 0 || last.Packets == 0 || last.Flows == 0 {
		t.Errorf("progress %+v", last)
	}
}

func TestTruncatedCaptureGivesItsFlows(t *testing.T) {
	data, err := os.ReadFile(scan)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	sum, err := Analyze(context.Background(), bytes.NewReader(data[:3000]), Options{}, count(&n))
	var damaged *capture.DamagedError
	if !errors.As(err, &damaged) || !damaged.Truncated || damaged.After != sum.Packets || n == 0 || uint64(n) != sum.Flows {
		t.Errorf("%d flows, %+v, error %v", n, sum, err)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pcap")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{filepath.Join(dir, "none"): "no such file", empty: "empty file", dir: "it is a directory"} {
		_, err := AnalyzeFile(context.Background(), path, Options{}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

func TestEmitErrorEndsTheAnalysis(t *testing.T) {
	full := errors.New("disk full")
	calls := 0
	_, err := AnalyzeFile(context.Background(), scan, Options{Flow: flow.Config{Batch: 1}}, nil, func([]sdk.Flow) error {
		calls++
		return full
	})
	if !errors.Is(err, full) || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

func TestCancelledAnalysisEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	sum, err := AnalyzeFile(ctx, scan, Options{ProgressEvery: 10}, func(FileProgress) { cancel() }, func([]sdk.Flow) error { return nil })
	if !errors.Is(err, context.Canceled) || sum.Packets > 20 {
		t.Errorf("%d packets, error %v", sum.Packets, err)
	}
}

// A bug stops the analysis with the number of the packet that set it off; the process goes on.
func TestPanicNamesThePacket(t *testing.T) {
	_, err := AnalyzeFile(context.Background(), scan, Options{Flow: flow.Config{Batch: 1}}, nil, func(flows []sdk.Flow) error {
		panic("a bug")
	})
	var bug *PanicError
	if !errors.As(err, &bug) || bug.Packet == 0 || bug.Value != "a bug" || !strings.Contains(err.Error(), "packet ") {
		t.Errorf("error %v", err)
	}
}
