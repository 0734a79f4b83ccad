package dga

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/sdk"
)

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	for name, client := range map[string]func(i int) int{
		"each name from a host of its own": func(i int) int { return i },
		"names of a hundred hosts":         func(i int) int { return i % 100 },
		"twenty names of each host":        func(i int) int { return i / 20 },
	} {
		t.Run(name, func(t *testing.T) {
			d, s := detector(t, "{}"), &sink{}
			before := inUse()
			for i := range 100_000 {
				f := ask(heap.Addr(10, client(i)), float64(i)/1000, random(r, 20)+".com", false)
				if err := d.Inspect(t.Context(), sdk.Batch{DNS: []sdk.DNS{f}}, s); err != nil {
					t.Fatal(err)
				}
				s.findings = s.findings[:0]
			}
			s.findings = nil
			if held := inUse() - before; held > heap.Bound {
				t.Errorf("%d MiB are held, more than %d", held>>20, heap.Bound>>20)
			} else {
				t.Logf("%d hosts with %d names hold %d KiB", len(d.clients.byAddr), d.clients.names, held>>10)
			}
			runtime.KeepAlive(d)
		})
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
