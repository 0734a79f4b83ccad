package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Who wants flows alone pays for no facts and for no features.
func TestReplayOfSomeKinds(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	rec, err := f.Record(t.Context(), "default", "c")
	must(t, err)
	flows := []sdk.Flow{someFlow(1), someFlow(2)}
	for i := range flows {
		flows[i].Features = &sdk.Features{}
	}
	must(t, rec.Facts(t.Context(), sdk.FactsTLS, records.Parcel{Frame: records.AppendFacts(nil, []sdk.TLS{{Seen: sdk.Seen{Flow: 1, Time: flows[0].Start}}})}))
	must(t, rec.Flows(t.Context(), records.Parcel{Frame: records.AppendShortFlows(nil, flows), Features: records.PackFeatures(nil, flows)}))
	must(t, rec.Close(t.Context(), true))
	for _, c := range []struct {
		wanted   []records.Schema
		kinds    []string
		features bool
	}{
		{nil, []string{sdk.FactsTLS, ""}, true},
		{[]records.Schema{records.Flows}, []string{""}, false},
		{[]records.Schema{records.PackedFeatures, records.Flows}, []string{""}, true},
		{[]records.Schema{records.TLS}, []string{sdk.FactsTLS}, false},
	} {
		var kinds []string
		features := false
		must(t, f.Replay(t.Context(), "default", "c", func(kind string, p records.Parcel) error {
			kinds = append(kinds, kind)
			features = features || p.Features != nil
			return nil
		}, c.wanted...))
		if !slices.Equal(kinds, c.kinds) || features != c.features {
			t.Errorf("of %v: kinds %q, features %v", c.wanted, kinds, features)
		}
	}
}

// Features that could never be joined with their flows are refused while they are recorded, and not each time they are read.
func TestFeaturesThatCannotBeReadAreNotKept(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	flows := []sdk.Flow{someFlow(1)}
	flows[0].Features = &sdk.Features{}
	packed := records.PackFeatures(nil, flows)
	packed[len(packed)-1]++ // a tag without its number
	for name, features := range map[string][]byte{"a lie": packed, "of others": records.PackFeatures(nil, slices.Repeat(flows, 2)), "empty": {}} {
		rec, err := f.Record(t.Context(), "default", "c")
		must(t, err)
		if err := rec.Flows(t.Context(), records.Parcel{Frame: records.AppendShortFlows(nil, flows), Features: features}); err == nil {
			t.Errorf("features that are %s were taken", name)
		}
		if err := rec.Close(t.Context(), true); err == nil {
			t.Errorf("features that are %s were kept", name)
		}
	}
}

// What was recorded since then is handed out whole, the latest capture first; older ones are not.
func TestReplayRecent(t *testing.T) {
	now := &clock{t: start}
	f := openFlows(t, t.TempDir(), now)
	for i, name := range []string{"old", "first", "second"} {
		if i == 1 {
			now.t = start.Add(72 * time.Hour)
		}
		rec, err := f.Record(t.Context(), "default", name)
		must(t, err)
		must(t, rec.Facts(t.Context(), sdk.FactsTLS, records.Parcel{Frame: records.AppendFacts(nil, []sdk.TLS{{Seen: sdk.Seen{Flow: 1, Time: start}}})}))
		must(t, rec.Flows(t.Context(), records.Parcel{Frame: records.AppendShortFlows(nil, []sdk.Flow{someFlow(1)})}))
		must(t, rec.Close(t.Context(), true))
	}
	saw := func(since time.Time, wanted ...records.Schema) (out []string) {
		must(t, f.ReplayRecent(t.Context(), "default", since, func(capture string, p records.Parcel) error {
			out = append(out, capture+" "+records.SchemaOf(p.Frame).Facts())
			return nil
		}, wanted...))
		return out
	}
	if got := saw(now.t.Add(-time.Hour), records.Flows, records.TLS); !slices.Equal(got, []string{"second tls", "second ", "first tls", "first "}) {
		t.Errorf("saw %q", got)
	}
	if got := saw(start.Add(-time.Hour), records.TLS); !slices.Equal(got, []string{"second tls", "first tls", "old tls"}) {
		t.Errorf("saw %q", got)
	}
	stop := errors.New("enough")
	if err := f.ReplayRecent(t.Context(), "default", start, func(string, records.Parcel) error { return stop }, records.Flows); !errors.Is(err, stop) {
		t.Error(err)
	}
}
