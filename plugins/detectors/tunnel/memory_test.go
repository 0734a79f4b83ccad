package tunnel

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/sdk"
)

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	r := random()
	random60 := lower32.EncodeToString(data(r, 1<<16))
	name := func(i int, domain string) string {
		at := i * 7919 % (len(random60) - 60)
		return fmt.Sprintf("%s%d.%s", random60[at:at+40], i, domain)
	}
	tests := map[string]func(i int, b *sdk.Batch){
		"each question below a domain of its own": func(i int, b *sdk.Batch) {
			q := question(i, name(i, fmt.Sprintf("example%d.org", i)), typeA)
			b.DNS = append(b.DNS, q)
		},
		"forty questions below each domain, of a client of its own": func(i int, b *sdk.Batch) {
			q := question(i, name(i, "example.org"), 10)
			q.Client = heap.Addr(10, i/40)
			b.DNS = append(b.DNS, q)
		},
		"pings of forty contents between hosts of their own": func(i int, b *sdk.Batch) {
			p := make([]byte, 100)
			copy(p, []byte{0x45, 0, 0, 100, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1})
			copy(p[16:], heap.Addr(30, i/40).AsSlice())
			p[20] = 8
			binary.BigEndian.PutUint64(p[60:], uint64(i))
			b.Packets = append(b.Packets, sdk.Packet{Number: uint64(i), Time: question(i, "", 0).Time, Link: linkRaw, Data: p})
		},
	}
	for name, next := range tests {
		t.Run(name, func(t *testing.T) {
			d, s := detector(t, `{"window": "168h"}`), &sink{}
			before := inUse()
			for i := 0; i < 600_000; {
				var b sdk.Batch
				for range 256 {
					next(i, &b)
					i++
				}
				if err := d.Inspect(t.Context(), b, s); err != nil {
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

// BenchmarkBrowsing is what an ordinary exchange costs: a question and its answer.
func BenchmarkBrowsing(b *testing.B) {
	d, s := detector(b, "{}"), &sink{}
	var list []sdk.DNS
	for i := range 512 {
		q := question(i, fmt.Sprintf("static-content-%d.cdn.example%d.net", i%16, i%64), typeA)
		list = append(list, q)
		q.Response, q.Answers, q.AnswerTypes = true, []string{"203.0.113.7"}, []uint64{typeA}
		list = append(list, q)
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i += len(list) {
		if err := d.Inspect(b.Context(), sdk.Batch{DNS: list}, s); err != nil {
			b.Fatal(err)
		}
	}
}
