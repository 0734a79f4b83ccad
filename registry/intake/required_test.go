package intake_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

func TestATestRunGetsWhatTheReleaseRequires(t *testing.T) {
	b := newBench(t)
	list := func(version, content string) {
		b.Change(t, func(p *publish.Publisher) error {
			return p.Accept(t.Context(), b.author.Sign(t, b.Registry, p, registrytest.Plugin{ID: "acme/list", Version: version, Kind: sdk.KindData, File: []byte(content)}))
		})
	}
	list("1.0.0", "old\n")
	list("1.1.0", "fits\n")
	list("1.2.0", "withdrawn\n")
	list("2.0.0", "too new\n")
	b.Change(t, func(p *publish.Publisher) error {
		return p.Accept(t.Context(), b.author.Sign(t, b.Registry, p, registrytest.Plugin{ID: "acme/lib", WASM: []byte(guest)}))
	})
	b.Revoke(t, "acme/list", "1.2.0", "wrong")
	var got map[string]string
	i := b.open(t, func(c *intake.Config) {
		c.Gates.Test = func(_ context.Context, r gates.Release) ([]byte, error) {
			got = maps.Clone(r.Models)
			return nil, errors.New("seen")
		}
	})
	hand := func(id string, needs ...registry.Requirement) intake.Job {
		job, err := i.Submit(t.Context(), bytes.NewReader(b.pack(t, registrytest.Plugin{ID: id, Requires: needs})))
		if err != nil {
			t.Fatal(err)
		}
		return wait(t, i, job.ID)
	}
	job := hand("acme/watch", registry.Requirement{Plugin: "acme/list", Version: "^1"}, registry.Requirement{Plugin: "acme/lib", Version: "^1"})
	if job.State != intake.StatePublished || len(got) != 2 || got["acme/lib"] != "" {
		t.Errorf("%+v, with %v", job, got)
	}
	if data, err := os.ReadFile(got["acme/list"]); err != nil || string(data) != "fits\n" {
		t.Errorf("it would open %q, %v", data, err)
	}
	got = nil
	job = hand("acme/other", registry.Requirement{Plugin: "acme/list", Version: "^3"})
	if got != nil || !slices.ContainsFunc(job.Gates, func(g registry.Gate) bool {
		return g.Name == "conformance" && g.State == registry.GateNotChecked
	}) {
		t.Errorf("without what it requires it was run: %v, %+v", got, job.Gates)
	}
}
