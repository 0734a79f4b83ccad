package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/token"
	"github.com/picketwatch/picket/core/kernel/config"
)

// Identity is who this agent is to its server. It is made at enrolment and kept in identity.json, for its owner's eyes
// alone.
type Identity struct {
	AgentID    string    `json:"agent_id"`
	Name       string    `json:"name"`
	Server     string    `json:"server"`
	Bearer     string    `json:"bearer"`
	PrivateKey []byte    `json:"private_key"` // Ed25519 seed
	CommandKey []byte    `json:"command_key"` // the server's, pinned
	Registry   string    `json:"registry"`    // below Server, or a URL of its own
	RootSHA256 string    `json:"root_sha256"` // of the registry's root.json, pinned
	Enrolled   time.Time `json:"enrolled_at"`
}

func (id Identity) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(id.PrivateKey) }

func (id Identity) check() error {
	switch {
	case id.AgentID == "" || id.Bearer == "":
		return errors.New("no agent id or bearer token")
	case len(id.PrivateKey) != ed25519.SeedSize:
		return errors.New("no private key")
	case len(id.CommandKey) != ed25519.PublicKeySize:
		return errors.New("no command key")
	}
	_, err := serverURL(id.Server)
	return err
}

// registryURL is where the plugins come from.
func (id Identity) registryURL() (string, error) {
	base, err := serverURL(id.Server)
	if err != nil {
		return "", err
	}
	ref, err := url.Parse(id.Registry)
	if err != nil {
		return "", fmt.Errorf("registry address %q: %w", id.Registry, err)
	}
	if ref.IsAbs() {
		return ref.String(), nil
	}
	return base.JoinPath(ref.Path).String(), nil
}

func serverURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("server %q is not an address such as https://picket.example:8443", text)
	}
	return u, nil
}

// secureEnough refuses to speak in the clear to another machine: the bearer token, what was measured and the secrets of
// plugins would be there for everybody on the way.
func secureEnough(u *url.URL, insecure bool) error {
	if u.Scheme == "https" || insecure || isLoopback(u.Hostname()) {
		return nil
	}
	return &UsageError{fmt.Sprintf("the server %s would be spoken to without encryption: give picketd tls_cert and tls_key and use https "+
		"(ca_file or --ca names the certificate of a private authority), or accept it with --insecure-http", u)}
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// UsageError is a mistake in how the program was called.
type UsageError struct{ Message string }

func (e *UsageError) Error() string { return e.Message }

// Enrolment is what is needed to become an agent of a server.
type Enrolment struct {
	Server   string // optional, overrides the one in the token
	Token    string
	RootFile string // a root.json on this machine, instead of the hash in the token
	Name     string // optional, default the host name
}

// identify returns the identity of the data folder, and enrols first when there is none.
func identify(ctx context.Context, cfg Config, client *http.Client) (id Identity, enrolled bool, err error) {
	path := filepath.Join(cfg.Dir, "identity.json")
	err = loadJSON(path, &id)
	switch {
	case err == nil:
		if err := id.check(); err != nil {
			return Identity{}, false, fmt.Errorf("%s is damaged: %w; restore it, or remove it and enrol anew", path, err)
		}
		return id, false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return Identity{}, false, fmt.Errorf("read this agent's identity: %w", err)
	}
	if cfg.Enrolment.Token == "" {
		return Identity{}, false, &UsageError{"this machine is not enrolled yet: start it once with --server URL --token TOKEN (the server's page Machines makes a token)"}
	}
	id, err = enrol(ctx, cfg, client)
	if err != nil {
		return Identity{}, false, err
	}
	if err := saveJSON(path, id); err != nil {
		return Identity{}, false, fmt.Errorf("keep this agent's identity: %w; the token is spent, make a new one", err)
	}
	return id, true, nil
}

// enrol spends the token.
func enrol(ctx context.Context, cfg Config, client *http.Client) (Identity, error) {
	e := cfg.Enrolment
	t, err := token.Parse(e.Token)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Name: e.Name, Server: strings.TrimRight(t.Server, "/"), RootSHA256: t.RootSHA256}
	if e.Server != "" {
		id.Server = strings.TrimRight(e.Server, "/")
	}
	if id.Name == "" {
		if id.Name, err = os.Hostname(); err != nil {
			return Identity{}, fmt.Errorf("find the name of this machine: %w; give one with --name", err)
		}
	}
	if err := id.pinRoot(cfg.Dir, e.RootFile); err != nil {
		return Identity{}, err
	}
	base, err := serverURL(id.Server)
	if err != nil {
		return Identity{}, &UsageError{err.Error()}
	}
	if err := secureEnough(base, cfg.InsecureHTTP); err != nil {
		return Identity{}, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("make a key: %w", err)
	}
	id.PrivateKey = private.Seed()

	// The server gets the secret of the token, not the token: it needs to know no more than that.
	var reply struct {
		AgentID    string `json:"agent_id"`
		Bearer     string `json:"bearer"`
		CommandKey []byte `json:"command_key"`
		Registry   string `json:"registry"`
	}
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	s := &server{base: base, http: client, now: cfg.Now}
	err = s.call(ctx, http.MethodPost, "/api/v1/enrol", nil, map[string]any{
		"token": t.Secret, "name": id.Name, "public_key": []byte(public),
		"os": runtime.GOOS, "arch": runtime.GOARCH, "version": config.Version,
	}, &reply)
	if err != nil {
		return Identity{}, enrolError(id.Server, err)
	}
	id.AgentID, id.Bearer, id.CommandKey, id.Registry = reply.AgentID, reply.Bearer, reply.CommandKey, reply.Registry
	id.Enrolled = cfg.Now().UTC()
	if err := id.check(); err != nil {
		return Identity{}, fmt.Errorf("enrol at %s: the server's answer is not complete: %w", id.Server, err)
	}
	return id, nil
}

const enrolTimeout = 30 * time.Second

// pinRoot decides on the root of trust before the server says anything.
func (id *Identity) pinRoot(dir, file string) error {
	if file == "" && id.RootSHA256 == "" {
		return &UsageError{"the token names no root of trust: give the registry's root.json with --root FILE"}
	}
	if file == "" {
		return nil
	}
	root, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the root of trust: %w", err)
	}
	sum := sha256.Sum256(root)
	if got := hex.EncodeToString(sum[:]); id.RootSHA256 != "" && got != id.RootSHA256 {
		return fmt.Errorf("the root of trust in %s (SHA-256 %s) is not the one that the token names (%s)", file, got, id.RootSHA256)
	}
	id.RootSHA256 = ""
	return os.WriteFile(filepath.Join(dir, rootFile), root, 0o600)
}

// rootFile keeps a root of trust that was handed over as a file.
const rootFile = "root.json"

func enrolError(server string, err error) error {
	var p *problem
	if !errors.As(err, &p) {
		return fmt.Errorf("cannot reach the server at %s: %w; check the address and that picketd runs there", server, reach(err))
	}
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict, http.StatusGone:
		return fmt.Errorf("the server at %s does not accept the token: %s", server, p.text())
	case http.StatusNotFound:
		return fmt.Errorf("%s answers, but is no picketd of this version: %s", server, p.text())
	}
	return fmt.Errorf("enrol at %s: %w", server, p)
}
