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

var update = flag.Bool("update", false, "write the want.json of each case from what the detector finds")

// Cases runs a detector over each folder below dir. A case holds input.pcap (or .pcapng, either with .gz or .zst),
// want.json with the findings in order of time, and, where the defaults do not do, config.json. What want.json leaves
// out of a finding is not compared. With -update the files are written.
//
// The capture is turned into records by the picket command, the engine of production: see kit.ReadCases.
func Cases(t *testing.T, p sdk.Plugin, dir string) {
	t.Helper()
	if p.Kind != sdk.KindDetector {
		t.Fatalf("%s is a %s; cases are for detectors", p.ID, p.Kind)
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
		t.Run(c.Name, func(t *testing.T) { runCase(t, p, c) })
	}
}

func runCase(t *testing.T, p sdk.Plugin, c kit.Case) {
	t.Helper()
	got, err := c.Run(t.Context(), Options{}.subject(t, p), kit.Options{})
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
		if diff := c.Compare(got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func writeWant(t *testing.T, name string, got []sdk.Finding) {
	t.Helper()
	if got == nil {
		got = []sdk.Finding{}
	}
	data, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
