package publish

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/picketwatch/picket/registry/internal/durable"
)

const (
	keyBlock       = "PRIVATE KEY" // PKCS #8
	encryptedBlock = "PICKET ENCRYPTED PRIVATE KEY"
	publicBlock    = "PUBLIC KEY" // PKIX
	keyExt         = ".pem"
	publicExt      = ".pub"
	maxKey         = 4 << 10
)

// Unlock returns the passphrase of a key file. Without one, keys under a passphrase count as not at hand.
type Unlock func(path string) ([]byte, error)

// keyring holds the private keys that are at hand, by key id. File names are for people; a key is found by its id.
type keyring map[string]ed25519.PrivateKey

// NewKey makes a key, keeps it in path with mode 0600 and its public half beside it, with the ending .pub. A passphrase
// encrypts the private half; without one, whoever reads the file has the key.
func NewKey(path string, passphrase []byte) (ed25519.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := sealKey(private, passphrase)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("key %s exists already; move it away or choose another name", path)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	pub := pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der})
	return public, durable.WriteFile(strings.TrimSuffix(path, keyExt)+publicExt, pub, 0o644)
}

// newKey makes a key of a ceremony.
func newKey(dir, name string) (*metadata.Key, error) {
	public, err := NewKey(filepath.Join(dir, name+keyExt), nil)
	if err != nil {
		return nil, err
	}
	return metadata.KeyFromPublicKey(public)
}

// The cost of guessing a passphrase: about a third of a second and 128 MB for each guess.
const (
	argonTime   = 3
	argonMemory = 128 << 10 // KiB
	keyDomain   = "picket key/1"
	saltSize    = 16
)

func sealKey(private ed25519.PrivateKey, passphrase []byte) (*pem.Block, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil || len(passphrase) == 0 {
		return &pem.Block{Type: keyBlock, Bytes: der}, err
	}
	random := make([]byte, saltSize+chacha20poly1305.NonceSizeX)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	salt, nonce := random[:saltSize], random[saltSize:]
	aead, err := passphraseCipher(passphrase, salt)
	if err != nil {
		return nil, err
	}
	return &pem.Block{
		Type: encryptedBlock, Headers: map[string]string{"KDF": "argon2id 3 131072 1", "Salt": hex.EncodeToString(salt)},
		Bytes: aead.Seal(nonce, nonce, der, []byte(keyDomain)),
	}, nil
}

func passphraseCipher(passphrase, salt []byte) (cipherAEAD, error) {
	return chacha20poly1305.NewX(argon2.IDKey(passphrase, salt, argonTime, argonMemory, 1, chacha20poly1305.KeySize))
}

type cipherAEAD interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

// ErrLocked says that a key needs a passphrase that nobody gave. An Unlock returns it when nobody is there to ask.
var ErrLocked = errors.New("the key is under a passphrase")

func openKey(block *pem.Block, path string, unlock Unlock) ([]byte, error) {
	switch {
	case block.Type == keyBlock:
		return block.Bytes, nil
	case block.Type != encryptedBlock:
		return nil, fmt.Errorf("not a PEM block of type %s or %s", keyBlock, encryptedBlock)
	case unlock == nil:
		return nil, ErrLocked
	}
	salt, err := hex.DecodeString(block.Headers["Salt"])
	if err != nil || len(salt) != saltSize || block.Headers["KDF"] != "argon2id 3 131072 1" || len(block.Bytes) < chacha20poly1305.NonceSizeX {
		return nil, errors.New("it was encrypted in a way that this build does not know")
	}
	passphrase, err := unlock(path)
	if err != nil {
		return nil, err
	}
	aead, err := passphraseCipher(passphrase, salt)
	if err != nil {
		return nil, err
	}
	der, err := aead.Open(nil, block.Bytes[:chacha20poly1305.NonceSizeX], block.Bytes[chacha20poly1305.NonceSizeX:], []byte(keyDomain))
	if err != nil {
		return nil, errors.New("the passphrase is wrong, or the file was changed")
	}
	return der, nil
}

// loadKeys reads every private key of a list of folders and files, separated as in PATH.
func loadKeys(list string, unlock Unlock) (keyring, error) {
	ring, _, err := keyFolder{}.load(list, unlock)
	return ring, err
}

func keyFiles(place string) ([]string, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{place}, nil
	}
	entries, err := os.ReadDir(place)
	var names []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), keyExt) {
			names = append(names, filepath.Join(place, e.Name()))
		}
	}
	return names, err
}

// LoadKey reads a private key. One that others may read is refused.
func LoadKey(path string, unlock Unlock) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key %s: others may read it (mode %o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := durable.ReadFile(path, maxKey)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("read key %s: not a PEM file", path)
	}
	der, err := openKey(block, path, unlock)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read key %s: not an ed25519 key", path)
	}
	return private, nil
}

// LoadPublicKey reads the public half that NewKey wrote.
func LoadPublicKey(path string) (ed25519.PublicKey, error) {
	data, err := durable.ReadFile(path, maxKey)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != publicBlock {
		return nil, fmt.Errorf("read public key %s: not a PEM block of type %s", path, publicBlock)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read public key %s: %w", path, err)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("read public key %s: not an ed25519 key", path)
	}
	return public, nil
}

// publicKey returns the public half of a key file.
func publicKey(path string) (*metadata.Key, error) {
	private, err := LoadKey(path, nil)
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

// sign adds the signatures of those keys that are at hand and have not signed yet.
func sign[T metadata.Roles](r keyring, role string, m *metadata.Metadata[T], ids []string) error {
	for _, id := range slices.Sorted(slices.Values(ids)) {
		private, ok := r[id]
		if !ok || slices.ContainsFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == id }) {
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
	return fmt.Sprintf("sign %s: needs %d of its keys (%s), which are not all in the key folder",
		e.Role, e.Threshold, strings.Join(ShortIDs(e.KeyIDs), ", "))
}

// ShortIDs shortens key ids for people.
func ShortIDs(ids []string) []string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = id[:min(8, len(id))]
	}
	return short
}
