package client_test

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

type publicKey = ed25519.PublicKey

func publicOf(key ed25519.PrivateKey) publicKey { return key.Public().(ed25519.PublicKey) }

// removeKey loses a private key.
func removeKey(t *testing.T, r *registrytest.Registry, id string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(r.Keys, "*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		key, err := publish.LoadKey(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if registry.KeyID(publicOf(key)) == id {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
