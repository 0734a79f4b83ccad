package publish

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry/internal/durable"
)

const (
	keyBlock = "PRIVATE KEY" // PKCS #8
	keyExt   = ".pem"
	maxKey   = 4 << 10
)

// keyring holds the private keys that are at hand, by key id. File names are for people; a key is found by its id.
type keyring map[string]ed25519.PrivateKey

// newKey makes a key and keeps it in dir.
func newKey(dir, name string) (*metadata.Key, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+keyExt)
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("key %s exists already; move it away or choose another folder", path)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})
	if err := durable.WriteFile(path, block, 0o600); err != nil {
		return nil, err
	}
	return metadata.KeyFromPublicKey(public)
}

// loadKeys reads every private key of a folder.
func loadKeys(dir string) (keyring, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	ring := keyring{}
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), keyExt) {
			continue
		}
		id, private, err := loadKey(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		ring[id] = private
	}
	return ring, nil
}

func loadKey(path string) (id string, private ed25519.PrivateKey, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, fmt.Errorf("read key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", nil, fmt.Errorf("read key %s: others may read it (mode %o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := durable.ReadFile(path, maxKey)
	if err != nil {
		return "", nil, fmt.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != keyBlock {
		return "", nil, fmt.Errorf("read key %s: not a PEM block of type %s", path, keyBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", nil, fmt.Errorf("read key %s: %w", path, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return "", nil, fmt.Errorf("read key %s: not an ed25519 key", path)
	}
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return "", nil, fmt.Errorf("read key %s: %w", path, err)
	}
	id, err = key.ID()
	return id, private, err
}

// publicKey returns the public half of a key file.
func publicKey(path string) (*metadata.Key, error) {
	_, private, err := loadKey(path)
	if err != nil {
		return nil, err
	}
	return metadata.KeyFromPublicKey(private.Public())
}

// has reports whether the ring can reach the threshold of a role.
func (r keyring) has(ids []string, threshold int) bool {
	n := 0
	for _, id := range ids {
		if _, ok := r[id]; ok {
			n++
		}
	}
	return n >= threshold
}

// sign replaces the signatures of m by those of the role's keys that are at hand.
func sign[T metadata.Roles](r keyring, role string, m *metadata.Metadata[T], ids []string, threshold int) error {
	if !r.has(ids, threshold) {
		return &MissingKeysError{Role: role, Threshold: threshold, KeyIDs: ids}
	}
	m.ClearSignatures()
	for _, id := range slices.Sorted(slices.Values(ids)) {
		private, ok := r[id]
		if !ok {
			continue
		}
		signer, err := signature.LoadED25519Signer(private)
		if err != nil {
			return fmt.Errorf("sign %s: %w", role, err)
		}
		if _, err := m.Sign(signer); err != nil {
			return fmt.Errorf("sign %s: %w", role, err)
		}
	}
	return nil
}

// MissingKeysError says that a role cannot be signed with the keys at hand.
type MissingKeysError struct {
	Role      string
	Threshold int
	KeyIDs    []string
}

func (e *MissingKeysError) Error() string {
	short := make([]string, len(e.KeyIDs))
	for i, id := range e.KeyIDs {
		short[i] = id[:min(8, len(id))]
	}
	return fmt.Sprintf("sign %s: needs %d of its keys (%s), which are not all in the key folder",
		e.Role, e.Threshold, strings.Join(short, ", "))
}
