package registrytest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
)

// attack is something that somebody does to a registry, to the way to it or to a node, and how it ends.
type attack struct {
	name   string
	reason registry.Reason // of the refusal; "" when the attempt has no effect or is refused at the registry
	ends   string          // in words, when reason is empty
	run    func(t *testing.T, b *bench) error
}

// bench is a registry with a confirmed author, and a node that has seen it.
type bench struct {
	*Registry
	acme *Author
	base string
	dir  string
	now  func() time.Time
}

const agentID = "acme/agent"

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{Registry: New(t), dir: filepath.Join(t.TempDir(), "node")}
	b.now = b.Now
	b.Truth(t)
	b.acme = b.Claim(t, "acme")
	b.Confirm(t, "acme")
	b.Upload(t, b.acme, Plugin{ID: agentID})
	b.base = b.Serve(t)
	if err := b.node(t).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Seen = func(tb testing.TB) {
		tb.Helper()
		if err := b.node(tb).Refresh(t.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

func (b *bench) node(tb testing.TB, change ...func(*client.Config)) *client.Client {
	tb.Helper()
	cfg := client.Config{Dir: b.dir, Base: b.base, RootFile: b.RootFile(), AllowDevelopment: true, Now: b.now}
	for _, f := range change {
		f(&cfg)
	}
	c, err := client.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

func (b *bench) install(t *testing.T, id, version string, change ...func(*client.Config)) error {
	t.Helper()
	_, err := b.node(t, change...).Install(t.Context(), id, version, registry.RuntimeProcess)
	return err
}

// rawRoot offers a next root that is the present one with a text replaced.
func (b *bench) rawRoot(t *testing.T, old, replacement string) error {
	t.Helper()
	data, err := os.ReadFile(b.metadata("root.json"))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(data), old, replacement, 1)
	if changed == string(data) {
		t.Fatalf("root.json has no %s", old)
	}
	if err := os.WriteFile(b.metadata("2.root.json"), []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	return b.install(t, Victim, "")
}

// rawTimestamp serves a timestamp that was altered on the way.
func (b *bench) rawTimestamp(t *testing.T, change func([]byte) []byte) error {
	t.Helper()
	b.Lie(t, Lie{answer: alter("/metadata/timestamp.json", change)})
	return b.install(t, Victim, "")
}

func signedRoot(change func(*metadata.RootType)) func(*testing.T, *bench) error {
	return func(t *testing.T, b *bench) error {
		t.Helper()
		b.RotateRoot(t, change)
		return b.install(t, Victim, "")
	}
}

// delegating changes a role that delegates, with the true key of that role.
func delegating(role, id string, change func(tb testing.TB, d *metadata.Delegations)) func(*testing.T, *bench) error {
	return func(t *testing.T, b *bench) error {
		t.Helper()
		b.resign(t, role, func(s *metadata.TargetsType) { change(t, s.Delegations) })
		return b.install(t, id, "")
	}
}

func thiefKey(tb testing.TB) (*metadata.Key, string, ed25519.PrivateKey) {
	tb.Helper()
	private := NewKey(tb)
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return key, registry.KeyID(private.Public().(ed25519.PublicKey)), private
}

// claimFor signs a claim that may be wrong in any way.
func claimFor(t *testing.T, b *bench, ns string, change func(*registry.ClaimStatement)) *registry.Claim {
	t.Helper()
	key := NewKey(t)
	claim, err := publish.NewClaim(publish.ClaimRequest{RootSHA256: b.RootSHA256(t), Namespace: "placeholder", Contact: "me",
		Keys: []ed25519.PrivateKey{key}, Now: b.Now()})
	if err != nil {
		t.Fatal(err)
	}
	claim.Statement.Namespace = ns
	if change != nil {
		change(&claim.Statement)
	}
	payload, err := claim.Statement.Payload()
	if err != nil {
		t.Fatal(err)
	}
	claim.Signatures = []registry.Signature{registry.SignStatement(registry.StatementClaim, payload, key)}
	return claim
}

// admit hands a claim in as it would come over the network.
func admit(t *testing.T, b *bench, claim *registry.Claim) error {
	t.Helper()
	data, err := claim.Encode()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := registry.ParseClaim(data)
	if err != nil {
		return err
	}
	p, err := publish.Open(t.Context(), b.Dir, b.Keys, b.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Admit(parsed, false)
}

// name has somebody claim a namespace that would deceive. what must be in the reason.
func name(ns, what string) func(*testing.T, *bench) error {
	return func(t *testing.T, b *bench) error {
		t.Helper()
		err := admit(t, b, claimFor(t, b, ns, nil))
		if err != nil && !strings.Contains(err.Error(), what) {
			t.Errorf("the reason does not say %q: %v", what, err)
		}
		return err
	}
}

const atTheRegistry = "refused at the registry, with the reason"

func attacks() []attack {
	list := make([]attack, 0, 80)
	for _, lie := range Lies() {
		list = append(list, attack{name: lie.Name, reason: lie.Reason, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.Lie(t, lie)
			if lie.Reason == registry.Unreachable {
				return b.install(t, Victim, "", func(cfg *client.Config) { cfg.Timeout = 100 * time.Millisecond })
			}
			return b.install(t, Victim, "")
		}})
	}
	list = append(list, rootAttacks()...)
	list = append(list, jsonAttacks()...)
	list = append(list, delegationAttacks()...)
	list = append(list, thefts()...)
	list = append(list, nameAttacks()...)
	return append(list, nodeAttacks()...)
}

func rootAttacks() []attack {
	return []attack{
		{name: "a threshold of 0", reason: registry.BadMetadata, run: signedRoot(func(s *metadata.RootType) { s.Roles["timestamp"].Threshold = 0 })},
		{name: "a threshold below 0", reason: registry.BadMetadata, run: signedRoot(func(s *metadata.RootType) { s.Roles["root"].Threshold = -1 })},
		{name: "a threshold that no keys can meet", reason: registry.BadMetadata, run: signedRoot(func(s *metadata.RootType) { s.Roles["targets"].Threshold = 2 })},
		{name: "a key named twice to meet a threshold", reason: registry.BadMetadata, run: signedRoot(func(s *metadata.RootType) {
			r := s.Roles["targets"]
			r.KeyIDs, r.Threshold = append(r.KeyIDs, r.KeyIDs[0]), 2
		})},
		{name: "one key under two ids", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.RotateRoot(t, func(s *metadata.RootType) {
				twin := *s.Keys[s.Roles["targets"].KeyIDs[0]]
				twin.UnrecognizedFields = map[string]any{"comment": "a twin"}
				if err := s.AddKey(&twin, "targets"); err != nil {
					t.Fatal(err)
				}
			})
			return b.install(t, Victim, "")
		}},
		{name: "a key of another kind", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			return b.rawRoot(t, `"keytype":"ed25519"`, `"keytype":"ecdsa"`)
		}},
		{name: "a key that is too short", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			return b.rawRoot(t, `"public":"`, `"public":"00`)
		}},
		{name: "a signature that is too short", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			return b.rawRoot(t, `"sig":"`, `"sig":"00","x":"`)
		}},
		{name: "a role too many in the root", reason: registry.BadMetadata, run: signedRoot(func(s *metadata.RootType) {
			s.Roles["janitor"] = s.Roles["timestamp"]
		})},
		{name: "a root without consistent snapshots", reason: registry.BadMetadata, run: signedRoot(func(s *metadata.RootType) { s.ConsistentSnapshot = false })},
		{name: "a root with a mark that nobody knows", reason: registry.BadMetadata, run: signedRoot(func(s *metadata.RootType) {
			s.UnrecognizedFields = map[string]any{registry.TrustField: "complete"}
		})},
		{name: "a root that skips a version", reason: registry.BadSignature, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.RotateRoot(t, func(s *metadata.RootType) { s.Version = 7 })
			if err := os.Rename(b.metadata("7.root.json"), b.metadata("2.root.json")); err != nil {
				t.Fatal(err)
			}
			return b.install(t, Victim, "")
		}},
		{name: "a root that has expired", reason: registry.Expired, run: signedRoot(func(s *metadata.RootType) { s.Expires = s.Expires.AddDate(-20, 0, 0) })},
		{name: "a root of half a gigabyte", reason: registry.Oversized, run: func(t *testing.T, b *bench) error {
			t.Helper()
			if err := os.WriteFile(b.metadata("2.root.json"), bytes.Repeat([]byte(" "), 600<<10), 0o644); err != nil {
				t.Fatal(err)
			}
			return b.install(t, Victim, "")
		}},
		{name: "a newer root withheld by a mirror", reason: registry.Rollback, run: func(t *testing.T, b *bench) error {
			t.Helper()
			old := t.TempDir()
			if err := os.CopyFS(old, os.DirFS(b.Dir)); err != nil {
				t.Fatal(err)
			}
			b.Rotate(t, metadata.TARGETS)
			b.seen(t)
			b.serve(old)
			return b.install(t, Victim, "")
		}},
	}
}

