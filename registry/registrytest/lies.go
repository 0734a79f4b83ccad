package registrytest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
)

// Lie is one way in which a registry, or whoever sits before it, deceives.
type Lie struct {
	Name   string
	Reason registry.Reason // for which a node must refuse to install Victim
	// Tell makes the registry tell the lie. It is called after Truth published Victim and the node refreshed once.
	Tell func(tb testing.TB, r *Registry)
	// answer replaces what the server would say; nil for lies that lie in the files.
	answer func(w http.ResponseWriter, req *http.Request, truth []byte) bool
}

// The plugins that Truth publishes. Lies are about Victim.
const (
	Victim = "picket/victim"
	Other  = "picket/other"
)

// Truth publishes the plugins that the lies are about.
func (r *Registry) Truth(tb testing.TB) {
	tb.Helper()
	r.Publish(tb, Plugin{ID: Victim, Process: bytes.Repeat([]byte("victim "), 4096)}, Plugin{ID: Other})
}

// Lies returns every lie.
func Lies() []Lie {
	return []Lie{
		{Name: "one byte of an artifact flipped", Reason: registry.DigestMismatch,
			answer: alter("/store/sha256/", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })},
		{Name: "an artifact cut short", Reason: registry.DigestMismatch,
			answer: alter("/store/sha256/", func(b []byte) []byte { return b[:len(b)-1] })},
		{Name: "an artifact with bytes appended", Reason: registry.Oversized,
			answer: alter("/store/sha256/", func(b []byte) []byte { return append(b, "and more"...) })},
		{Name: "an artifact that is gone", Reason: registry.DigestMismatch, answer: missing("/store/sha256/")},
		{Name: "one byte of a descriptor flipped", Reason: registry.DescriptorMismatch,
			answer: alter("release.json", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })},
		{Name: "another plugin's descriptor served", Reason: registry.DescriptorMismatch, answer: swapDescriptor},
		{Name: "another plugin's descriptor signed under this name", Reason: registry.DescriptorMismatch, Tell: signSwappedDescriptor},
		{Name: "a descriptor that does not parse, signed", Reason: registry.DescriptorMismatch, Tell: signBrokenDescriptor},
		{Name: "an older state", Reason: registry.Rollback, Tell: rollBack},
		{Name: "the same state for ever", Reason: registry.Expired, Tell: freeze},
		{Name: "a registry on another root", Reason: registry.RootMismatch, Tell: otherRoot},
		{Name: "a timestamp signed by somebody else", Reason: registry.BadSignature, Tell: foreignTimestamp},
		{Name: "a root signed by its successor's keys alone", Reason: registry.BadSignature, Tell: usurpedRoot},
		{Name: "an old role file under a new snapshot", Reason: registry.MixAndMatch, Tell: mixAndMatch},
		{Name: "a date changed in a role file", Reason: registry.MixAndMatch, Tell: publishMore,
			answer: alter(".official.json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"2026-`), []byte(`"2096-`), 1) })},
		{Name: "a revocation list that was cut out", Reason: registry.DescriptorMismatch, answer: missing("revocations.json")},
		{Name: "an endless timestamp", Reason: registry.Oversized,
			answer: alter("/metadata/timestamp.json", func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), 1<<20)...) })},
		{Name: "an answer that never ends", Reason: registry.Unreachable, answer: drip},
		{Name: "an error page for everything", Reason: registry.BadMetadata, answer: errorPage},
		{Name: "a server error", Reason: registry.Unreachable, answer: serverError},
		{Name: "a key list with a null in it", Reason: registry.BadMetadata, Tell: nullKey},
		{Name: "a revoked plugin", Reason: registry.Revoked, Tell: func(tb testing.TB, r *Registry) {
			tb.Helper()
			r.Revoke(tb, Victim, "<=1.0.0", "It phones home.")
		}},
	}
}

// ForeignNamespace has the official role vouch for another namespace's plugin, whose id it returns.
func (r *Registry) ForeignNamespace(tb testing.TB) string {
	tb.Helper()
	const id = "acme/stolen"
	data := encodeDescriptor(tb, id, "1.0.0")
	r.resign(tb, "official", func(s *metadata.TargetsType) {
		s.Targets[registry.TargetPath(id, "1.0.0")] = r.putTarget(tb, registry.TargetPath(id, "1.0.0"), data)
	})
	return id
}

