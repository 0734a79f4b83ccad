package registrytest

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
)

// Index reads the registry's index and checks that the key of the snapshot signed it and that it describes the snapshot
// which the timestamp names.
func (r *Registry) Index(tb testing.TB) *registry.Index {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(r.Dir, registry.IndexPath))
	if err != nil {
		tb.Fatal(err)
	}
	key := r.KeyOf(tb, metadata.SNAPSHOT)
	x, err := registry.ParseIndex(data, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, 1)
	if err != nil {
		tb.Fatal(err)
	}
	ts := read(tb, metadata.Timestamp(), r.metadata("timestamp.json"))
	if want := ts.Signed.Meta["snapshot.json"].Version; x.Snapshot != want {
		tb.Fatalf("the index describes snapshot %d, the timestamp names %d", x.Snapshot, want)
	}
	return x
}

// SignIndex writes an index with the real key, whatever it says.
func (r *Registry) SignIndex(tb testing.TB, x *registry.Index) {
	tb.Helper()
	data, err := registry.EncodeIndex(x)
	if err == nil {
		data, err = registry.SealIndex(data, r.KeyOf(tb, metadata.SNAPSHOT))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(r.Dir, registry.IndexPath), data, 0o644)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// crowdIndex adds an entry for each author of Crowd.
func (r *Registry) crowdIndex(tb testing.TB, authors []string, keyID string, targets map[string]map[string]*metadata.TargetFiles) {
	tb.Helper()
	ts := read(tb, metadata.Timestamp(), r.metadata("timestamp.json"))
	x := &registry.Index{
		Schema: registry.IndexSchema, RootSHA256: r.RootSHA256(tb), Snapshot: ts.Signed.Meta["snapshot.json"].Version, Time: r.Now().UTC(),
	}
	for n, ns := range authors {
		p := registry.IndexPlugin{
			ID: ns + "/agent", Kind: "collector", Title: fmt.Sprintf("Agent %d", n), Summary: "It stands in for a plugin of the crowd.",
			License: "Apache-2.0", Via: registry.ViaClaimed, Tags: []string{"crowd", fmt.Sprintf("tag-%d", n%40)},
			Runtimes: []string{registry.RuntimeProcess}, Metrics: []string{fmt.Sprintf("crowd.metric_%d", n%100)},
		}
		for v := len(targets[ns]) - 1; v >= 0; v-- {
			version := fmt.Sprintf("1.%d.0", v)
			t := targets[ns][registry.TargetPath(p.ID, version)]
			p.Releases = append(p.Releases, registry.IndexRelease{
				Version: version, Descriptor: t.Hashes["sha256"].String(), Length: t.Length, Role: "ns-" + ns, KeyIDs: []string{keyID},
				Published: r.Now().UTC(), Channel: registry.ChannelStable,
			})
		}
		x.Plugins = append(x.Plugins, p)
	}
	r.SignIndex(tb, x)
}

// AuthorKeyID returns the id of the key that a namespace has now.
func (r *Registry) AuthorKeyID(tb testing.TB, ns string) string {
	tb.Helper()
	return r.roleKeys(tb, "ns-"+ns)[0]
}
