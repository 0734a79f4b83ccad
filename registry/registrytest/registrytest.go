// Package registrytest is a registry that can lie. A test gets a real one, signed with real keys and served over HTTP,
// publishes plugins of its own making, and then has it tell one of the lies in Lies: each has a name and the reason for
// which a node must refuse it.
package registrytest

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/sdk"
)

// Registry is a registry under test. Its clock stands still until Advance.
type Registry struct {
	Dir  string // what is served
	Keys string
	// Seen is called by lies that need a node with a memory, between the state it saw and the one it gets; a test has
	// its node refresh there.
	Seen func(testing.TB)

	mu      sync.Mutex // guards now and lie
	now     time.Time
	lie     Lie
	serving string // the folder that is served; Dir unless a lie says otherwise
}

// New makes an empty registry with a development root.
func New(tb testing.TB) *Registry {
	tb.Helper()
	return create(tb, publish.Options{Development: true})
}

// NewRelease makes an empty registry with an ordinary root: three root keys of which two must sign, and so on.
func NewRelease(tb testing.TB) *Registry {
	tb.Helper()
	return create(tb, publish.Options{})
}

func create(tb testing.TB, opt publish.Options) *Registry {
	tb.Helper()
	base := tb.TempDir()
	r := &Registry{
		Dir: filepath.Join(base, "registry"), Keys: filepath.Join(base, "keys"),
		now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
	}
	r.serving = r.Dir
	opt.Now = r.Now
	if err := publish.Init(r.Dir, r.Keys, opt); err != nil {
		tb.Fatalf("make a registry: %v", err)
	}
	return r
}

// FoundAnew makes another registry on the same keys, as each release of a product would.
func (r *Registry) FoundAnew(tb testing.TB) *Registry {
	tb.Helper()
	next := &Registry{Dir: filepath.Join(tb.TempDir(), "registry"), Keys: r.Keys, now: r.Now()}
	next.serving = next.Dir
	p, err := publish.Open(tb.Context(), r.Dir, r.Keys, r.Now)
	if err != nil {
		tb.Fatal(err)
	}
	development := p.Development()
	p.Close()
	if err := publish.Init(next.Dir, next.Keys, publish.Options{Development: development, Now: next.Now}); err != nil {
		tb.Fatal(err)
	}
	return next
}

// Now is the registry's clock; give it to the client too.
func (r *Registry) Now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// Advance moves the clock.
func (r *Registry) Advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// RootFile returns the path of the root of trust, as its owner would hand it out.
func (r *Registry) RootFile() string { return filepath.Join(r.Keys, "root.json") }

// RootSHA256 returns the digest that an enrolment token would carry.
func (r *Registry) RootSHA256(tb testing.TB) string {
	tb.Helper()
	data, err := os.ReadFile(r.RootFile())
	if err != nil {
		tb.Fatal(err)
	}
	return registry.Digest(data)
}

// Plugin is a release to publish. What is empty gets a value that passes.
type Plugin struct {
	ID          string
	Version     string // default "1.0.0"
	Kind        sdk.Kind
	Process     []byte // the executable for this platform
	WASM        []byte
	File        []byte // of a model or a data pack, which Kind says; then it has neither of the two before
	Permissions []sdk.Permission
	Schema      json.RawMessage
	Rules       json.RawMessage
	Readme      []byte
	Requires    []registry.Requirement
}

// Publish signs releases into the registry.
func (r *Registry) Publish(tb testing.TB, plugins ...Plugin) {
	tb.Helper()
	p, err := publish.Open(tb.Context(), r.Dir, r.Keys, r.Now)
	if err != nil {
		tb.Fatal(err)
	}
	defer p.Close()
	subs := make([]publish.Submission, 0, len(plugins))
	for _, plugin := range plugins {
		subs = append(subs, plugin.Submission(tb))
	}
	if _, err := p.Add(tb.Context(), subs); err != nil {
		tb.Fatal(err)
	}
}

