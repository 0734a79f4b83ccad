package anomaly

import (
	"runtime"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/sdk"
)

// However many flows are unusual, what is remembered of them stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	d := &Detector{cfg: Config{MinFlows: 1, MaxPairs: 1024}}
	if err := d.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	heap.Check(t, 200_000, func(i int, f *sdk.Flow) {
		f.Src, f.Dst = heap.Addr(10, i%1100), heap.Addr(30, i%1100)
	}, func(b sdk.Batch) error {
		for i := range b.Flows { // as Inspect does when the model finds a flow unusual
			if p := d.pair(&b.Flows[i], "icmp"); p != nil {
				p.add(&b.Flows[i], 1, [numFeatures]float64{})
			}
		}
		return nil
	})
	if len(d.Pairs) != 1024 {
		t.Errorf("%d pairs are remembered: the test does not fill the memory", len(d.Pairs))
	}
	runtime.KeepAlive(d)
}