// Lie makes the registry tell one of the lies from now on.
func (r *Registry) Lie(tb testing.TB, l Lie) {
	tb.Helper()
	if l.Tell != nil {
		l.Tell(tb, r)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lie = l
}

// ServeHTTP serves the files, or what the current lie makes of them.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	lie, dir := r.lie, r.serving
	r.mu.Unlock()
	truth, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path.Clean("/"+req.URL.Path))))
	if lie.answer != nil && lie.answer(w, req, truth) {
		return
	}
	if err != nil {
		http.NotFound(w, req)
		return
	}
	_, _ = w.Write(truth) // a client that hangs up is part of the game
}

func (r *Registry) serve(dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serving = dir
}

type answer = func(w http.ResponseWriter, req *http.Request, truth []byte) bool

func alter(part string, change func([]byte) []byte) answer {
	return func(w http.ResponseWriter, req *http.Request, truth []byte) bool {
		if !strings.Contains(req.URL.Path, part) || len(truth) == 0 {
			return false
		}
		_, _ = w.Write(change(truth))
		return true
	}
}

func missing(part string) answer {
	return func(w http.ResponseWriter, req *http.Request, _ []byte) bool {
		if !strings.Contains(req.URL.Path, part) {
			return false
		}
		http.NotFound(w, req)
		return true
	}
}

// swapDescriptor answers every request for a release with a descriptor that is well formed and signed, elsewhere.
func swapDescriptor(w http.ResponseWriter, req *http.Request, truth []byte) bool {
	if !strings.Contains(req.URL.Path, Victim) || len(truth) == 0 {
		return false
	}
	_, _ = w.Write(bytes.ReplaceAll(truth, []byte(Victim), []byte(Other)))
	return true
}

// drip keeps the connection busy until the client gives up.
func drip(w http.ResponseWriter, req *http.Request, _ []byte) bool {
	for {
		select {
		case <-req.Context().Done():
			return true
		case <-time.After(5 * time.Millisecond):
			fmt.Fprint(w, " ")
			http.NewResponseController(w).Flush()
		}
	}
}

func errorPage(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
	fmt.Fprint(w, "<!doctype html><title>Welcome</title>")
	return true
}

func serverError(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
	http.Error(w, "out of order", http.StatusBadGateway)
	return true
}

// publishMore makes nodes fetch the role files again.
func publishMore(tb testing.TB, r *Registry) {
	tb.Helper()
	r.Publish(tb, Plugin{ID: Victim, Version: "2.0.0"})
}

// nullKey offers a next root that would crash a careless reader.
func nullKey(tb testing.TB, r *Registry) {
	tb.Helper()
	root, err := os.ReadFile(r.metadata("root.json"))
	if err != nil {
		tb.Fatal(err)
	}
	root = bytes.Replace(root, []byte(`"keys":{`), []byte(`"keys":{"00":null,`), 1)
	if err := os.WriteFile(r.metadata("2.root.json"), root, 0o644); err != nil {
		tb.Fatal(err)
	}
}

func rollBack(tb testing.TB, r *Registry) {
	tb.Helper()
	old := tb.TempDir()
	if err := os.CopyFS(old, os.DirFS(r.Dir)); err != nil {
		tb.Fatal(err)
	}
	r.Publish(tb, Plugin{ID: Victim, Version: "2.0.0"})
	r.seen(tb)
	r.serve(old)
}

// seen is what lies that need a node with a memory call between two states.
func (r *Registry) seen(tb testing.TB) {
	tb.Helper()
	if r.Seen != nil {
		r.Seen(tb)
	}
}

func freeze(_ testing.TB, r *Registry) { r.Advance(30 * 24 * time.Hour) }

func otherRoot(tb testing.TB, r *Registry) {
	tb.Helper()
	impostor := New(tb)
	impostor.Truth(tb)
	r.serve(impostor.Dir)
}

// foreignTimestamp signs a newer timestamp with a key that nobody trusts.
func foreignTimestamp(tb testing.TB, r *Registry) {
	tb.Helper()
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	ts := read(tb, metadata.Timestamp(), r.metadata("timestamp.json"))
	ts.Signed.Version++
	ts.ClearSignatures()
	signWith(tb, ts, stranger)
	write(tb, ts, r.metadata("timestamp.json"))
}

