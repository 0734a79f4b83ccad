// Package savedtest is what the tests of detectors ask of the states that they leave.
package savedtest

import (
	"bytes"
	"context"
	"testing"
)

// A Detector can leave its state and take one over.
type Detector interface {
	Snapshot(context.Context) ([]byte, error)
	Restore(context.Context, []byte) error
}

// HandsOn takes the state of a detector down and up again in another one, which changes nothing.
func HandsOn(t *testing.T, d, next Detector) {
	t.Helper()
	state, err := d.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Restore(t.Context(), state); err != nil {
		t.Fatalf("what it took it cannot hand on: %v", err)
	}
	again, err := next.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, state) {
		t.Fatalf("%q was handed on as %q", state, again)
	}
}
