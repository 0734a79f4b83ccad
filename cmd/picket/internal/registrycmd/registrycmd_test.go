package registrycmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry/publish"
)

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := New()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestCeremonyToVerification(t *testing.T) {
	dir, keys := filepath.Join(t.TempDir(), "registry"), filepath.Join(t.TempDir(), "keys")
	where := []string{"--dir", dir, "--keys", keys}
	out, err := run(t, append([]string{"init", "--one-folder", "--expire", "timestamp=720h", "--expire", "security=720h"}, where...)...)
	if err != nil || !strings.Contains(out, "release") {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := run(t, append([]string{"init", "--one-folder"}, where...)...); err == nil {
		t.Error("made a registry over another")
	}
	if out, err = run(t, append([]string{"timestamp"}, where...)...); err != nil || !strings.Contains(out, "signed timestamp") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = run(t, append([]string{"revoke", "--reason", "It leaks.", "acme/x", "<2"}, where...)...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err = run(t, append([]string{"revoke", "--reason", "It leaks.", "acme/x", "<2"}, where...)...); err == nil {
		t.Error("revoked twice")
	}
	root := filepath.Join(keys, "root.json")
	out, err = run(t, "verify", "--dir", dir, "--root", root, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var report publish.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK() || report.Revocations != 1 || report.Development {
		t.Errorf("report %+v", report)
	}
	for _, role := range report.Roles {
		if role.Name == "timestamp" && role.Expires.Sub(report.Roles[0].Expires) > 0 {
			t.Errorf("timestamp lasts beyond the root: %v", role.Expires)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "metadata", "timestamp.json"), 30); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "verify", "--dir", dir, "--root", root); err == nil || !strings.Contains(err.Error(), "timestamp.json") {
		t.Errorf("damaged registry: %v", err)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"init"}, {"init", "--dir", "a"}, {"timestamp"}, {"verify"}, {"revoke", "--dir", "a", "--keys", "b", "acme/x", "*"},
		{"init", "--dir", t.TempDir() + "/a", "--keys", t.TempDir() + "/b", "--expire", "timestamp"},
		{"init", "--dir", t.TempDir() + "/a", "--keys", t.TempDir() + "/b", "--expire", "janitor=1h"},
		{"init", "--dir", t.TempDir() + "/a", "--keys", t.TempDir() + "/b", "--expire", "root=-1h"},
	} {
		if out, err := run(t, args...); err == nil {
			t.Errorf("%v: accepted, printed %q", args, out)
		}
	}
}
