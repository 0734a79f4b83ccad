package server

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// Node is a machine whose receipts and reviews a registry that runs alone counts. One inside of picketd asks that
// instead, which knows its agents.
type Node struct {
	Name  string    `json:"name"`
	Key   string    `json:"key"` // Ed25519 public key, hexadecimal
	Added time.Time `json:"added"`
}

const (
	nodesFile = "nodes.json"
	maxNodes  = 8 << 20 // bytes
)

// ReadNodes lists the nodes that a registry's folder knows.
func ReadNodes(dir string) ([]Node, error) {
	data, err := durable.ReadFile(filepath.Join(dir, folder, nodesFile), maxNodes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	var nodes []Node
	if err := json.Unmarshal(data, &nodes); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, folder, nodesFile), err)
	}
	return nodes, nil
}

// WriteNodes replaces the list of nodes.
func WriteNodes(dir string, nodes []Node) error {
	for i, n := range nodes {
		if _, err := registry.ParsePublicKey(n.Key); err != nil {
			return fmt.Errorf("node %q: %w", n.Name, err)
		}
		if n.Name == "" || len(n.Name) > 100 {
			return fmt.Errorf("a node's name has between 1 and 100 bytes")
		}
		if j := slices.IndexFunc(nodes[:i], func(o Node) bool { return o.Name == n.Name || o.Key == n.Key }); j >= 0 {
			return fmt.Errorf("node %q has the name or the key of %q", n.Name, nodes[j].Name)
		}
	}
	data, err := json.MarshalIndent(nodes, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, folder, nodesFile), append(data, '\n'), 0o600)
}

// NodesOf returns a Config.Nodes that looks into the folder's list, and sees it change.
func NodesOf(dir string) func(keyID string) (ed25519.PublicKey, bool) {
	var mu sync.Mutex
	var known map[string]ed25519.PublicKey
	var at durable.Stamp
	return func(keyID string) (ed25519.PublicKey, bool) {
		mu.Lock()
		defer mu.Unlock()
		now, err := durable.Stat(filepath.Join(dir, folder, nodesFile))
		if err != nil {
			return nil, false
		}
		if !now.Same(at) {
			nodes, err := ReadNodes(dir)
			if err != nil {
				return nil, false
			}
			known, at = map[string]ed25519.PublicKey{}, now
			for _, n := range nodes {
				if key, err := hex.DecodeString(n.Key); err == nil && len(key) == ed25519.PublicKeySize {
					known[registry.KeyID(key)] = key
				}
			}
		}
		key, ok := known[keyID]
		return key, ok
	}
}
