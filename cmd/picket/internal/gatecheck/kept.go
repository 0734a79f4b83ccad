package gatecheck

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/picketwatch/picket/cmd/picket/internal/labelled"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
)

// Kept is a folder with what was found out about releases of one's own, so that the same bytes are not looked at twice:
// a test run takes seconds, building again minutes. An answer is believed for the release that it names, manifest, plan
// and every artifact, and for no other.
type Kept struct {
	Dir string
	// Given is a digest of what else goes into the test run of a release, such as its author's cases.
	Given func(gates.Release) string
}

// maxKept bounds a file of the folder.
const maxKept = 8 << 20

// errNotKept says why a gate without means of its own finds nothing here.
var errNotKept = errors.New("it was not done here, and nothing is kept of these same bytes; publish with --test runs it")

// answer is a file of the folder.
type answer struct {
	Gate    string          `json:"gate"`
	Subject string          `json:"subject"`
	Plugin  string          `json:"plugin"` // for people
	Given   string          `json:"given,omitempty"`
	Found   json.RawMessage `json:"found"`
}

// subject names a release by all that its gates look at, the models that it is run with too.
func subject(r gates.Release) (string, error) {
	models := map[string]string{}
	for id, path := range r.Models {
		if path == "" {
			continue
		}
		digest, err := labelled.FileDigest(path)
		if err != nil {
			return "", err
		}
		models[id] = digest
	}
	data, err := json.Marshal(struct {
		Manifest  registry.Manifest
		Artifacts []registry.Artifact
		Plan      []byte
		Models    map[string]string
	}{r.Descriptor.Manifest, r.Descriptor.Artifacts, r.Plan, models})
	return registry.Digest(data), err
}

func (k Kept) path(gate, subject string) string {
	return filepath.Join(k.Dir, gate+"-"+subject+".json")
}

// load reads what is kept for a gate. given is what else must have gone in, "" when anything may have.
func (k Kept) load(gate string, r gates.Release, given string, into any) bool {
	id, err := subject(r)
	if err != nil {
		return false
	}
	f, err := os.Open(k.path(gate, id))
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKept+1))
	var a answer
	if err != nil || len(data) > maxKept || json.Unmarshal(data, &a) != nil {
		return false
	}
	return a.Gate == gate && a.Subject == id && (given == "" || a.Given == given) && json.Unmarshal(a.Found, into) == nil
}

// save keeps an answer. It is written aside first: half a file would only be one that is not believed, but a whole one
// was there before.
func (k Kept) save(gate string, r gates.Release, given string, found any) error {
	id, err := subject(r)
	if err != nil {
		return err
	}
	data, err := json.Marshal(found)
	if err != nil {
		return err
	}
	m := r.Descriptor.Manifest
	if data, err = json.Marshal(answer{gate, id, m.ID + " " + m.Version, given, data}); err != nil {
		return err
	}
	if err := os.MkdirAll(k.Dir, 0o755); err != nil {
		return err
	}
	aside := k.path(gate, id) + ".new"
	if err := os.WriteFile(aside, data, 0o644); err != nil {
		os.Remove(aside)
		return err
	}
	return os.Rename(aside, k.path(gate, id))
}

// Wrap has gates look here first, and keep here what they find out. A gate without means lives on what is kept.
func (k Kept) Wrap(cfg gates.Config, captures string) gates.Config {
	test, rebuild, judge := cfg.Test, cfg.Rebuild, cfg.Judge
	cfg.Test = func(ctx context.Context, r gates.Release) ([]byte, error) {
		return kept(ctx, k, registry.GateConformance, r, k.Given(r), reportOf(test), nil)
	}
	cfg.Rebuild = func(ctx context.Context, r gates.Release) ([]string, error) {
		return kept(ctx, k, registry.GateRebuild, r, "", run[[]string](rebuild), func(digests []string) bool {
			other := func(a registry.Artifact) bool { return !slices.Contains(digests, a.SHA256) }
			return !slices.ContainsFunc(r.Descriptor.Artifacts, other) // what differs is looked at again
		})
	}
	cfg.Judge = func(ctx context.Context, r gates.Release) (gates.Judgement, error) {
		return kept(ctx, k, registry.GateQuality, r, captures, run[gates.Judgement](judge), nil)
	}
	return cfg
}

// reportOf has a report kept as the JSON that it is.
func reportOf(test gates.Tester) run[json.RawMessage] {
	if test == nil {
		return nil
	}
	return func(ctx context.Context, r gates.Release) (json.RawMessage, error) { return test(ctx, r) }
}

// run is a gate's own way to find out, nil without one.
type run[T any] func(context.Context, gates.Release) (T, error)

func kept[T any](ctx context.Context, k Kept, gate string, r gates.Release, given string, find run[T], worth func(T) bool) (T, error) {
	var found T
	if k.load(gate, r, given, &found) {
		return found, nil
	}
	if find == nil {
		return found, errNotKept
	}
	found, err := find(ctx, r)
	if err == nil && (worth == nil || worth(found)) {
		err = k.save(gate, r, given, found)
	}
	return found, err
}
