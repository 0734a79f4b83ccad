package core

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Files that an author sends stand for the models that his plugin requires, and for no others.
func TestModelsOfABuild(t *testing.T) {
	words, table := []byte("the words"), []byte("a table")
	d := &registry.Descriptor{Manifest: registry.Manifest{ID: "acme/odd", Kind: sdk.KindDetector,
		Requires: []registry.Requirement{{Plugin: "acme/words", Version: "^1"}, {Plugin: "acme/table", Version: "^1"}}}}
	offer := func(id string, data []byte) adminsock.TrialModel {
		return adminsock.TrialModel{ID: id, SHA256: registry.Digest(data), Size: int64(len(data))}
	}
	huge := offer("acme/words", words)
	huge.Size = 10 << 30
	for name, c := range map[string]struct {
		offers []adminsock.TrialModel
		body   string
		want   string
	}{
		"not required": {[]adminsock.TrialModel{offer("acme/other", words)}, "the words", "does not require"},
		"other bytes":  {[]adminsock.TrialModel{offer("acme/words", words)}, "the lords", "SHA-256"},
		"too few":      {[]adminsock.TrialModel{offer("acme/words", words)}, "the", "SHA-256"},
		"twice":        {[]adminsock.TrialModel{offer("acme/words", words), offer("acme/words", words)}, "the wordsthe words", "twice"},
		"10 GiB":       {[]adminsock.TrialModel{huge}, "the words", "is taken"},
		"no digest":    {[]adminsock.TrialModel{{ID: "acme/words", Size: 9}}, "the words", "is taken"},
	} {
		if got, err := receiveModels(d, c.offers, strings.NewReader(c.body)); err == nil || !strings.Contains(err.Error(), c.want) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	models, err := receiveModels(d, []adminsock.TrialModel{offer("acme/words", words), offer("acme/table", table)}, bytes.NewReader(append(words, table...)))
	if err != nil {
		t.Fatal(err)
	}
	x := build{descriptor: d, models: models}
	defer x.close()
	b := newBench(&Core{}, noRegistry{})
	b.trials["acme/odd"] = &trial{builds: []build{x}}
	in, err := b.Required(t.Context(), d.Manifest.Requires[1], nil)
	if err != nil || !strings.HasPrefix(in.Version, "0.0.0-dev.") || in.Role != adminsock.UnsignedRole {
		t.Fatalf("%+v, %v", in, err)
	}
	for range 2 { // each has its own place in it
		a, err := b.OpenRelease(t.Context(), "acme/table", in.Version, registry.RuntimeFile)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if got, err := io.ReadAll(a.File); err != nil || !bytes.Equal(got, table) {
			t.Errorf("it reads %q, %v", got, err)
		}
	}
	var no *registry.Refusal
	if _, err := b.Required(t.Context(), registry.Requirement{Plugin: "acme/other", Version: "^1"}, nil); !errors.As(err, &no) || no.Reason != registry.NotInstalled {
		t.Errorf("what nobody sent: %v", err)
	}
	if _, err := b.OpenRelease(t.Context(), "acme/table", "1.0.0", registry.RuntimeFile); err == nil {
		t.Error("another version than what was sent is opened")
	}
}
