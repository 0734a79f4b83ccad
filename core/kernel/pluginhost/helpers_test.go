//go:build linux

package pluginhost

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/registry/policy"
)

// A helper of another version is half an upgrade: the host refuses to start and names both versions.
func TestHelperOfAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	write := func(name, script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("picket-launch", "echo "+config.Version)
	for script, want := range map[string]string{
		"echo 0.0.9":             `"0.0.9"`,
		"exit 3":                 "exit status 3",
		"echo " + config.Version: "",
	} {
		write("picket-wasm", script)
		_, err := New(Config{Dir: t.TempDir(), Helpers: dir, Registry: &shelf{}, Ceiling: policy.Default()})
		switch {
		case want == "" && err != nil:
			t.Errorf("the right version: %v", err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), config.Version)):
			t.Errorf("%s: got %v, want %s and %s", script, err, want, config.Version)
		}
	}
}

func TestGuestKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guest-cache.key")
	read := func() []byte {
		t.Helper()
		key, err := readGuestKey(path)
		if err != nil || len(key) != guestKeySize {
			t.Fatalf("%d bytes, %v", len(key), err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		return key
	}
	first := read()
	if !bytes.Equal(first, read()) {
		t.Error("the key changed")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first, read()) {
		t.Error("a key that others may have read goes on")
	}
}
