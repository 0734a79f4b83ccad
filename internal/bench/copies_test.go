//go:build linux

package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// recordedFlows is how many flows a recording is measured with at least: of the few of a small capture, the one transaction that a
// recording is would be most of the cost.
const recordedFlows = 150_000

// copied returns frames as of a capture of more flows: copies of those of a small one one after the other, each with other hosts of
// the same networks and other numbers, in full frames, facts before their flows.
func copied(tb testing.TB, flows []sdk.Flow, frames []kept) (out []kept, count int) {
	tb.Helper()
	if len(flows) >= recordedFlows {
		return frames, len(flows)
	}
	facts, last := decodedFacts(tb, frames), uint64(0)
	for _, x := range flows {
		last = max(last, x.ID)
	}
	c := copier{facts: map[string]*sdk.Batch{}}
	for n := uint32(0); count < recordedFlows; n++ {
		first := uint64(n) * last
		later := time.Duration(n) * time.Minute
		for i, kind := range facts.kinds {
			c.addFacts(kind, facts.batches[i], func(s *sdk.Seen) {
				if s.Flow != 0 {
					s.Flow += first
				}
				s.Time, s.Client, s.Server = s.Time.Add(later), moved(s.Client, n), moved(s.Server, n*7)
			})
		}
		for _, x := range flows {
			x.ID += first
			x.Start, x.End, x.Src, x.Dst = x.Start.Add(later), x.End.Add(later), moved(x.Src, n), moved(x.Dst, n*7)
			c.addFlow(x)
		}
		count += len(flows)
	}
	c.flush()
	return c.out, count
}

// factList is the facts of some frames.
type factList struct {
	kinds   []string
	batches []sdk.Batch
}

func decodedFacts(tb testing.TB, frames []kept) (list factList) {
	tb.Helper()
	for _, x := range frames {
		if x.kind == "" {
			continue
		}
		var decoder records.BatchDecoder // each its own: what one decodes is valid until its next frame
		batch, err := decoder.Decode(x.Frame)
		fatal(tb, err)
		list.kinds, list.batches = append(list.kinds, x.kind), append(list.batches, batch)
	}
	return list
}

// copier gathers flows and facts into frames.
type copier struct {
	facts map[string]*sdk.Batch
	flows []sdk.Flow
	out   []kept
}

// addFacts adds copies of the facts of a batch as change makes them.
func (c *copier) addFacts(kind string, batch sdk.Batch, change func(*sdk.Seen)) {
	own := c.facts[kind]
	if own == nil {
		own = &sdk.Batch{}
		c.facts[kind] = own
	}
	from, to := reflect.ValueOf(batch), reflect.ValueOf(own).Elem()
	for i := range from.NumField() {
		if from.Field(i).Kind() != reflect.Slice {
			continue
		}
		for j := range from.Field(i).Len() {
			list := to.Field(i)
			list.Set(reflect.Append(list, from.Field(i).Index(j)))
			change(list.Index(list.Len() - 1).FieldByName("Seen").Addr().Interface().(*sdk.Seen)) //nolint:forcetypeassert // what every fact begins with
			if list.Len() == records.BatchFacts {
				c.flushFacts(kind)
			}
		}
	}
}

func (c *copier) flushFacts(kind string) {
	if frame := records.AppendBatch(nil, c.facts[kind]); len(frame) > 0 {
		c.out = append(c.out, asSent(kind, frame, nil))
	}
	*c.facts[kind] = sdk.Batch{}
}

func (c *copier) addFlow(x sdk.Flow) {
	c.flows = append(c.flows, x)
	if len(c.flows) == records.BatchProcess {
		c.flush()
	}
}

func (c *copier) flush() {
	for kind := range c.facts {
		c.flushFacts(kind)
	}
	if len(c.flows) > 0 {
		c.out = append(c.out, asSent("", records.AppendShortFlows(nil, c.flows), records.PackFeatures(nil, c.flows)))
	}
	c.flows = c.flows[:0]
}

// The copies have all flows, each with a number of its own, and facts that belong to them.
func TestCopiesOfFlowsAreWhole(t *testing.T) {
	flows, frames := realFlows(t)
	out, count := copied(t, flows, frames)
	numbers, told := map[uint64]bool{}, map[uint64]bool{}
	stored := 0
	for _, x := range out {
		var decoder records.BatchDecoder
		batch, err := decoder.Decode(x.Frame)
		fatal(t, err)
		for _, y := range batch.Flows {
			numbers[y.ID] = true
		}
		for _, y := range batch.DNS {
			told[y.Flow] = true
		}
		stored += len(batch.Flows)
	}
	if count < recordedFlows || stored != count || len(numbers) != count || len(told) < count/len(flows) {
		t.Errorf("%d flows stored, %d numbers, %d with DNS; %d are said to be", stored, len(numbers), len(told), count)
	}
	for id := range told {
		if id != 0 && !numbers[id] {
			t.Errorf("a fact of flow %d, which there is not", id)
			break
		}
	}
}