// usurpedRoot offers a next root whose keys are the usurper's and signed it; the old keys did not.
func usurpedRoot(tb testing.TB, r *Registry) {
	tb.Helper()
	usurper := New(tb)
	root := read(tb, metadata.Root(), usurper.metadata("root.json"))
	root.Signed.Version = 2
	root.ClearSignatures()
	signWith(tb, root, usurper.key(tb, "root-1"))
	write(tb, root, r.metadata("2.root.json"))
}

// mixAndMatch puts the file of an older version of a role where the snapshot expects the newest.
func mixAndMatch(tb testing.TB, r *Registry) {
	tb.Helper()
	before := read(tb, metadata.Targets(), r.newest(tb, "official"))
	old, err := os.ReadFile(r.newest(tb, "official"))
	if err != nil {
		tb.Fatal(err)
	}
	r.Publish(tb, Plugin{ID: Victim, Version: "2.0.0"})
	name := r.metadata(fmt.Sprintf("%d.official.json", before.Signed.Version+1))
	if err := os.WriteFile(name, old, 0o644); err != nil {
		tb.Fatal(err)
	}
}

// signSwappedDescriptor is what a thief of the official key could do.
func signSwappedDescriptor(tb testing.TB, r *Registry) {
	tb.Helper()
	r.signAs(tb, encodeDescriptor(tb, Other, "9.0.0"))
}

func signBrokenDescriptor(tb testing.TB, r *Registry) {
	tb.Helper()
	r.signAs(tb, []byte(`{"schema":1,"schema":1}`))
}

// signAs has the official role vouch for data as a new version of Victim.
func (r *Registry) signAs(tb testing.TB, data []byte) {
	tb.Helper()
	target := registry.TargetPath(Victim, "9.0.0")
	r.resign(tb, "official", func(s *metadata.TargetsType) { s.Targets[target] = r.putTarget(tb, target, data) })
}

func encodeDescriptor(tb testing.TB, id, version string) []byte {
	tb.Helper()
	data, err := Plugin{ID: id, Version: version}.Submission(tb).Descriptor.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func (r *Registry) putTarget(tb testing.TB, target string, data []byte) *metadata.TargetFiles {
	tb.Helper()
	info, err := metadata.TargetFile().FromBytes(target, data, "sha256")
	if err != nil {
		tb.Fatal(err)
	}
	name := filepath.Join(r.Dir, "targets", filepath.FromSlash(registry.HashedPath(target, registry.Digest(data))))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		tb.Fatal(err)
	}
	return info
}

// resign changes a role and signs everything above it, with the real keys and none of the publisher's checks.
func (r *Registry) resign(tb testing.TB, role string, change func(*metadata.TargetsType)) {
	tb.Helper()
	m := read(tb, metadata.Targets(), r.newest(tb, role))
	m.Signed.Version++
	change(&m.Signed)
	m.ClearSignatures()
	signWith(tb, m, r.KeyOf(tb, role))
	file := write(tb, m, r.metadata(fmt.Sprintf("%d.%s.json", m.Signed.Version, role)))

	snapshot := read(tb, metadata.Snapshot(), r.newest(tb, "snapshot"))
	snapshot.Signed.Version++
	snapshot.Signed.Meta[role+".json"] = metaFile(m.Signed.Version, file)
	snapshot.ClearSignatures()
	signWith(tb, snapshot, r.KeyOf(tb, "snapshot"))
	file = write(tb, snapshot, r.metadata(fmt.Sprintf("%d.snapshot.json", snapshot.Signed.Version)))

	ts := read(tb, metadata.Timestamp(), r.metadata("timestamp.json"))
	ts.Signed.Version++
	ts.Signed.Meta["snapshot.json"] = metaFile(snapshot.Signed.Version, file)
	ts.ClearSignatures()
	signWith(tb, ts, r.KeyOf(tb, "timestamp"))
	write(tb, ts, r.metadata("timestamp.json"))
}

