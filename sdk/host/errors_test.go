//go:build unix

package host

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// startScript starts a file as a plugin and returns what the author is told.
func startScript(t *testing.T, content string, mode os.FileMode) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pk") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := Start(testContext(t), Config{Name: "acme/x", Cmd: exec.Command(path), SocketDir: dir, StartTimeout: patience, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		p.Kill()
		t.Fatal("it started")
	}
	return err
}

// Each message says what happened, and what the author can do.
func TestMessagesThatAnAuthorMeets(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    []string
	}{
		"another architecture":   {"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xff\xff", 0o700, []string{"acme/x", "exec format error", "built for another machine"}},
		"not executable":         {"#!/bin/sh\n", 0o600, []string{"acme/x", "permission denied", "chmod"}},
		"crashed before it said": {"#!/bin/sh\nexit 3\n", 0o700, []string{"acme/x", "ended before it answered", "status 3"}},
		"an older protocol":      {"#!/bin/sh\necho '1|0|unix|/tmp/x.sock|grpc|'\nsleep 60\n", 0o700, []string{"protocol 0", "this host speaks 1", "build the plugin anew"}},
		"a newer protocol":       {"#!/bin/sh\necho '1|9|unix|/tmp/x.sock|grpc|'\nsleep 60\n", 0o700, []string{"protocol 9", "this host speaks 1", "newer Picket"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := startScript(t, c.content, c.mode)
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestMessageAboutALongSocketPath(t *testing.T) {
	_, err := Start(t.Context(), Config{Name: "acme/x", Cmd: exec.Command("/bin/true"), SocketDir: "/" + strings.Repeat("x", 100), Log: slog.New(slog.DiscardHandler)})
	for _, want := range []string{"acme/x", "at most 64 bytes", "shorter"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// A configuration that does not fit the schema, and a permission that was not granted, name the field and the grant.
func TestMessagesAboutConfigurationAndPermission(t *testing.T) {
	p, _ := start(t, "honest")
	_, err := p.Configure(testContext(t), InstanceConfig{Instance: "i", Plugin: "test/fanout", Config: []byte(`{"limit": "many"}`)})
	if sdk.ClassOf(err) != sdk.InvalidConfig || !strings.Contains(err.Error(), "limit") {
		t.Errorf("%v does not name the field", err)
	}
	err = sdk.Grants(nil).Dial("tcp", "db.example.org", 5432)
	if sdk.ClassOf(err) != sdk.PermissionDenied || !strings.Contains(err.Error(), "net.dial") {
		t.Errorf("%v does not name the permission", err)
	}
}
