package client_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/submission"
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
	b.Run("after a restart, the timestamp signed again", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			r.Renew(b)
			b.StartTimer()
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
	b.Run("publish over HTTP", func(b *testing.B) {
		in := handIn(b, r)
		for range b.N {
			b.StopTimer()
			n++
			archive := archiveOf(b, r, author, registrytest.Plugin{ID: "crowd-00001/agent", Version: fmt.Sprintf("2.0.%d", n), WASM: []byte("\x00asm\x01\x00\x00\x00")})
			b.StartTimer()
			in.publish(b, archive)
		}
	})
}

// desk is where authors hand releases in.
type desk struct{ url string }

func handIn(b *testing.B, r *registrytest.Registry) desk {
	b.Helper()
	keeper, err := publish.NewKeeper(publish.Config{Dir: r.Dir, Keys: r.Keys, Now: r.Now})
	if err != nil {
		b.Fatal(err)
	}
	in, err := intake.Open(b.Context(), intake.Config{Dir: b.TempDir(), Now: r.Now, Registry: keeper})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(in.Close)
	web := httptest.NewServer(in.Handler())
	b.Cleanup(web.Close)
	return desk{web.URL}
}

// archiveOf is what the author hands in.
func archiveOf(b *testing.B, r *registrytest.Registry, author *registrytest.Author, plugin registrytest.Plugin) []byte {
	b.Helper()
	var archive bytes.Buffer
	r.Change(b, func(p *publish.Publisher) error {
		current, _, err := p.NamespaceFile(author.Namespace)
		if err != nil {
			return err
		}
		return submission.Write(&archive, submission.Request{RootSHA256: r.RootSHA256(b), Current: current,
			Keys: []ed25519.PrivateKey{author.Key}, Now: r.Now(), Release: plugin.Submission(b)})
	})
	return archive.Bytes()
}

// publish hands an archive in and asks for the job until its release is published.
func (d desk) publish(b *testing.B, archive []byte) {
	b.Helper()
	res, err := http.Post(d.url+"/v1/releases", intake.ContentType, bytes.NewReader(archive))
	if err != nil {
		b.Fatal(err)
	}
	var accepted struct{ Job string }
	if err := errors.Join(json.NewDecoder(res.Body).Decode(&accepted), res.Body.Close()); err != nil || res.StatusCode != http.StatusAccepted {
		b.Fatal(res.Status, err)
	}
	for {
		res, err := http.Get(d.url + "/v1/jobs/" + accepted.Job)
		if err != nil {
			b.Fatal(err)
		}
		var job intake.Job
		if err := errors.Join(json.NewDecoder(res.Body).Decode(&job), res.Body.Close()); err != nil || job.State == intake.StateRefused {
			b.Fatal(job.Problem, err)
		}
		if job.State == intake.StatePublished {
			return
		}
		time.Sleep(time.Millisecond)
	}
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
