//go:build linux

package main

import (
	"context"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	meanwhileFlows = 150_000 // recorded a second while pages are asked for
	meanwhileSize  = 600_000 // flows of a recording
)

// BenchmarkFlowStoreRecording asks what BenchmarkFlowStore asks, while one capture after the other is recorded with its features and
// facts, of another tenant and never to its end: what is asked for stays the same.
func BenchmarkFlowStoreRecording(b *testing.B) {
	s := stored(b)
	flows, frames := realFlows(b)
	frames, _ = copied(b, flows, frames)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() {
		var err error
		for err == nil && ctx.Err() == nil {
			err = recordAWhile(ctx, s, frames)
		}
		ended <- err
	}()
	askAll(b, s)
	stop()
	fatal(b, <-ended)
}

// recordAWhile records flows at an even pace, and gives the recording up.
func recordAWhile(ctx context.Context, s *store.Flows, frames []kept) error {
	rec, err := s.Record(ctx, "meanwhile", "capture")
	if err != nil {
		return err
	}
	began, recorded := time.Now(), 0
	for i := 0; recorded < meanwhileSize && ctx.Err() == nil; i++ {
		if x := frames[i%len(frames)]; x.kind != "" {
			err = rec.Facts(ctx, x.kind, x.Parcel)
		} else {
			err = rec.Flows(ctx, x.Parcel)
			recorded += records.Count(x.Frame)
			time.Sleep(time.Until(began.Add(time.Duration(recorded) * time.Second / meanwhileFlows)))
		}
		if err != nil {
			break
		}
	}
	_ = rec.Facts(ctx, "none of these", records.Parcel{}) // which is an error, so that nothing is kept
	_ = rec.Close(ctx, true)                              // the same error again
	return err
}
