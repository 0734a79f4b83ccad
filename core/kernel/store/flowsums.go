package store

import (
	"context"
	"fmt"
	"reflect"
	"time"
)

// sumStep is the step of time of the sums that are kept of a run: the widest that every step divides into which a summary of
// that run, or of more, may be asked for.
func sumStep(r *run) time.Duration {
	want := summaryStep([]*run{r}, FlowFilter{})
	for i, step := range niceSteps {
		if step >= want {
			return dividesAll(i)
		}
	}
	return niceSteps[len(niceSteps)-1] // the steps beyond are whole days, too
}

// dividesAll is the widest step, up to one of niceSteps, of which that one and all behind it are multiples.
func dividesAll(last int) time.Duration {
	for i := last; i > 0; i-- {
		fits := true
		for _, step := range niceSteps[last:] {
			fits = fits && step%niceSteps[i] == 0
		}
		if fits {
			return niceSteps[i]
		}
	}
	return niceSteps[0]
}

// keepSums adds up the new flows of a recording once and for all: those of ten million flows take too long for a page.
func (r *FlowRecording) keepSums(ctx context.Context, every time.Duration) error {
	if r.run.flows == 0 {
		return nil
	}
	db, step := r.seg.alias+".main.", every.Microseconds()
	_, err := r.conn.ExecContext(ctx, fmt.Sprintf(`INSERT INTO %[1]ssums SELECT run, app, proto, make_timestamp(%[2]s * %[3]d), count(*), %[4]s, %[5]s, %[6]s, min(start), max(start)
		FROM %[1]sflows WHERE run = %[7]d::UINTEGER AND block >= %[8]d::UINTEGER GROUP BY ALL`, db, stepOf("start", step), step, total("packets"), total("bytes"), total("fwd_bytes"), r.run.id, r.first))
	return err
}

// stepOf is the number of the step that a time lies in.
func stepOf(column string, step int64) string {
	return fmt.Sprintf("epoch_us(%s) // %d", column, step)
}

// summable reports whether kept sums answer a filter: they know captures, protocols and nothing else.
func summable(q FlowFilter) bool {
	q.Captures, q.Protos, q.Apps = nil, nil, nil
	return reflect.ValueOf(q).IsZero()
}
