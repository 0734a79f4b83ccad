package beacon

import (
	"runtime"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/sdk"
)

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	tests := map[string]func(i int, f *sdk.Flow){
		"each flow of its own hosts": func(int, *sdk.Flow) {},
		"six calls of each pair":     func(i int, f *sdk.Flow) { f.Src, f.Dst = heap.Addr(10, i/6), heap.Addr(30, i/6) },
		"pairs as long as may be":    func(i int, f *sdk.Flow) { f.Src, f.Dst = heap.Addr(10, i/500), heap.Addr(30, i/500) },
		"one call in a hundred counts": func(i int, f *sdk.Flow) {
			if i%100 != 0 {
				f.FwdPayload = 0
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
			heap.Check(t, n, change, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
			runtime.KeepAlive(d)
		})
	}
}

// A pair that has shrunk gives back what it took when it was long.
func TestExpiredCallsGiveTheirMemoryBack(t *testing.T) {
	m := newPairs(&Config{MinCalls: 5, MaxPairs: 16, MaxCalls: 1000, MaxMemory: 10000})
	flows := every(60, 500, 0)
	key := keyOf(&flows[0])
	p := m.appear(key)
	for i := range flows {
		m.add(p, &flows[i])
	}
	m.expire(flows[498].End.UnixNano())
	if p := m.byKey[key]; len(p.calls) != 2 || cap(p.calls) > 4 {
		t.Errorf("%d calls in the room of %d", len(p.calls), cap(p.calls))
	}
}
