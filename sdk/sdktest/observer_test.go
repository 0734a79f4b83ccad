package sdktest

import (
	"context"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// onlooker sees who sends ARP, and keeps nothing.
type onlooker struct{}

func (*onlooker) Config() any { return nil }

func (*onlooker) Observe(_ context.Context, b sdk.Batch, sink sdk.SightingSink) error {
	for i := range b.ARP {
		a := &b.ARP[i]
		if !a.SenderIP.IsValid() || a.Time.IsZero() {
			continue
		}
		if err := sink.Sighting(sdk.Sighting{Time: a.Time, IP: a.SenderIP, MAC: a.SenderMAC, Source: a.Protocol, Packet: a.Packet, Confidence: 0.9}); err != nil {
			return err
		}
	}
	return nil
}

func (*onlooker) EndCapture(context.Context, sdk.SightingSink) error { return nil }

func TestAGoodObserver(t *testing.T) {
	all := sdk.Plugin{ID: "test/onlooker", Kind: sdk.KindDiscovery, Summary: "Looks on.", New: func() sdk.Instance { return &onlooker{} },
		Subscription: sdk.Subscription{Flows: true, Facts: sdk.FactKinds}}
	Run(t, all, Options{})
}
