// Package receipts tells a registry what a node has: one signed statement for each release that was installed or removed
// since the last one that the registry took. What is installed goes in, and what was told before, from a file; whatever
// differs is told again and again until it is taken.
package receipts

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

// Registry is the node's registry client.
type Registry interface {
	AllInstalled() []*client.Installed
	Status() client.Status
}

// Teller tells. It is not safe for concurrent use.
type Teller struct {
	File     string // what was told
	Key      ed25519.PrivateKey
	Registry Registry
	Send     func(ctx context.Context, r *registry.Receipt) error
	Now      func() time.Time
}

// told is a release that the registry knows this node to have.
type told struct {
	Version    string `json:"version"`
	Descriptor string `json:"descriptor"`
}

// maxFile bounds what is read back.
const maxFile = 4 << 20

// Tell sends what the registry does not know yet. What it does not take is told again the next time.
func (t *Teller) Tell(ctx context.Context) error {
	root := t.Registry.Status().RootSHA256
	if root == "" {
		return nil
	}
	known, err := t.read()
	if err != nil {
		return err
	}
	have := map[string]told{}
	for _, i := range t.Registry.AllInstalled() {
		if i.Registry == "" { // registries beside the first one do not know this node
			have[i.ID] = told{i.Version, i.Locked.Descriptor}
		}
	}
	var failed error
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if _, ok := have[id]; ok {
			continue
		}
		if err := t.send(ctx, root, id, known[id], registry.ActionRemoved); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		delete(known, id)
		if err := t.write(known); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		if known[id] == have[id] {
			continue
		}
		if err := t.send(ctx, root, id, have[id], registry.ActionInstalled); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		known[id] = have[id]
		if err := t.write(known); err != nil {
			return err
		}
	}
	return failed
}

func (t *Teller) send(ctx context.Context, root, id string, v told, action string) error {
	r := &registry.Receipt{RootSHA256: root, ID: id, Version: v.Version, Descriptor: v.Descriptor, Action: action, Time: t.Now()}
	if err := r.Sign(t.Key); err != nil {
		return fmt.Errorf("receipt for %s: %w", id, err)
	}
	if err := t.Send(ctx, r); err != nil {
		return fmt.Errorf("tell the registry that %s %s was %s: %w", id, v.Version, action, err)
	}
	return nil
}

func (t *Teller) read() (map[string]told, error) {
	out := map[string]told{}
	info, err := os.Stat(t.File)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%s has %d bytes", t.File, info.Size())
	}
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(t.File)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(raw, &out) != nil {
		return map[string]told{}, nil // a registry takes the same receipt twice
	}
	return out, nil
}

func (t *Teller) write(known map[string]told) error {
	raw, err := json.Marshal(known)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(t.File), ".told-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), t.File)
}
