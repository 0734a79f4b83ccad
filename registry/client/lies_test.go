package client_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// node opens a client for a registry under test, with state of its own.
func node(t *testing.T, r *registrytest.Registry, base string, change ...func(*client.Config)) *client.Client {
	t.Helper()
	cfg := client.Config{
		Dir: filepath.Join(t.TempDir(), "node"), Base: base, RootFile: r.RootFile(), AllowDevelopment: true, Now: r.Now,
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := client.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wantRefusal checks reason and plugin of a refusal, and that its text names both.
func wantRefusal(t *testing.T, err error, reason registry.Reason, plugin string) {
	t.Helper()
	var r *registry.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal for %s", err, reason)
	}
	if r.Reason != reason || r.Plugin != plugin {
		t.Fatalf("refused %q for %s, want %q for %s: %v", r.Plugin, r.Reason, plugin, reason, err)
	}
	if text := err.Error(); !strings.Contains(text, plugin) || !strings.Contains(text, string(reason)) {
		t.Errorf("the message names not both plugin and reason: %s", text)
	}
}

// A release whose descriptor is missing or broken is in the list as refused; the others are as they were.
func TestListWithABrokenRelease(t *testing.T) {
	for _, lie := range registrytest.Lies() {
		if lie.Reason != registry.DescriptorMismatch || strings.Contains(lie.Name, "revocation") {
			continue
		}
		t.Run(lie.Name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.New(t)
			r.Truth(t)
			c := node(t, r, r.Serve(t))
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.Lie(t, lie)
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			list, err := c.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			refused := 0
			for _, rel := range list {
				if (rel.Refused == nil) == (rel.Descriptor == nil) {
					t.Errorf("%s %s: descriptor %v, refused %v", rel.ID, rel.Version, rel.Descriptor, rel.Refused)
				}
				if rel.Refused != nil {
					refused++
					wantRefusal(t, rel.Refused, registry.DescriptorMismatch, rel.ID)
				} else if rel.ID == registrytest.Victim && rel.Version != "1.0.0" {
					t.Errorf("the broken %s is offered", rel.Version)
				}
			}
			everything := strings.HasPrefix(lie.Name, "one byte") // of each descriptor
			if refused == 0 || refused == len(list) != everything {
				t.Errorf("%d of %d refused", refused, len(list))
			}
		})
	}
}

// Every lie is refused at installation, and a plugin that was installed before the lie keeps starting.
func TestEveryLieIsRefused(t *testing.T) {
	for _, lie := range registrytest.Lies() {
		t.Run(lie.Name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.New(t)
			r.Truth(t)
			dir, base := filepath.Join(t.TempDir(), "node"), r.Serve(t)
			at := func(cfg *client.Config) { cfg.Dir = dir }
			c := node(t, r, base, at)
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatalf("while the registry tells the truth: %v", err)
			}
			if _, err := c.Install(t.Context(), registrytest.Other, "", registry.RuntimeProcess); err != nil {
				t.Fatalf("while the registry tells the truth: %v", err)
			}
			r.Seen = func(tb testing.TB) {
				tb.Helper()
				if err := c.Refresh(tb.Context()); err != nil {
					tb.Fatal(err)
				}
			}
			r.Lie(t, lie)
			if lie.Reason == registry.Unreachable { // patience is for the truth
				c = node(t, r, base, at, func(cfg *client.Config) { cfg.Timeout = 100 * time.Millisecond })
			}
			in, err := c.Install(t.Context(), registrytest.Victim, "", registry.RuntimeProcess)
			if err == nil {
				t.Fatalf("installed %s %s", in.ID, in.Version)
			}
			t.Log(err)
			wantRefusal(t, err, lie.Reason, registrytest.Victim)
			if _, ok := c.Installed(registrytest.Victim); ok {
				t.Error("the refused plugin is in plugins.lock")
			}
			a, err := c.OpenVerified(t.Context(), registrytest.Other, registry.RuntimeProcess)
			if err != nil {
				t.Fatalf("what was installed before does not start: %v", err)
			}
			a.Close()
		})
	}
}
