package portscan

import (
	"runtime"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/sdk"
)

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	silent := func(f *sdk.Flow) { f.FwdPayload, f.RevPackets, f.RevFlags = 0, 0, 0 }
	tests := map[string]func(i int, f *sdk.Flow){
		"each flow of its own hosts": func(int, *sdk.Flow) {},
		"sources of six targets":     func(i int, f *sdk.Flow) { silent(f); f.Src = heap.Addr(10, i/6) },
		"sources of sixty targets":   func(i int, f *sdk.Flow) { silent(f); f.Src = heap.Addr(10, i/60) },
		"sources as large as may be": func(i int, f *sdk.Flow) { silent(f); f.Src = heap.Addr(10, i/5000) },
		"refusals in everybody's name": func(i int, f *sdk.Flow) {
			f.Src = heap.Addr(10, i/2%16000)
			if i%2 == 1 {
				f.Src, f.Dst, f.Proto, f.SrcPort, f.DstPort = heap.Addr(40, i), f.Src, sdk.ProtoICMP, 3, 3
			}
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			d, s := detector(t, "{}"), &sink{}
			n := 300_000 // three times what is remembered
			if strings.HasPrefix(name, "each flow") {
				n = 2_000_000
			}
			heap.Check(t, n, change, func(b sdk.Batch) error {
				s.findings = nil
				return d.Inspect(t.Context(), b, s)
			})
			runtime.KeepAlive(d)
		})
	}
}
