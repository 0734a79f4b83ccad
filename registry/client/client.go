// Package client is a node's side of the registry: an address and a pinned root of trust go in, verified bytes come
// out. It keeps what it has seen (Dir), so that an older state of the registry is refused, and it starts what is
// installed without asking anybody.
//
// go-tuf does the verification of metadata; this package keeps it on a short lead: an own fetcher with deadlines and
// size limits, metadata checked for our own rules before go-tuf sees it, a fresh Updater for each refresh under a lock,
// and durable writes. Every no is a *registry.Refusal.
package client

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Config says where the registry is and whom to trust. Exactly one of RootSHA256, RootFile and Root names the root of
// trust; once pinned in Dir it cannot change.
type Config struct {
	Dir  string // this node's own state, created with mode 0700
	Base string // http(s)://host/path, file:///path, or a folder

	RootSHA256 string // of the root.json to fetch and pin, as an enrolment token carries it
	RootFile   string // a root.json on this machine
	Root       []byte // a root.json built into the program

	AllowDevelopment bool // accept a root that is marked as development trust
	Release          bool // this is a distributed build: refuse a development root whatever AllowDevelopment says

	HTTP    *http.Client     // nil: an own client with short timeouts
	Timeout time.Duration    // for one metadata file or descriptor; default 30 s
	Now     func() time.Time // nil: time.Now
}

// Release is one version of a plugin that the registry offers.
type Release struct {
	ID         string
	Version    string
	Role       string // who vouches for it
	Digest     string // of the descriptor
	Descriptor *registry.Descriptor
	Revoked    *registry.Revocation // set when it must not run
}

// Verified is a release that passed every check just now.
type Verified struct {
	ID         string
	Version    string
	Role       string
	KeyIDs     []string
	Digest     string
	Descriptor *registry.Descriptor
}

// Installed is a plugin that plugins.lock pins on this node.
type Installed struct {
	registry.Locked
	Descriptor *registry.Descriptor
	Runtimes   []string // those whose bytes for this platform are on disk
}

// Artifact is something that may run: File holds exactly the bytes whose digest was verified, sealed against change.
type Artifact struct {
	ID         string
	Version    string
	Runtime    string
	Digest     string
	Size       int64
	File       *os.File // read-only, at offset 0; the caller closes it
	Descriptor *registry.Descriptor
	Locked     registry.Locked
}

// Close releases the file.
func (a *Artifact) Close() error { return a.File.Close() }

// Status is what the client knows about the registry, for pages and `explain`.
type Status struct {
	Base        string
	RootSHA256  string    // the pinned root
	RootVersion int64     // the newest root in its chain; 0 before the first refresh of a node that pinned by digest
	Trust       string    // "development" or "release"
	Refreshed   time.Time // the last successful refresh, zero when never
	Expires     time.Time // when what is known becomes too old to install from
	Revocations int
}

var _ = sdk.Protocol
var _ context.Context
