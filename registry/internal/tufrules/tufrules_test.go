package tufrules_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry/internal/tufrules"
	"github.com/picketwatch/picket/registry/registrytest"
)

// good returns the metadata of a real registry by role.
func good(tb testing.TB) map[string]string {
	tb.Helper()
	r := registrytest.New(tb)
	r.Truth(tb)
	files := map[string]string{}
	for role, name := range map[string]string{
		"root": "1.root.json", "targets": "1.targets.json", "security": "1.security.json", "official": "2.official.json",
		"snapshot": "2.snapshot.json", "timestamp": "timestamp.json",
	} {
		data, err := os.ReadFile(filepath.Join(r.Dir, "metadata", name))
		if err != nil {
			tb.Fatal(err)
		}
		files[role] = string(data)
	}
	return files
}

func TestCheckAcceptsARealRegistry(t *testing.T) {
	for role, data := range good(t) {
		if err := tufrules.Check(role, []byte(data)); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// Each of these is well-formed TUF, or close to it, and none of it is ours.
func TestCheckRefuses(t *testing.T) {
	files := good(t)
	role := `{"keyids":["` + strings.Repeat("0", 64) + `"],"threshold":1}`
	for name, c := range map[string]struct{ role, old, new, want string }{
		"a threshold of zero":            {"root", `"threshold":1`, `"threshold":0`, "threshold"},
		"a threshold beyond the keys":    {"root", `"threshold":1`, `"threshold":9`, "threshold"},
		"an unlisted key":                {"root", `"keyids":["`, `"keyids":["00`, "not listed"},
		"a key twice":                    {"root", `"keyids":[`, `"keyids":[KEY,`, "twice"},
		"another key type":               {"root", `"keytype":"ed25519"`, `"keytype":"rsa"`, "ed25519"},
		"a short key":                    {"root", `"public":"`, `"public":"00`, "public key"},
		"a key under a wrong id":         {"root", `"keys":{"`, `"keys":{"00`, "wrong id"},
		"a null role":                    {"root", `"snapshot":{`, `"snapshot":null,"x":{`, ""},
		"a role too many":                {"root", `"roles":{`, `"roles":{"mirror":` + role + `,`, "exactly"},
		"no consistent snapshots":        {"root", `"consistent_snapshot":true`, `"consistent_snapshot":false`, "consistent"},
		"version zero":                   {"root", `"version":1`, `"version":0`, "version"},
		"a version beyond exact numbers": {"root", `"version":1`, `"version":9007199254740994`, "number"},
		"snapshot without a hash":        {"timestamp", `"hashes"`, `"hushes"`, "hash"},
		"snapshot without a length":      {"timestamp", `"length"`, `"lngth"`, "length"},
		"a second file in the timestamp": {"timestamp", `"meta":{`, `"meta":{"x.json":{"version":1},`, "nothing else"},
		"a role that is a file name":     {"snapshot", `"official.json"`, `"../root.json"`, "not the file"},
		"a role named like a top one":    {"snapshot", `"official.json"`, `"timestamp.json"`, "not the file"},
		"a null file":                    {"snapshot", `"official.json":{`, `"official.json":null,"ns-x.json":{`, "null"},
		"security is not first":          {"targets", `"name":"security"`, `"name":"ns-security"`, ""},
		"security does not end there":    {"targets", `"terminating":true`, `"terminating":false`, "terminating"},
		"official speaks for all":        {"targets", `plugins/picket/*/*/*`, `plugins/*/*/*/*`, "paths"},
		"hash prefixes":                  {"targets", `"paths":["security/*"]`, `"path_hash_prefixes":["00"]`, "path_hash_prefixes"},
		"no delegations":                 {"targets", `"delegations"`, `"relegations"`, "missing"},
		"a target at the top":            {"targets", `"targets":{}`, `"targets":{"plugins/picket/a/1.0.0/release.json":null}`, ""},
		"official revokes":               {"official", `plugins/picket/victim/1.0.0/release.json`, `security/revocations.json`, "target"},
		"official delegates":             {"official", `"version":`, `"delegations":{"keys":{},"roles":[]},"version":`, "must not delegate"},
		"a descriptor of a gigabyte":     {"official", `"length":`, `"length":1000000`, "length"},
		"a target without a hash":        {"official", `"sha256"`, `"sha512"`, "sha256"},
		"a null target":                  {"official", `"targets":{`, `"targets":{"plugins/picket/a/1.0.0/release.json":null,`, ""},
		"security installs":              {"security", `security/revocations.json`, `plugins/picket/a/1.0.0/release.json`, "only"},
		"another type":                   {"official", `"_type":"targets"`, `"_type":"snapshot"`, "type"},
		"null":                           {"root", files["root"], "null", ""},
		"nothing signed":                 {"root", files["root"], `{"signatures":[]}`, ""},
		"a list":                         {"timestamp", files["timestamp"], "[]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := files[c.role]
			bad := strings.Replace(text, c.old, c.new, 1)
			if strings.Contains(c.new, "KEY") {
				_, rest, _ := strings.Cut(text, c.old)
				key, _, _ := strings.Cut(rest, "]")
				bad = strings.Replace(text, c.old, strings.Replace(c.new, "KEY", key, 1), 1)
			}
			if bad == text {
				t.Fatal("the case changes nothing")
			}
			err := tufrules.Check(c.role, []byte(bad))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("message %q does not say %q", err, c.want)
			}
		})
	}
}

// FuzzCheck: hostile metadata is an error, never a panic.
func FuzzCheck(f *testing.F) {
	for role, data := range good(f) {
		f.Add(role, []byte(data))
	}
	f.Add("root", []byte(`{"signed":{"_type":"root","keys":{"a":null},"roles":{"root":null}},"signatures":null}`))
	f.Add("official", []byte(`{"signed":{"_type":"targets","targets":{"a":null},"delegations":{"roles":[{}]}}}`))
	f.Fuzz(func(t *testing.T, role string, data []byte) {
		_ = tufrules.Check(role, data)
	})
}
