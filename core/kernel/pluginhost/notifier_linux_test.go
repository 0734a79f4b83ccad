package pluginhost

import (
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
