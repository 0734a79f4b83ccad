package gatecheck

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
)

func releaseOf(digest string) gates.Release {
	d := &registry.Descriptor{Manifest: registry.Manifest{ID: "acme/agent", Version: "1.0.0"}}
	d.Artifacts = []registry.Artifact{{Runtime: registry.RuntimeProcess, SHA256: digest}}
	return gates.Release{Descriptor: d}
}

// What was found out about a release is used for the same bytes, tested in the same way, and for nothing else.
func TestKept(t *testing.T) {
	one, other := strings.Repeat("1", 64), strings.Repeat("2", 64)
	given := "cases"
	k := Kept{Dir: filepath.Join(t.TempDir(), "evidence"), Given: func(gates.Release) string { return given }}
	runs := 0
	able := k.Wrap(gates.Config{
		Test:    func(context.Context, gates.Release) ([]byte, error) { runs++; return []byte(`{"tier":"gold"}`), nil },
		Rebuild: func(context.Context, gates.Release) ([]string, error) { runs++; return []string{one}, nil },
		Judge: func(context.Context, gates.Release) (gates.Judgement, error) {
			runs++
			return gates.Judgement{Figures: []registry.QualityFigure{{Dataset: "d"}}, Evidence: []byte("seen")}, nil
		},
	}, "captures")
	unable := k.Wrap(gates.Config{}, "")
	all := func(cfg gates.Config, r gates.Release) error {
		report, err := cfg.Test(t.Context(), r)
		if err == nil && string(report) != `{"tier":"gold"}` {
			t.Errorf("the report became %s", report)
		}
		_, err2 := cfg.Rebuild(t.Context(), r)
		j, err3 := cfg.Judge(t.Context(), r)
		if err3 == nil && (len(j.Figures) != 1 || string(j.Evidence) != "seen") {
			t.Errorf("the judgement became %+v", j)
		}
		return errors.Join(err, err2, err3)
	}
	if err := all(unable, releaseOf(one)); !errors.Is(err, errNotKept) {
		t.Errorf("nothing is kept, and yet: %v", err)
	}
	for range 2 {
		if err := all(able, releaseOf(one)); err != nil || runs != 3 {
			t.Errorf("%d runs, %v", runs, err)
		}
	}
	if err := all(unable, releaseOf(one)); err != nil {
		t.Errorf("what is kept is not used: %v", err)
	}
	if err := all(unable, releaseOf(other)); !errors.Is(err, errNotKept) {
		t.Errorf("other bytes: %v", err)
	}
	changed := releaseOf(one)
	changed.Descriptor.Manifest.Title = "It asks for more now"
	if err := all(unable, changed); !errors.Is(err, errNotKept) {
		t.Errorf("another manifest: %v", err)
	}
	model := filepath.Join(t.TempDir(), "model")
	if err := os.WriteFile(model, []byte("onnx"), 0o600); err != nil {
		t.Fatal(err)
	}
	modelled := releaseOf(one)
	modelled.Models = map[string]string{"acme/model": model}
	if err := all(unable, modelled); !errors.Is(err, errNotKept) {
		t.Errorf("with another model: %v", err)
	}
	given = "more cases"
	if _, err := able.Test(t.Context(), releaseOf(one)); err != nil || runs != 4 {
		t.Errorf("other cases: %d runs, %v", runs, err)
	}
	if _, err := k.Wrap(gates.Config{}, "other captures").Judge(t.Context(), releaseOf(one)); !errors.Is(err, errNotKept) {
		t.Errorf("other captures: %v", err)
	}
}

// A file that was renamed to another release's name, or is damaged, is not believed.
func TestKeptIsNotBelievedForAnother(t *testing.T) {
	one, other := releaseOf(strings.Repeat("1", 64)), releaseOf(strings.Repeat("2", 64))
	k := Kept{Dir: t.TempDir()}
	if err := k.save(registry.GateRebuild, one, "", []string{"x"}); err != nil {
		t.Fatal(err)
	}
	path := func(gate string, r gates.Release) string {
		id, err := subject(r)
		if err != nil {
			t.Fatal(err)
		}
		return k.path(gate, id)
	}
	good, err := os.ReadFile(path(registry.GateRebuild, one))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		gate string
		r    gates.Release
		data []byte
	}{
		"another release": {registry.GateRebuild, other, good},
		"another gate":    {registry.GateQuality, one, good},
		"cut off":         {registry.GateRebuild, one, good[:len(good)/2]},
		"huge":            {registry.GateRebuild, one, append(good, make([]byte, maxKept)...)},
	} {
		if err := os.WriteFile(path(c.gate, c.r), c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		var found any
		if k.load(c.gate, c.r, "", &found) {
			t.Errorf("%s is believed: %v", name, found)
		}
	}
}

// What differs from what was handed in is built again the next time: the source may have been the wrong one.
func TestKeptForgetsADifference(t *testing.T) {
	k, runs := Kept{Dir: t.TempDir()}, 0
	cfg := k.Wrap(gates.Config{Rebuild: func(context.Context, gates.Release) ([]string, error) { runs++; return []string{"other"}, nil }}, "")
	for range 2 {
		if _, err := cfg.Rebuild(t.Context(), releaseOf(strings.Repeat("1", 64))); err != nil {
			t.Fatal(err)
		}
	}
	if runs != 2 {
		t.Errorf("%d runs", runs)
	}
}
