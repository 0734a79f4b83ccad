package core

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/services/detect"
)

// kept is a recorder that remembers what it was given, and fails from a call on.
type kept struct {
	calls  []string
	failAt int
}

func (k *kept) did(what string) error {
	k.calls = append(k.calls, what)
	if len(k.calls) == k.failAt {
		return errors.New("the disk is full")
	}
	return nil
}

func (k *kept) Flows(context.Context, []byte) error                  { return k.did("flows") }
func (k *kept) Facts(_ context.Context, kind string, _ []byte) error { return k.did(kind) }

func (k *kept) Close(_ context.Context, complete bool) error {
	if complete {
		return k.did("complete")
	}
	return k.did("broken off")
}

// A recording that fails is closed and noted, and the analysis goes on.
func TestRecordingMayFail(t *testing.T) {
	for failAt, want := range map[int]string{
		0: "dns flows dns complete", 1: "dns broken off", 2: "dns flows broken off", 4: "dns flows dns complete",
	} {
		ctx, k := t.Context(), &kept{failAt: failAt}
		a := &analysis{run: detect.Start(ctx, "c", nil, 0, nil), recorder: k}
		frame := []byte("rows")
		if err := errors.Join(a.Facts(ctx, "dns", frame), a.Frame(ctx, frame), a.Facts(ctx, "dns", frame)); err != nil {
			t.Fatal(err)
		}
		out := a.Close(ctx, true)
		noted := slices.ContainsFunc(out.Notes, func(n string) bool { return strings.Contains(n, "not kept: the disk is full") })
		if have := strings.Join(k.calls, " "); have != want || noted != (failAt != 0) {
			t.Errorf("failing at %d: %q, notes %q", failAt, have, out.Notes)
		}
	}
}
