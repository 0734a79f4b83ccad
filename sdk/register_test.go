package sdk

import (
	"context"
	"testing"
)

type onlooker struct{}

func (onlooker) Config() any                                        { return nil }
func (onlooker) Observe(context.Context, Batch, SightingSink) error { return nil }
func (onlooker) EndCapture(context.Context, SightingSink) error     { return nil }

// A discovery may ask nobody and only observe; then it must say what.
func TestAnObserverSaysWhatItObserves(t *testing.T) {
	p := Plugin{ID: "test/onlooker", Kind: KindDiscovery, Summary: "Looks on.", New: func() Instance { return onlooker{} }}
	if Check(p) == nil {
		t.Error("an observer without a subscription is taken")
	}
	p.Subscription.Facts = []string{FactsARP}
	if err := Check(p); err != nil {
		t.Error(err)
	}
}
