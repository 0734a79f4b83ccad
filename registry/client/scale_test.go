package client_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// A registry of 5,000 authors with ten releases each: what a node pays that knows nothing, what one pays that was there
// before, and what publishing one release costs.
func BenchmarkCrowd(b *testing.B) {
	r := registrytest.New(b)
	r.Truth(b)
	author := r.Crowd(b, 5000, 10)
	base := r.Serve(b)
	open := func(dir string) *client.Client {
		c, err := client.Open(client.Config{Dir: dir, Base: base, RootFile: r.RootFile(), AllowDevelopment: true, Now: r.Now})
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	resolve := func(c *client.Client) {
		if err := c.Refresh(b.Context()); err != nil {
			b.Fatal(err)
		}
		if v, err := c.Resolve(b.Context(), "crowd-00001/agent", ""); err != nil || v.Version != "1.9.0" {
			b.Fatal(v, err)
		}
	}
	b.Run("cold", func(b *testing.B) {
		for range b.N {
			resolve(open(filepath.Join(b.TempDir(), "node")))
		}
	})
	dir := filepath.Join(b.TempDir(), "node")
	resolve(open(dir))
	b.Run("warm, after a restart", func(b *testing.B) {
		for range b.N {
			resolve(open(dir))
		}
	})
	c := open(dir)
	resolve(c)
	b.Run("warm", func(b *testing.B) {
		for range b.N {
			resolve(c)
		}
	})
	n := 0
	b.Run("publish", func(b *testing.B) {
		for range b.N {
			n++
			r.Upload(b, author, registrytest.Plugin{ID: "crowd-00001/agent", Version: fmt.Sprintf("2.0.%d", n)})
		}
	})
}

// A plugin of 12 MB from a mirror on the same machine: verified, fetched, pinned, hashed again and sealed for its start.
func BenchmarkInstallMirrored(b *testing.B) {
	r := registrytest.New(b)
	program := make([]byte, 12<<20)
	for i := range program {
		program[i] = byte(i * 7 >> 3)
	}
	r.Publish(b, registrytest.Plugin{ID: registrytest.Victim, Process: program})
	for b.Loop() {
		b.StopTimer()
		c, err := client.Open(client.Config{Dir: filepath.Join(b.TempDir(), "node"), Base: r.Dir, RootFile: r.RootFile(), AllowDevelopment: true, Now: r.Now})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		p, err := c.Plan(b.Context(), []client.Want{{ID: registrytest.Victim}}, client.PlanOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.InstallAll(b.Context(), p, nil); err != nil {
			b.Fatal(err)
		}
		a, err := c.OpenVerified(b.Context(), registrytest.Victim, registry.RuntimeProcess)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		a.Close()
		c.Close()
		b.StartTimer()
	}
}
