package publish

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// oldIndex returns the lines of the present index, by plugin, if it is ours and describes the present state.
func (p *Publisher) oldIndex(snapshot int64) (map[string][]byte, error) {
	data, err := durable.ReadFile(p.path(registry.IndexPath), registry.MaxIndex)
	if err != nil {
		return nil, err
	}
	keys, threshold, err := p.state.indexKeys()
	if err != nil {
		return nil, err
	}
	index, err := registry.OpenIndex(data, keys, threshold)
	if err != nil {
		return nil, err
	}
	head, err := parseIndexHead(index)
	if err == nil {
		err = p.fits(head, snapshot)
	}
	if err != nil {
		return nil, err
	}
	lines, err := registry.SplitIndex(index)
	if err != nil {
		return nil, err
	}
	byID := make(map[string][]byte, len(lines))
	for _, line := range lines {
		id, err := registry.IndexLineID(line)
		if err != nil {
			return nil, err
		}
		byID[id] = line
	}
	return byID, nil
}

// verifyIndex reports why nodes will not use the index. A registry need not have one.
func (p *Publisher) verifyIndex() error {
	data, err := durable.ReadFile(p.path(registry.IndexPath), registry.MaxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	keys, threshold, err := p.state.indexKeys()
	if err != nil {
		return err
	}
	x, err := registry.ParseIndex(data, keys, threshold)
	if err != nil {
		return err
	}
	return p.fits(*x, p.state.snapshot.Signed.Version)
}

// indexKeys are the keys that sign the index: those of the snapshot.
func (s *state) indexKeys() ([]ed25519.PublicKey, int, error) {
	r := s.root.Signed.Roles[metadata.SNAPSHOT]
	keys, err := tufrules.PublicKeys(s.root.Signed.Keys, r.KeyIDs)
	return keys, r.Threshold, err
}

// fits reports why an index does not describe a state of this registry.
func (p *Publisher) fits(head registry.Index, snapshot int64) error {
	root, err := p.anchorSHA256()
	if err == nil && (head.RootSHA256 != root || head.Snapshot != snapshot) {
		err = fmt.Errorf("it describes snapshot %d of the registry %s", head.Snapshot, ShortIDs([]string{head.RootSHA256})[0])
	}
	return err
}

// maxIndexHead is more than the first line of an index has.
const maxIndexHead = 1 << 10

// indexHead reads what an index says before its first plugin.
func indexHead(file string) (registry.Index, error) {
	f, err := os.Open(file)
	if err != nil {
		return registry.Index{}, err
	}
	defer f.Close()
	start := make([]byte, maxIndexHead)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return registry.Index{}, err
	}
	return parseIndexHead(bytes.TrimPrefix(start[:n], []byte(`{"index":`)))
}

func parseIndexHead(index []byte) (head registry.Index, err error) {
	line, _, _ := bytes.Cut(index, []byte("\n"))
	err = json.Unmarshal(slices.Concat(line, []byte("]}")), &head)
	return head, err
}

func namespaceOf(id string) string {
	ns, _, _ := strings.Cut(id, "/")
	return ns
}

func namespaceOfRole(role string) string {
	if role == tufrules.RoleOfficial {
		return "picket"
	}
	return strings.TrimPrefix(role, tufrules.RoleNamespacePrefix)
}
