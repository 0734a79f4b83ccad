package publish

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// keyFolder remembers private keys by the file that they lie in. A file that has changed is read again.
type keyFolder map[string]heldKey

type heldKey struct {
	stamp durable.Stamp
	key   ed25519.PrivateKey
}

// load reads every private key of a list of folders and files, separated as in PATH, and says which file each is from.
// Keys under a passphrase are left out when nobody can unlock them.
func (f keyFolder) load(list string, unlock Unlock) (keyring, map[string]string, error) {
	ring, files := keyring{}, map[string]string{}
	for _, place := range filepath.SplitList(list) {
		names, err := keyFiles(place)
		if err != nil {
			return nil, nil, fmt.Errorf("read keys: %w", err)
		}
		for _, name := range names {
			key, err := f.key(name, unlock)
			if errors.Is(err, ErrLocked) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			id := registry.KeyID(key.Public().(ed25519.PublicKey))
			ring[id], files[id] = key, name
		}
	}
	return ring, files, nil
}

func (f keyFolder) key(name string, unlock Unlock) (ed25519.PrivateKey, error) {
	stamp, err := durable.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if held, ok := f[name]; ok && held.stamp.Same(stamp) {
		return held.key, nil
	}
	key, err := LoadKey(name, unlock)
	if err == nil {
		f[name] = heldKey{stamp, key}
	}
	return key, err
}