func metaFile(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

func (r *Registry) metadata(name string) string { return filepath.Join(r.Dir, "metadata", name) }

// newest returns the file of a role's highest version.
func (r *Registry) newest(tb testing.TB, role string) string {
	tb.Helper()
	names, err := filepath.Glob(r.metadata("*." + role + ".json"))
	if err != nil || len(names) == 0 {
		tb.Fatalf("no file of %s: %v", role, err)
	}
	best, highest := "", int64(0)
	for _, name := range names {
		number, _, _ := strings.Cut(filepath.Base(name), ".")
		if v, err := strconv.ParseInt(number, 10, 64); err == nil && v > highest {
			best, highest = name, v
		}
	}
	return best
}

func (r *Registry) key(tb testing.TB, name string) ed25519.PrivateKey {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(r.Keys, name+".pem"))
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(data)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed.(ed25519.PrivateKey)
}

func read[T metadata.Roles](tb testing.TB, into *metadata.Metadata[T], name string) *metadata.Metadata[T] {
	tb.Helper()
	m, err := into.FromFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func write[T metadata.Roles](tb testing.TB, m *metadata.Metadata[T], name string) []byte {
	tb.Helper()
	data, err := m.ToBytes(false)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		tb.Fatal(err)
	}
	return data
}

func signWith[T metadata.Roles](tb testing.TB, m *metadata.Metadata[T], key ed25519.PrivateKey) {
	tb.Helper()
	signer, err := signature.LoadED25519Signer(key)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := m.Sign(signer); err != nil {
		tb.Fatal(err)
	}
}

// RotateRoot replaces the root key, as the owners of a root do: the new root is signed by the old key and the new one.
// change may alter it before it is signed.
func (r *Registry) RotateRoot(tb testing.TB, change func(*metadata.RootType)) {
	tb.Helper()
	root := read(tb, metadata.Root(), r.metadata("root.json"))
	old := root.Signed.Roles[metadata.ROOT].KeyIDs[0]
	_, next, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := metadata.KeyFromPublicKey(next.Public())
	if err != nil {
		tb.Fatal(err)
	}
	root.Signed.Version++
	if err := root.Signed.AddKey(key, metadata.ROOT); err != nil {
		tb.Fatal(err)
	}
	if err := root.Signed.RevokeKey(old, metadata.ROOT); err != nil {
		tb.Fatal(err)
	}
	if change != nil {
		change(&root.Signed)
	}
	root.ClearSignatures()
	signWith(tb, root, r.key(tb, "root-1"))
	signWith(tb, root, next)
	write(tb, root, r.metadata(fmt.Sprintf("%d.root.json", root.Signed.Version)))
	write(tb, root, r.metadata("root.json"))
	der, err := x509.MarshalPKCS8PrivateKey(next)
	if err != nil {
		tb.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(r.Keys, "root-1.pem"), block, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// Unrevoke publishes an empty list of revocations, as a thief of the security key and of the revokers' might.
func (r *Registry) Unrevoke(tb testing.TB) {
	tb.Helper()
	r.publishList(tb, &registry.Revocations{Schema: registry.RevocationsSchema, Revoked: []registry.Revocation{}}, true)
}

// publishList has the online key publish a list, with or without the signature of the revokers' first key.
func (r *Registry) publishList(tb testing.TB, list *registry.Revocations, signed bool) {
	tb.Helper()
	if signed {
		payload, err := list.Payload()
		if err != nil {
			tb.Fatal(err)
		}
		list.Signatures = []registry.Signature{registry.SignStatement(registry.StatementRevocations, payload, r.KeyOf(tb, "revokers"))}
	}
	data, err := list.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	r.resign(tb, "security", func(s *metadata.TargetsType) {
		s.Targets[registry.RevocationsPath] = r.putTarget(tb, registry.RevocationsPath, data)
	})
}

// Replace signs other content under a version that is published already.
func (r *Registry) Replace(tb testing.TB, p Plugin) {
	tb.Helper()
	sub := p.Submission(tb)
	data, err := sub.Descriptor.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	for digest, file := range sub.Artifacts {
		bytes, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.Dir, filepath.FromSlash(registry.StorePath(digest))), bytes, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	target := registry.TargetPath(sub.Descriptor.Manifest.ID, sub.Descriptor.Manifest.Version)
	r.resign(tb, "official", func(s *metadata.TargetsType) { s.Targets[target] = r.putTarget(tb, target, data) })
}
