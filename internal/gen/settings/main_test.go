package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/core/kernel/config"
)

// The page must say what the programs read.
func TestThePageIsComplete(t *testing.T) {
	const base = "../../.."
	page, err := os.ReadFile(filepath.Join(base, target))
	if err != nil {
		t.Fatal(err)
	}
	want, err := fill(base, string(page))
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != want {
		t.Errorf("%s does not fit the structs: run `go run ./internal/gen/settings`", target)
	}
	for _, key := range []string{"`telemetry.retention` | duration | 30d", "`queue_size`", "`registries[].url`", "`staleness.warn`"} {
		if !strings.Contains(want, key) {
			t.Errorf("%s is missing", key)
		}
	}
}

// What the comments call the defaults must be what the server does without a file.
func TestTheDefaultsAreTrue(t *testing.T) {
	keys, err := read("../../../core/kernel/config", "Picketd", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, k := range keys {
		if k.value == "none" || strings.HasPrefix(k.value, "derived") || strings.Contains(k.value, "DATA") {
			continue
		}
		text := k.value + "\n"
		for parts := strings.Split(k.name, "."); len(parts) > 0; parts = parts[:len(parts)-1] {
			text = "{" + parts[len(parts)-1] + ": " + strings.TrimSuffix(text, "\n") + "}"
		}
		got, err := config.Parse([]byte(text))
		if diff := cmp.Diff(config.Default(), got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", k.name, err, diff)
		}
		written++
	}
	if written < 10 {
		t.Errorf("only %d defaults were compared", written)
	}
}

func TestAKeyMustBeExplained(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"no comment": {"type S struct {\n A string `yaml:\"a\"`\n}", "a: its comment does not say its default"},
		"no default": {"type S struct {\n A string `yaml:\"a\"` // what it is\n}", "a: its comment does not say its default"},
		"no meaning": {"type S struct {\n A string `yaml:\"a\"` // default 1\n}", "a: its comment does not say what it means"},
		"within":     {"type S struct {\n A T `yaml:\"a\"`\n}\ntype T struct {\n B []string `yaml:\"b\"` // x\n}", "a.b: its comment"},
		"a new type": {"type S struct {\n A chan int `yaml:\"a\"` // x; default 1\n}", "add the type"},
		"no struct":  {"type T struct{}", "there is no struct S"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "s.go"), []byte("package s\n"+c.source), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(dir, "S", "yaml"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.want)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s.go"), []byte("package s\ntype S struct {\n // A is how often.\n // Default 10m.\n A *Duration `yaml:\"a,omitempty\"`\n b int\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := read(dir, "S", "yaml")
	if err != nil || len(got) != 1 || got[0] != (key{"a", "duration", "10m", "How often"}) {
		t.Errorf("%+v %v", got, err)
	}
}
