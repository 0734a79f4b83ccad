package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sealer encrypts secrets at rest with AES-256-GCM. Where a secret belongs is authenticated with it, so that a sealed
// secret cannot be moved to another row.
type sealer struct {
	aead cipher.AEAD
	id   string // says which key it is without telling the key
	mark []byte // key of marks on what need not be secret but must not be made up
}

// openSealer reads the key file, making it when absent.
func openSealer(keyFile, dataDir string) (*sealer, error) {
	if keyFile == "" {
		return nil, errors.New("no key file for secrets is configured")
	}
	if inside(keyFile, dataDir) {
		return nil, fmt.Errorf("key file %s lies inside the data folder %s, so a copy of the folder would hold both lock and key; "+
			"move it elsewhere", keyFile, dataDir)
	}
	key, err := readKey(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = createKey(keyFile)
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", keyFile, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", keyFile, err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("picket secret key id"))
	mark := hmac.New(sha256.New, key)
	mark.Write([]byte("picket mark key"))
	return &sealer{aead: aead, id: hex.EncodeToString(mac.Sum(nil)[:8]), mark: mark.Sum(nil)}, nil
}

func inside(path, dir string) bool {
	p, err1 := filepath.Abs(path)
	d, err2 := filepath.Abs(dir)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(d, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s can be read by others (mode %04o); run chmod 600 on it", path, info.Mode().Perm())
	}
	key, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("key file %s does not hold 32 bytes in hex; restore it from where you keep your keys", path)
	}
	return key, nil
}

// createKey links the finished file into place, so that neither a crash nor a second process leaves a half or a
// replaced key.
func createKey(path string) ([]byte, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	err = os.Link(f.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		return readKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	return key, nil
}

func (s *sealer) seal(secrets map[string]string, place string) ([]byte, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	plain, err := json.Marshal(secrets)
	if err != nil {
		return nil, fmt.Errorf("seal secrets: %w", err)
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("seal secrets: %w", err)
	}
	return s.aead.Seal(nonce, nonce, plain, []byte(place)), nil
}

func (s *sealer) open(sealed []byte, place string) (map[string]string, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("open secrets: stored value is damaged")
	}
	plain, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(place))
	if err != nil {
		return nil, errors.New("open secrets: stored value does not fit the key")
	}
	var secrets map[string]string
	if err := json.Unmarshal(plain, &secrets); err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	return secrets, nil
}
