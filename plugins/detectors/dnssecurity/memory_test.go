package dnssecurity

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/sdk"
)

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	r := random()
	tests := map[string]func(i int) sdk.DNS{
		"a flood to each address": func(i int) sdk.DNS {
			m := big(i, fmt.Sprintf("example%d.org", i/20), 48)
			m.Client = heap.Addr(10, i/20)
			return m
		},
		"failures of each client below domains of their own": func(i int) sdk.DNS {
			m := answer(i, fmt.Sprintf("%s.example%d.org", lower32.EncodeToString(data(r, 6)), i/40), typeA, codeNoName)
			m.Client = heap.Addr(10, i/40)
			return m
		},
		"names that move": func(i int) sdk.DNS {
			return answer(i, fmt.Sprintf("a%d.example.com", i/30), typeA, 0, netip.AddrFrom4([4]byte{byte(11 + i%180), 1, byte(i >> 8), byte(i)}).String())
		},
		"blocked names and resolvers": func(i int) sdk.DNS {
			m := question(i, "a.example.com")
			m.Client = heap.Addr(10, i/20)
			return m
		},
	}
	for name, next := range tests {
		t.Run(name, func(t *testing.T) {
			d, s := detector(t, lists), &sink{}
			before := inUse()
			for i := range 400_000 {
				m := next(i)
				m.Time = noon // within every window
				if err := d.Inspect(t.Context(), sdk.Batch{DNS: []sdk.DNS{m}}, s); err != nil {
					t.Fatal(err)
				}
				s.findings = s.findings[:0]
			}
			s.findings = nil
			if held := inUse() - before; held > heap.Bound {
				t.Errorf("%d MiB are held, more than %d", held>>20, heap.Bound>>20)
			} else {
				t.Logf("%d KiB are held", held>>10)
			}
			runtime.KeepAlive(d)
		})
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC() // what a finalizer or a pool held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkBrowsing is what an ordinary message costs: names that exist, one in sixteen that does not.
func BenchmarkBrowsing(b *testing.B) {
	d, s := detector(b, "{}"), &sink{}
	var list []sdk.DNS
	for i := range 512 {
		text := fmt.Sprintf("static-content-%d.cdn.example%d.net", i%16, i%64)
		code := uint16(0)
		if i%16 == 5 {
			code = codeNoName
		}
		list = append(list, question(i, text), answer(i, text, typeA, code, "203.0.113.7"))
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i += len(list) {
		if err := d.Inspect(b.Context(), sdk.Batch{DNS: list}, s); err != nil {
			b.Fatal(err)
		}
	}
}
