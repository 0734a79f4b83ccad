package pluginhost

import (
	"context"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// What a notifier delivered can be asked about and taken back, through its process.
func TestANotifiersWayBack(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(versionedAssignment("n", "test/notifier", "1.0.0"))
	f.untilState("n", Ready)
	n := f.Notifiers()[0]
	receipt, err := n.Notify(t.Context(), sdk.Notice{ID: "7", Title: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	status, err := n.Outcome(t.Context(), receipt)
	if err != nil || status.State != sdk.DeliveryClosed || status.Text != "told-7 is done" {
		t.Errorf("%+v, %v", status, err)
	}
	if err := n.Undo(t.Context(), receipt); sdk.ClassOf(err) != sdk.Unsupported || err == nil {
		t.Errorf("undo of what cannot be undone: %v", err)
	}
	receipt.Undoable = true
	if err := n.Undo(t.Context(), receipt); err != nil {
		t.Error(err)
	}
}

// A notice that never reached the plugin is not what it was given last.
func TestANoticeWithoutTurnIsNoLastCall(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(versionedAssignment("n", "test/notifier", "1.0.0"))
	f.untilState("n", Ready)
	n := f.Notifiers()[0]
	<-n.s.turn // somebody else's call is under way
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Notify(ctx, sdk.Notice{ID: "7"}); err == nil {
		t.Error("it was delivered")
	}
	n.s.turn <- struct{}{}
	if step := n.s.last.take(n.s.host.cfg.Now(), ""); step != nil {
		t.Errorf("noted: %+v", step)
	}
	if _, err := n.Notify(t.Context(), sdk.Notice{ID: "8"}); err != nil {
		t.Fatal(err)
	}
	if step := n.s.last.take(n.s.host.cfg.Now(), "1.0.0"); step == nil || step.Notice == nil || step.Notice.ID != "8" {
		t.Errorf("noted: %+v", step)
	}
}
