package records

import (
	"reflect"
	"sync"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func TestSharedIsDecodedOnceForAll(t *testing.T) {
	want := []sdk.DNS{{Query: "a.example", Answers: []string{"192.0.2.1"}}, {Query: "b.example", Answers: []string{}}}
	for range 3 { // the memory of one is that of the next
		s := &Shared{Frame: AppendLocalFacts(nil, want)}
		var all sync.WaitGroup
		batches := make([]sdk.Batch, 8)
		for i := range batches {
			all.Go(func() {
				var err error
				if batches[i], err = s.Decode(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, b := range batches {
			if &b.DNS[0] != &batches[0].DNS[0] || len(b.DNS) != 2 || b.DNS[0].Query != "a.example" || !reflect.DeepEqual(b.DNS[0].Answers, want[0].Answers) {
				t.Fatalf("decoded to %+v", b)
			}
		}
		s.Release()
	}
	bad := &Shared{Frame: []byte("no frame")}
	for range 2 {
		if _, err := bad.Decode(); err == nil {
			t.Error("what is no frame was decoded")
		}
	}
	bad.Release()
	(&Shared{}).Release()
}