func jsonAttacks() []attack {
	replace := func(old, replacement string) func([]byte) []byte {
		return func(data []byte) []byte { return bytes.Replace(data, []byte(old), []byte(replacement), 1) }
	}
	timestamp := func(change func([]byte) []byte) func(*testing.T, *bench) error {
		return func(t *testing.T, b *bench) error {
			t.Helper()
			return b.rawTimestamp(t, change)
		}
	}
	return []attack{
		{name: "a JSON member twice", reason: registry.BadMetadata, run: timestamp(replace(`"version":`, `"version":9,"version":`))},
		{name: "a JSON member twice, once in capitals", reason: registry.BadMetadata, run: timestamp(replace(`"version":`, `"VERSION":9,"version":`))},
		{name: "a JSON member in a letter that folds", reason: registry.BadMetadata, run: timestamp(replace(`"expires":`, "\"expire\u017f\":\"2099-01-01T00:00:00Z\",\"expires\":"))},
		{name: "JSON nested a thousand deep", reason: registry.BadMetadata, run: timestamp(replace(`"version":`, `"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`,"version":`))},
		{name: "a number that readers round differently", reason: registry.BadMetadata, run: timestamp(replace(`"version":`, `"x":9007199254740993,"version":`))},
		{name: "a number with an exponent", reason: registry.BadMetadata, run: timestamp(replace(`"version":`, `"x":1e400,"version":`))},
		{name: "text after the end of the JSON", reason: registry.BadMetadata, run: timestamp(func(b []byte) []byte { return append(b, "{}"...) })},
		{name: "null where an object should be", reason: registry.BadMetadata, run: timestamp(func([]byte) []byte { return []byte(`{"signed":null,"signatures":null}`) })},
		{name: "nothing but null", reason: registry.BadMetadata, run: timestamp(func([]byte) []byte { return []byte(`null`) })},
		{name: "bytes that are not UTF-8", reason: registry.BadMetadata, run: timestamp(func(b []byte) []byte { return bytes.Replace(b, []byte("timestamp"), []byte("time\xffstamp"), 1) })},
		{name: "a third member at the top", reason: registry.BadMetadata, run: timestamp(replace(`{"signatures"`, `{"extra":1,"signatures"`))},
		{name: "one signature counted twice", reason: registry.BadMetadata, run: timestamp(func(b []byte) []byte {
			var doc struct {
				Signatures []json.RawMessage `json:"signatures"`
				Signed     json.RawMessage   `json:"signed"`
			}
			if json.Unmarshal(b, &doc) != nil {
				return b
			}
			doc.Signatures = append(doc.Signatures, doc.Signatures[0])
			out, _ := json.Marshal(doc)
			return out
		})},
		{name: "a snapshot in the place of the timestamp", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			other, err := os.ReadFile(b.newest(t, "snapshot"))
			if err != nil {
				t.Fatal(err)
			}
			return b.rawTimestamp(t, func([]byte) []byte { return other })
		}},
	}
}

func delegationAttacks() []attack {
	return []attack{
		{name: "a delegation cycle through targets", reason: registry.BadMetadata, run: delegating("claimed", agentID, func(_ testing.TB, d *metadata.Delegations) {
			d.Roles = append(d.Roles, metadata.DelegatedRole{Name: "targets", KeyIDs: d.Roles[0].KeyIDs, Threshold: 1, Paths: []string{"plugins/*/*/*/*"}})
		})},
		{name: "a delegation cycle through itself", reason: registry.BadMetadata, run: delegating("claimed", agentID, func(_ testing.TB, d *metadata.Delegations) {
			d.Roles = append(d.Roles, metadata.DelegatedRole{Name: "claimed", KeyIDs: d.Roles[0].KeyIDs, Threshold: 1, Paths: []string{"plugins/*/*/*/*"}})
		})},
		{name: "an author that delegates on", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.authorSigns(t, func(s *metadata.TargetsType) {
				key, id, _ := thiefKey(t)
				s.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{id: key},
					Roles: []metadata.DelegatedRole{{Name: "ns-zebra", KeyIDs: []string{id}, Threshold: 1, Paths: []string{"plugins/zebra/*/*/*"}, Terminating: true}}}
			})
			return b.install(t, agentID, "")
		}},
		{name: "an author in somebody else's namespace", reason: registry.NotVouched, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.authorSigns(t, func(s *metadata.TargetsType) {
				path := registry.TargetPath("zebra/agent", "1.0.0")
				s.Targets[path] = b.putTarget(t, path, encodeDescriptor(t, "zebra/agent", "1.0.0"))
			})
			return b.install(t, "zebra/agent", "")
		}},
		{name: "an author who vouches for one of the project's plugins", reason: registry.NotVouched, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.authorSigns(t, func(s *metadata.TargetsType) {
				path := registry.TargetPath(Victim, "9.0.0")
				s.Targets[path] = b.putTarget(t, path, encodeDescriptor(t, Victim, "9.0.0"))
			})
			return b.install(t, Victim, "9.0.0")
		}},
		{name: "the official role in an author's namespace", reason: registry.WrongNamespace, run: func(t *testing.T, b *bench) error {
			t.Helper()
			path := registry.TargetPath(agentID, "9.0.0")
			b.resign(t, "official", func(s *metadata.TargetsType) {
				s.Targets[path] = b.putTarget(t, path, encodeDescriptor(t, agentID, "9.0.0"))
			})
			return b.install(t, agentID, "9.0.0")
		}},
		{name: "delegation by the hash of paths", reason: registry.BadMetadata, run: delegating("claimed", agentID, func(_ testing.TB, d *metadata.Delegations) {
			d.Roles[0].Paths, d.Roles[0].PathHashPrefixes = nil, []string{"00"}
		})},
		{name: "a namespace that also speaks for others", reason: registry.BadMetadata, run: delegating("claimed", agentID, func(_ testing.TB, d *metadata.Delegations) {
			d.Roles[0].Paths = append(d.Roles[0].Paths, "plugins/*/*/*/*")
		})},
		{name: "revocations not asked for first", reason: registry.BadMetadata, run: delegating("targets", Victim, func(_ testing.TB, d *metadata.Delegations) {
			slices.Reverse(d.Roles)
		})},
		{name: "a snapshot that leaves a role out", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.resignSnapshot(t, func(s *metadata.SnapshotType) { delete(s.Meta, "claimed.json") })
			return b.install(t, Victim, "")
		}},
		{name: "a snapshot that puts a role back", reason: registry.Rollback, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.Publish(t, Plugin{ID: Victim, Version: "2.0.0"})
			b.seen(t)
			b.resignSnapshot(t, func(s *metadata.SnapshotType) { s.Meta["official.json"].Version-- })
			return b.install(t, Victim, "")
		}},
		{name: "a snapshot without hashes", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.resignSnapshot(t, func(s *metadata.SnapshotType) { s.Meta["official.json"].Hashes = nil })
			return b.install(t, Victim, "")
		}},
		{name: "a snapshot that announces gigabytes", reason: registry.BadMetadata, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.resignSnapshot(t, func(s *metadata.SnapshotType) { s.Meta["official.json"].Length = 4 << 30 })
			return b.install(t, Victim, "")
		}},
		{name: "an old file of an author under a new snapshot", reason: registry.MixAndMatch, run: func(t *testing.T, b *bench) error {
			t.Helper()
			old, err := os.ReadFile(b.newest(t, "ns-acme"))
			if err != nil {
				t.Fatal(err)
			}
			b.Upload(t, b.acme, Plugin{ID: agentID, Version: "2.0.0"})
			if err := os.WriteFile(b.newest(t, "ns-acme"), old, 0o644); err != nil {
				t.Fatal(err)
			}
			return b.install(t, agentID, "")
		}},
	}
}

// authorSigns has the author sign a file that the registry would not take, and the registry's server publish it.
func (b *bench) authorSigns(t *testing.T, change func(*metadata.TargetsType)) {
	t.Helper()
	m := read(t, metadata.Targets(), b.newest(t, "ns-acme"))
	m.Signed.Version++
	change(&m.Signed)
	m.ClearSignatures()
	signWith(t, m, b.acme.Key)
	file := write(t, m, b.metadata(fmt.Sprintf("%d.ns-acme.json", m.Signed.Version)))
	b.resignSnapshot(t, func(s *metadata.SnapshotType) { s.Meta["ns-acme.json"] = metaFile(m.Signed.Version, file) })
}

func thefts() []attack {
	allow := func(cfg *client.Config) { cfg.AllowRecent = true }
	// squat has a thief of the online keys put a namespace under recent.
	squat := func(t *testing.T, b *bench, ns string) {
		t.Helper()
		key, id, private := thiefKey(t)
		b.resign(t, "recent", func(s *metadata.TargetsType) {
			s.Delegations.Keys[id] = key
			s.Delegations.Roles = append(s.Delegations.Roles, metadata.DelegatedRole{Name: "ns-" + ns, KeyIDs: []string{id}, Threshold: 1,
				Paths: []string{"plugins/" + ns + "/*/*/*"}, Terminating: true})
		})
		m := metadata.Targets(b.Now().AddDate(1, 0, 0))
		m.Signed.Version = 9
		path := registry.TargetPath(ns+"/agent", "66.6.6")
		m.Signed.Targets[path] = b.putTarget(t, path, encodeDescriptor(t, ns+"/agent", "66.6.6"))
		signWith(t, m, private)
		file := write(t, m, b.metadata("9.ns-"+ns+".json"))
		if ns != "acme" {
			b.resignSnapshot(t, func(s *metadata.SnapshotType) { s.Meta["ns-"+ns+".json"] = metaFile(9, file) })
		}
	}
	list := []attack{
		{name: "stolen online keys: a namespace of the thief's", reason: registry.RecentOnly, run: func(t *testing.T, b *bench) error {
			t.Helper()
			squat(t, b, "thief")
			return b.install(t, "thief/agent", "")
		}},
		{name: "stolen online keys: a namespace that maintainers confirmed", reason: registry.NotVouched, run: func(t *testing.T, b *bench) error {
			t.Helper()
			squat(t, b, "acme")
			if err := b.install(t, agentID, "1.0.0", allow); err != nil {
				t.Errorf("the true release: %v", err)
			}
			return b.install(t, agentID, "66.6.6", allow)
		}},
		{name: "stolen online keys: an empty list of revocations", reason: registry.BadSignature, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.publishList(t, &registry.Revocations{Schema: registry.RevocationsSchema, Revoked: []registry.Revocation{}}, false)
			return b.install(t, Victim, "")
		}},
		{name: "stolen online keys: everything revoked", reason: registry.BadSignature, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.publishList(t, &registry.Revocations{Schema: registry.RevocationsSchema, Revoked: []registry.Revocation{
				{Plugin: "picket/*", Versions: "*", Reason: "A thief says so.", Time: b.Now()}}}, false)
			err := b.install(t, Victim, "")
			if _, openErr := b.node(t).OpenVerified(t.Context(), Other, registry.RuntimeProcess); openErr == nil || strings.Contains(openErr.Error(), "thief") {
				t.Errorf("the node believed the list: %v", openErr)
			}
			return err
		}},
		{name: "stolen online keys: versions far ahead", reason: registry.Rollback, run: func(t *testing.T, b *bench) error {
			t.Helper()
			thief := b.Thief(t, b.KeyOf(t, "timestamp"))
			thief.FastForward(t)
			b.serve(thief.Dir)
			b.seen(t)
			b.serve(b.Dir)
			err := b.install(t, Victim, "")
			b.Rotate(t, "timestamp") // and this is the way out
			if err := b.install(t, Victim, ""); err != nil {
				t.Errorf("after the key was replaced: %v", err)
			}
			return err
		}},
		{name: "a revocation taken back with the revokers' keys", reason: registry.Revoked, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.Revoke(t, Victim, "*", "It phones home.")
			b.seen(t)
			b.Unrevoke(t)
			return b.install(t, Victim, "")
		}},
		{name: "a stolen author's key, then revoked", reason: registry.Revoked, run: func(t *testing.T, b *bench) error {
			t.Helper()
			stolen, moment := registry.KeyID(b.acme.Key.Public().(ed25519.PublicKey)), b.Now()
			b.Advance(time.Hour)
			b.Upload(t, b.acme, Plugin{ID: agentID, Version: "6.6.6"})
			if err := b.install(t, agentID, ""); err != nil {
				t.Fatal(err)
			}
			b.Change(t, func(p *publish.Publisher) error {
				rev, _, _, err := p.StolenKey("acme", []string{stolen}, moment, "Its key was stolen.")
				if err != nil {
					return err
				}
				return p.Revoke(rev)
			})
			c := b.node(t)
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.OpenVerified(t.Context(), agentID, registry.RuntimeProcess); err == nil {
				t.Error("what the thief signed starts")
			}
			if err := b.install(t, agentID, "1.0.0"); err != nil {
				t.Errorf("the release of before the theft: %v", err)
			}
			return b.install(t, agentID, "6.6.6")
		}},
	}
	for _, role := range []string{"timestamp", "snapshot", "targets", "official", "claimed", "root"} {
		list = append(list, attack{name: "a stolen key of " + role + ", replaced since", reason: registry.BadSignature, run: func(t *testing.T, b *bench) error {
			t.Helper()
			stolen := b.KeyOf(t, role)
			b.Rotate(t, role)
			thief := b.Thief(t, stolen)
			thief.Strike(t, role)
			b.serve(thief.Dir)
			if role == "claimed" {
				return b.install(t, agentID, "")
			}
			return b.install(t, Victim, map[bool]string{true: "66.6.6"}[role == "official"])
		}})
	}
	return list
}

func nameAttacks() []attack {
	list := []attack{
		{name: "a claim without the key", ends: atTheRegistry, run: func(t *testing.T, b *bench) error {
			t.Helper()
			claim := claimFor(t, b, "zebra", nil)
			claim.Statement.Keys[0] = strings.Repeat("ab", 32)
			return admit(t, b, claim)
		}},
		{name: "a claim made for another registry", ends: atTheRegistry, run: func(t *testing.T, b *bench) error {
			t.Helper()
			return admit(t, b, claimFor(t, b, "zebra", func(s *registry.ClaimStatement) { s.RootSHA256 = strings.Repeat("0", 64) }))
		}},
		{name: "a claim on a namespace that is taken", ends: atTheRegistry, run: name("acme", "taken")},
		{name: "a change of keys that the owner did not sign", ends: atTheRegistry, run: func(t *testing.T, b *bench) error {
			t.Helper()
			old := registry.KeyID(b.acme.Key.Public().(ed25519.PublicKey))
			return admit(t, b, claimFor(t, b, "acme", func(s *registry.ClaimStatement) { s.Replaces = []string{old} }))
		}},
		{name: "an upload that somebody else signed", ends: atTheRegistry, run: func(t *testing.T, b *bench) error {
			t.Helper()
			p, err := publish.Open(t.Context(), b.Dir, b.Keys, b.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			current, _, err := p.NamespaceFile("acme")
			if err != nil {
				t.Fatal(err)
			}
			up, err := publish.SignUpload("acme", current, []ed25519.PrivateKey{NewKey(t)}, b.Now(), Plugin{ID: agentID, Version: "2.0.0"}.Submission(t))
			if err != nil {
				t.Fatal(err)
			}
			return p.Accept(t.Context(), up)
		}},
		{name: "an upload that changes a release", ends: atTheRegistry, run: func(t *testing.T, b *bench) error {
			t.Helper()
			p, err := publish.Open(t.Context(), b.Dir, b.Keys, b.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			current, _, err := p.NamespaceFile("acme")
			if err != nil {
				t.Fatal(err)
			}
			up, err := publish.SignUpload("acme", current, []ed25519.PrivateKey{b.acme.Key}, b.Now(), Plugin{ID: agentID, Process: []byte("other")}.Submission(t))
			if err != nil {
				t.Fatal(err)
			}
			return p.Accept(t.Context(), up)
		}},
	}
	for _, n := range []struct{ title, ns, why string }{
		{"in capitals", "Zebra", "capitals"}, {"in another alphabet", "z\u0435bra", "look like"}, {"in punycode", "xn--zebra-x", "punycode"},
		{"with a dot in front", ".zebra", "dot"}, {"with a dot behind", "zebra.", "dot"}, {"with a dash behind", "zebra-", "dash"},
		{"with two dashes", "ze--bra", "dash"}, {"with an underscore", "ze_bra", "not allowed"}, {"that is too short", "z", "length"},
		{"of the project", "picket", "reserved"}, {"near the project's", "pickett", "project"}, {"with the project's in it", "zebra-picket", "project"},
		{"with a digit for a letter", "p1cket", "project"}, {"one letter off another", "acne", "acme"}, {"with two letters for one", "acrne", "acme"},
		{"with letters swapped", "amce", "acme"}, {"with a dash added", "ac-me", "acme"}, {"of a plugin of the project", "victim", "plugin"},
		{"of a role", "timestamp", "reserved"}, {"that the client asks for itself", "probe", "reserved"},
	} {
		list = append(list, attack{name: "a name " + n.title, ends: atTheRegistry, run: name(n.ns, n.why)})
	}
	return list
}

func nodeAttacks() []attack {
	return []attack{
		{name: "the artifact swapped between check and start", ends: "the bytes that were checked are those that run", run: func(t *testing.T, b *bench) error {
			t.Helper()
			c := b.node(t)
			in, err := c.Install(t.Context(), Victim, "", registry.RuntimeProcess)
			if err != nil {
				t.Fatal(err)
			}
			a, err := c.OpenVerified(t.Context(), Victim, registry.RuntimeProcess)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			path := filepath.Join(b.dir, "store", "sha256", in.Artifacts[0].SHA256)
			if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("a back door"), 0o600)); err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(a.File)
			if err != nil {
				t.Fatal(err)
			}
			if registry.Digest(data) != a.Digest {
				t.Error("the open artifact changed under the caller")
			}
			_, err = c.OpenVerified(t.Context(), Victim, registry.RuntimeProcess)
			return err
		}},
		{name: "the clock set back to when an old state was fresh", reason: registry.Expired, run: func(t *testing.T, b *bench) error {
			t.Helper()
			past := b.Now()
			b.Advance(6 * 24 * time.Hour)
			b.Renew(t)
			b.seen(t)
			b.now = func() time.Time { return past }
			b.resignSnapshot(t, func(s *metadata.SnapshotType) { s.Expires = past.Add(time.Hour) })
			return b.install(t, Victim, "")
		}},
		{name: "the clock set back and an older state served", reason: registry.Rollback, run: func(t *testing.T, b *bench) error {
			t.Helper()
			past := b.Now()
			rollBack(t, b.Registry)
			b.now = func() time.Time { return past.Add(-24 * time.Hour) }
			return b.install(t, Victim, "")
		}},
		{name: "a public registry in the place of the private one", reason: registry.RootMismatch, run: func(t *testing.T, b *bench) error {
			t.Helper()
			public := New(t)
			squatter := public.Claim(t, "acme")
			public.Confirm(t, "acme")
			public.Upload(t, squatter, Plugin{ID: agentID, Version: "99.0.0"})
			b.serve(public.Dir)
			return b.install(t, agentID, "")
		}},
		{name: "a development root slipped under a node", reason: registry.DevelopmentRoot, run: func(t *testing.T, b *bench) error {
			t.Helper()
			_, err := client.Open(client.Config{Dir: b.dir, Base: b.base, Release: true, Now: b.Now})
			return err
		}},
		{name: "another program's bytes of the same length", reason: registry.DigestMismatch, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.Lie(t, Lie{answer: alter("/store/sha256/", func(data []byte) []byte { return bytes.Repeat([]byte("x"), len(data)) })})
			return b.install(t, Victim, "")
		}},
		{name: "a release that its author yanked", reason: registry.Yanked, run: func(t *testing.T, b *bench) error {
			t.Helper()
			b.Change(t, func(p *publish.Publisher) error { return p.Yank(Victim, "1.0.0", "It does not work.") })
			return b.install(t, Victim, "")
		}},
		{name: "a redirect from https to http", reason: registry.Unreachable, run: func(t *testing.T, b *bench) error {
			t.Helper()
			return b.redirected(t)
		}},
	}
}

// redirected asks over https for what is redirected to plain http, with the client's own rule about that.
func (b *bench) redirected(t *testing.T) error {
	t.Helper()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, b.base+req.URL.Path, http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	return b.install(t, Victim, "", func(cfg *client.Config) {
		cfg.Base, cfg.HTTP = secure.URL, secure.Client()
	})
}

// Each attack is made on a registry of its own with a node that has seen it, and ends as it must.
func TestAttacks(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range attacks() {
		if seen[a.name] {
			t.Fatalf("two attacks are called %q", a.name)
		}
		seen[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			err := a.run(t, newBench(t))
			if err == nil {
				t.Fatal("it succeeded")
			}
			t.Log(err)
			var no *registry.Refusal
			if a.reason != "" && (!errors.As(err, &no) || no.Reason != a.reason) {
				t.Errorf("ended with %v, want a refusal for %s", err, a.reason)
			}
		})
	}
	if len(seen) < 40 {
		t.Errorf("only %d attacks", len(seen))
	}
}

// What a node may do after each of the attacks that only recent namespaces can make: install, if its owner allows it.
func TestRecentIsAllowedByPolicy(t *testing.T) {
	b := newBench(t)
	author := b.Claim(t, "zebra")
	b.Upload(t, author, Plugin{ID: "zebra/agent"})
	var no *registry.Refusal
	if err := b.install(t, "zebra/agent", ""); !errors.As(err, &no) || no.Reason != registry.RecentOnly {
		t.Fatalf("by default: %v", err)
	}
	allow := func(cfg *client.Config) { cfg.AllowRecent = true }
	if err := b.install(t, "zebra/agent", "", allow); err != nil {
		t.Fatal(err)
	}
	if _, err := b.node(t).OpenVerified(t.Context(), "zebra/agent", registry.RuntimeProcess); !errors.As(err, &no) || no.Reason != registry.RecentOnly {
		t.Errorf("after the owner changed the policy back it starts: %v", err)
	}
	b.Confirm(t, "zebra")
	if err := b.install(t, "zebra/agent", ""); err != nil {
		t.Fatalf("confirmed: %v", err)
	}
	a, err := b.node(t).OpenVerified(t.Context(), "zebra/agent", registry.RuntimeProcess)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	if via := a.Locked.Via; via != registry.ViaClaimed {
		t.Errorf("vouched for by way of %s", via)
	}
}