// Revoke withdraws versions of a plugin.
func (r *Registry) Revoke(tb testing.TB, id, versions, reason string) {
	tb.Helper()
	p, err := publish.Open(tb.Context(), r.Dir, r.Keys, r.Now)
	if err != nil {
		tb.Fatal(err)
	}
	defer p.Close()
	rev := registry.Revocation{Plugin: id, Versions: versions, Reason: reason, Time: r.Now()}
	if err := p.Revoke(rev); err != nil {
		tb.Fatal(err)
	}
}

// Renew signs again what is due.
func (r *Registry) Renew(tb testing.TB) {
	tb.Helper()
	if _, err := publish.RefreshTimestamp(context.WithoutCancel(tb.Context()), r.Dir, r.Keys, r.Now); err != nil {
		tb.Fatal(err)
	}
}

// Serve starts a web server for the registry and returns its address. The server tells the current lie.
func (r *Registry) Serve(tb testing.TB) string {
	tb.Helper()
	s := httptest.NewServer(r)
	tb.Cleanup(s.Close)
	return s.URL
}

// Submission builds the release with its files in a folder of the test.
func (p Plugin) Submission(tb testing.TB) publish.Submission {
	tb.Helper()
	if p.Version == "" {
		p.Version = "1.0.0"
	}
	if p.Kind == "" {
		p.Kind = sdk.KindCollector
	}
	if p.Process == nil && p.WASM == nil && p.File == nil {
		p.Process = []byte("#!/bin/sh\necho " + p.ID + " " + p.Version + "\n")
	}
	d := &registry.Descriptor{
		Schema: registry.DescriptorSchema,
		Manifest: registry.Manifest{
			APIVersion: registry.APIVersion, ID: p.ID, Version: p.Version, Kind: p.Kind, Title: "Test plugin",
			Summary: "It stands in for a plugin.", License: "Apache-2.0", Protocol: []int{sdk.Protocol}, Permissions: p.Permissions,
			Requires: p.Requires,
		},
		ConfigSchema: p.Schema, Rules: p.Rules,
	}
	if p.Readme != nil {
		d.ReadmeSHA256 = registry.Digest(p.Readme)
	}
	sub := publish.Submission{Descriptor: d, Artifacts: map[string]string{}, Readme: p.Readme}
	add := func(data []byte, a registry.Artifact) {
		a.SHA256, a.Size = registry.Digest(data), int64(len(data))
		d.Manifest.Runtimes = append(d.Manifest.Runtimes, a.Runtime)
		d.Artifacts = append(d.Artifacts, a)
		path := filepath.Join(tb.TempDir(), a.Runtime)
		if err := os.WriteFile(path, data, 0o700); err != nil {
			tb.Fatal(err)
		}
		sub.Artifacts[a.SHA256] = path
	}
	if p.Process != nil {
		add(p.Process, registry.Artifact{Runtime: registry.RuntimeProcess, OS: goruntime.GOOS, Arch: goruntime.GOARCH, ABI: registry.ABIProcess})
	}
	if p.File != nil {
		d.Manifest.Protocol, d.Manifest.File = nil, "file.bin"
		if p.Kind == sdk.KindModel {
			d.Manifest.Model = &registry.Model{Format: registry.FormatONNX, Features: "flows", FeaturesVersion: 1, Data: "none", Limits: "none",
				Metrics: []registry.ModelMetric{{Name: "f1", Value: 1, Dataset: "none"}}}
		} else {
			d.Manifest.Data = &registry.Data{Format: "text", Source: "https://example.org/", License: "CC0-1.0", AsOf: "2026-11-21"}
		}
		add(p.File, registry.Artifact{Runtime: registry.RuntimeFile, OS: registry.AnyPlatform, Arch: registry.AnyPlatform, ABI: registry.ABIFile})
	}
	if p.WASM != nil {
		add(p.WASM, registry.Artifact{Runtime: registry.RuntimeWASM, OS: "wasip1", Arch: "wasm", ABI: registry.ABIWASM})
	}
	return sub
}
