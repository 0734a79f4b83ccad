package client_test

import (
	"fmt"
	"path/filepath"
	"testing"

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
