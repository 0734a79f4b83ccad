package core

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
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

func (k *kept) Flows(context.Context, records.Parcel) error                  { return k.did("flows") }
func (k *kept) Facts(_ context.Context, kind string, _ records.Parcel) error { return k.did(kind) }

func (k *kept) Close(_ context.Context, complete bool) error {
	if complete {
		return k.did("complete")
	}
	return k.did("broken off")
}

// A recording that fails is closed and noted, and the analysis goes on. What is in files is not recorded.
func TestRecordingMayFail(t *testing.T) {
	for failAt, want := range map[int]string{
		0: "dns flows dns complete", 1: "dns broken off", 2: "dns flows broken off", 4: "dns flows dns complete",
	} {
		ctx, k := t.Context(), &kept{failAt: failAt}
		a := &analysis{run: detect.Start(ctx, "c", nil, 0, nil), recorder: k}
		frame := []byte("rows")
		if err := errors.Join(a.Facts(ctx, "dns", records.Parcel{Frame: frame}), a.Facts(ctx, sdk.FactsContents, records.Parcel{Frame: frame}),
			a.Frame(ctx, records.Parcel{Frame: frame}), a.Facts(ctx, "dns", records.Parcel{Frame: frame})); err != nil {
			t.Fatal(err)
		}
		out := a.Close(ctx, true)
		noted := slices.ContainsFunc(out.Notes, func(n string) bool { return strings.Contains(n, "not kept: the disk is full") })
		if have := strings.Join(k.calls, " "); have != want || noted != (failAt != 0) {
			t.Errorf("failing at %d: %q, notes %q", failAt, have, out.Notes)
		}
	}
}

// dying is a detector whose process goes down with the first call.
type dying struct{}

func (dying) Instance() string               { return "beacon" }
func (dying) Plugin() string                 { return "picket/beacon" }
func (dying) Generation() uint64             { return 1 }
func (dying) Subscription() sdk.Subscription { return sdk.Subscription{Flows: true} }

func (dying) InspectAll(context.Context, string, <-chan *batch.Batch, sdk.FindingSink) error {
	return sdk.Errorf(sdk.Temporary, "beacon died during Inspect")
}

func (dying) Flush(context.Context, sdk.FindingSink) error { return nil }

// A capture is analysed again when a detector died, unless its memory limit was what it died of.
func TestWhoStarvedIsNotTriedAgain(t *testing.T) {
	began := time.Now()
	for reason, starved := range map[string]bool{"it used 130 MiB of memory, its limit is 128 MiB": true, "it was killed by signal 11": false} {
		a := &analysis{run: detect.Start(t.Context(), "c", []detect.Detector{dying{}}, 0, nil), began: began}
		a.status = map[string]func() pluginhost.Status{"beacon": func() pluginhost.Status {
			return pluginhost.Status{History: []pluginhost.Transition{{Time: time.Now(), Reason: reason}}}
		}}
		out := a.Close(t.Context(), true)
		told := len(out.Notes) == 1 && strings.Contains(out.Notes[0], "the verdict of beacon is incomplete") &&
			strings.Contains(out.Notes[0], "raise its memory limit") == starved
		if out.Retry == starved || !told {
			t.Errorf("%s: tried again %v, notes %q", reason, out.Retry, out.Notes)
		}
	}
}
