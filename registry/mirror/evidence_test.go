package mirror_test

import (
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/registry/bundle"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// The copy of a site's registry still shows who signed a release first.
func TestMirrorOfASite(t *testing.T) {
	outside, site := origin(t), registrytest.New(t)
	outside.Confirm(t, "acme")
	exporter, err := client.Open(client.Config{
		Dir: filepath.Join(t.TempDir(), "exporter"), Base: outside.Dir, RootFile: outside.RootFile(), AllowDevelopment: true, Now: outside.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exporter.Close()
	file := filepath.Join(t.TempDir(), "a.tar")
	if _, err := bundle.Export(t.Context(), exporter, nil, nil, file, outside.Now()); err != nil {
		t.Fatal(err)
	}
	cfg := bundle.Config{File: file, RootFile: outside.RootFile(), AllowDevelopment: true, Now: site.Now}
	if _, err := bundle.Import(t.Context(), cfg, bundle.Site{Dir: site.Dir, Keys: site.Keys}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "copy")
	m := open(t, site, dir, site.Serve(t))
	all(t, m)
	all(t, m)
	node, err := client.Open(client.Config{
		Dir: filepath.Join(t.TempDir(), "node"), Base: dir, RootFile: site.RootFile(), AllowDevelopment: true, Now: site.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	v, err := node.Resolve(t.Context(), "acme/snmp", "")
	if err != nil {
		t.Fatal(err)
	}
	author, err := node.Author(t.Context(), outside.RootSHA256(t), v.ID, v.Version, v.Digest)
	if err != nil || author.Role != "ns-acme" || author.KeyIDs[0] != outside.AuthorKeyID(t, "acme") {
		t.Errorf("%+v, %v", author, err)
	}
}
