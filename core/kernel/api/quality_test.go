package api

import (
	"testing"

	"github.com/picketwatch/picket/core/kernel/store"
)

func TestQualityOf(t *testing.T) {
	for _, text := range []string{"", "no JSON", `{"outcomes":3}`} {
		if q := qualityOf(store.Capture{Quality: text}); q != nil {
			t.Errorf("%q is the quality %+v", text, q)
		}
	}
	q := qualityOf(store.Capture{Quality: `{"outcomes":{"flow":7,"malformed":1},"dropped":3,"linktypes":null,"protocols":[{"name":"dns","flows":2}],"names":[{"addr":"a","name":"b"}]}`})
	if q == nil || q.Outcomes["flow"] != 7 || q.Dropped != 3 || q.LinkTypes == nil || len(q.Protocols) != 1 || q.Protocols[0].Flows != 2 {
		t.Errorf("the quality is %+v", q)
	}
}
