package sdktest

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/kit"
)

var update = flag.Bool("update", false, "write the want.json of each case from what the plugin finds or sees")

// Cases runs a detector or an observer over each folder below dir. A case holds input.pcap (or .pcapng, either with .gz or .zst),
// want.json with the findings in order of time, of an observer the sightings, and, where the defaults do not do, config.json. What
// want.json leaves out of a finding is not compared. With -update the files are written.
//
// The capture is turned into records by the picket command, the engine of production: see kit.ReadCases.
func Cases(t *testing.T, p sdk.Plugin, dir string) {
	t.Helper()
	Options{}.Cases(t, p, dir)
}

// Cases is Cases with what the plugin needs given, its models for example.
func (o Options) Cases(t *testing.T, p sdk.Plugin, dir string) {
	t.Helper()
	_, observes := p.New().(sdk.Observer)
	if p.Kind != sdk.KindDetector && !observes {
		t.Fatalf("%s is a %s that is shown no records; cases are for detectors and observers", p.ID, p.Kind)
	}
	cases, err := kit.ReadCases(t.Context(), dir, p.Subscription)
	switch {
	case errors.Is(err, kit.ErrNoCommand):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	case len(cases) == 0:
		t.Fatalf("no case with an input.* below %s", dir)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			s := o.subject(t, p)
			if observes {
				got, err := c.Observe(t.Context(), s, kit.Options{})
				settle(t, c, got, c.CompareSightings, err)
				return
			}
			got, err := c.Run(t.Context(), s, kit.Options{})
			settle(t, c, got, c.Compare, err)
		})
	}
}

// settle compares what the plugin said with want.json, or writes it there.
func settle[T any](t *testing.T, c kit.Case, got []T, compare func([]T) string, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(c.Folder, "want.json")
	switch {
	case *update:
		writeWant(t, name, got)
	case c.Want == nil:
		t.Fatalf("there is no %s (run the test with -update to write it)", name)
	default:
		if diff := compare(got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func writeWant[T any](t *testing.T, name string, got []T) {
	t.Helper()
	if got == nil {
		got = []T{}
	}
	data, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
