package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/argon2"
)

// cost of a new hash. A stored hash carries its own, so this can rise.
type cost struct {
	time, memory uint32 // rounds, KiB
}

// usualCost is about 50 ms and 32 MB.
var usualCost = cost{time: 3, memory: 32 * 1024}

const (
	argonThreads = 1
	argonKey     = 32
	argonSalt    = 16

	maxWaiting  = 32 // sign-ins that may wait for a hasher
	minPassword = 10
	maxPassword = 1024
)

// hasher runs argon2id for a few passwords at a time, because each takes memory that an attacker would like to multiply.
type hasher struct {
	slots   chan struct{}
	waiting chan struct{}
	rand    io.Reader
	cost    cost
	decoy   string // checked when there is no such user, so that the answer takes as long
}

func newHasher(slots int, random io.Reader, c cost) (*hasher, error) {
	h := &hasher{slots: make(chan struct{}, slots), waiting: make(chan struct{}, slots+maxWaiting), rand: random, cost: c}
	// No password has to fit it, so that what takes long to compute can be random: a start needs neither the time nor the memory.
	noise := make([]byte, argonSalt+argonKey)
	if _, err := io.ReadFull(random, noise); err != nil {
		return nil, fmt.Errorf("make salt: %w", err)
	}
	h.decoy = h.cost.phc(noise[:argonSalt], noise[argonSalt:])
	return h, nil
}

func (h *hasher) acquire(ctx context.Context) (release func(), err error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, ctx.Err()
	}
}

// hash returns the password's argon2id hash in PHC format.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	salt := make([]byte, argonSalt)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("make salt: %w", err)
	}
	key := argon2.IDKey([]byte(password), salt, h.cost.time, h.cost.memory, argonThreads, argonKey)
	return h.cost.phc(salt, key), nil
}

// phc is a hash in PHC format.
func (c cost) phc(salt, key []byte) string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.time, argonThreads,
		enc.EncodeToString(salt), enc.EncodeToString(key))
}

// verify reports whether the password fits the hash. An empty hash, of a user without a password, fits nothing but
// takes as long as any other.
func (h *hasher) verify(ctx context.Context, password, hash string) (bool, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	real := hash != ""
	if !real {
		hash = h.decoy
	}
	p, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	key := argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, uint32(len(p.key)))
	return subtle.ConstantTimeCompare(key, p.key) == 1 && real, nil
}

type phc struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

func parsePHC(text string) (phc, error) {
	bad := errors.New("stored password hash is damaged")
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, bad
	}
	var p phc
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); n != 3 || err != nil {
		return phc{}, bad
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	p.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	// The bounds keep a damaged file from asking for gigabytes.
	if err1 != nil || err2 != nil || p.threads == 0 || p.time == 0 || p.time > 100 || p.memory > 4<<20 ||
		len(p.key) < 16 || len(p.key) > 128 || len(p.salt) < 8 {
		return phc{}, bad
	}
	return p, nil
}

func checkPassword(username, password string) error {
	switch {
	case len(password) < minPassword:
		return &InputError{"password", fmt.Sprintf("must have at least %d characters", minPassword)}
	case len(password) > maxPassword:
		return &InputError{"password", fmt.Sprintf("must have at most %d bytes", maxPassword)}
	case strings.EqualFold(password, username):
		return &InputError{"password", "must not be the user name"}
	}
	return nil
}

// normalUsername is how user names are stored and compared.
func normalUsername(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func checkUsername(name string) error {
	if len(name) < 1 || len(name) > 64 {
		return &InputError{"username", "must have 1 to 64 characters"}
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-@+", r) {
			return &InputError{"username", "may hold letters, digits and . _ - @ +"}
		}
	}
	return nil
}
