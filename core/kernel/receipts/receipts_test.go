package receipts

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

type node struct {
	have []*client.Installed
	got  []string
	fail error
	key  ed25519.PublicKey
	t    *testing.T
}

func (n *node) AllInstalled() []*client.Installed { return n.have }
func (n *node) Status() client.Status {
	return client.Status{RootSHA256: strings.Repeat("a", 64)}
}

func (n *node) send(_ context.Context, r *registry.Receipt) error {
	if n.fail != nil {
		return n.fail
	}
	raw, err := r.Encode()
	if err != nil {
		return err
	}
	back, err := registry.ParseReceipt(raw)
	if err != nil {
		return err
	}
	if err := back.Verify(n.key); err != nil {
		n.t.Errorf("the receipt does not verify: %v", err)
	}
	n.got = append(n.got, r.Action+" "+r.ID+" "+r.Version)
	return nil
}

func installed(id, version, from string) *client.Installed {
	return &client.Installed{Locked: registry.Locked{ID: id, Version: version, Descriptor: strings.Repeat("b", 64), Registry: from}}
}

func TestTell(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, key: public}
	file := filepath.Join(t.TempDir(), "told.json")
	tell := func(want ...string) {
		t.Helper()
		n.got = nil
		teller := &Teller{File: file, Key: private, Registry: n, Send: n.send, Now: time.Now} // a new one each time: after a restart
		if err := teller.Tell(t.Context()); !errors.Is(err, n.fail) {
			t.Fatal(err)
		}
		if !slices.Equal(n.got, want) {
			t.Fatalf("told %q, want %q", n.got, want)
		}
	}
	tell()
	n.have = []*client.Installed{installed("a/b", "1.0.0", ""), installed("a/c", "1.0.0", ""), installed("corp/x", "1.0.0", "corp")}
	n.fail = errors.New("the registry is away")
	tell()
	n.fail = nil
	tell("installed a/b 1.0.0", "installed a/c 1.0.0")
	tell()
	n.have[0].Version = "1.1.0"
	tell("installed a/b 1.1.0")
	n.have = n.have[1:]
	tell("removed a/b 1.1.0")
	tell()
}
