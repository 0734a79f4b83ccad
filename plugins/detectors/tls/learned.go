package tls

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
)

// Limits of what is remembered.
const (
	maxFingerprints = 8192
	maxTorClients   = 1024
)

// memory is what is remembered of clients and servers, within bounds.
type memory struct {
	issues    issue.Table
	servers   recent.Table[uint64, *shown]
	begun     int64 // time of the first handshake
	clients   []bare.Addr
	prints    map[uint64]*fingerprint
	guards    recent.Table[bare.Addr, *guards]
	forgotten uint64
}

func newMemory(cfg *Config) memory {
	return memory{
		issues: issue.New(cfg.MaxFindings), servers: recent.New[uint64, *shown](cfg.MaxServers),
		prints: map[uint64]*fingerprint{}, guards: recent.New[bare.Addr, *guards](maxTorClients),
	}
}

// offset begins FNV-1a, which is the same everywhere.
const offset = uint64(14695981039346656037)

func hash[T string | []byte](h uint64, b T) uint64 {
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	return h
}

// shown is the last certificate of a server, and the one before.
type shown struct {
	key, leaf, before, subject uint64
	until                      int64 // it is valid
	self                       bool
}

// Signs of a certificate that changed.
const (
	noAuthority uint32 = 1 << iota // an authority vouched for the one before
	anotherKey                     // the server vouches for itself, as before
)

// left is for how long the one before must be valid still: whoever renews a certificate does so towards the end.
const left = int64(30 * 24 * time.Hour)

// changed remembers the certificate of a server by the name that was asked for, and reports whether it is one that a server would
// not change to by itself. Servers that show two of them in turns change nothing.
func (m *memory) changed(h *handshake) uint32 {
	addr := bare.Of(h.Server)
	k := hash(hash(hash(offset, addr[:]), []byte{byte(h.ServerPort >> 8), byte(h.ServerPort)}), h.ServerName)
	var sum [8]byte
	if _, err := hex.Decode(sum[:], []byte(h.Chain[0][:min(len(h.Chain[0]), 2*len(sum))])); err != nil {
		return 0
	}
	leaf := binary.BigEndian.Uint64(sum[:])
	s, known := m.servers.Get(k)
	if known && (leaf == s.leaf || leaf == s.before) {
		return 0
	}
	if !known {
		if old, full := m.servers.Crowded(); full {
			m.servers.Forget(old.key)
		}
		s = &shown{key: k}
		m.servers.Put(k, s)
	}
	was := *s
	s.leaf, s.before, s.subject, s.self, s.until = leaf, was.leaf, hash(offset, h.Subject), h.SelfSigned, 0
	if !h.NotAfter.IsZero() {
		s.until = h.NotAfter.UnixNano()
	}
	switch {
	case !known || was.until-h.Time.UnixNano() < left || !h.SelfSigned || h.outside && h.ServerName == "":
		return 0
	case !was.self:
		return noAuthority
	case was.subject == s.subject:
		return anotherKey
	}
	return 0
}

// fingerprint is how some clients say hello.
type fingerprint struct {
	key    uint64
	client bare.Addr // the only one that does, if there is but one
	many   bool
	count  uint32
}

const (
	often       = 10 // a rare client must say hello before it is told
	enoughHosts = 5  // must have been seen while fingerprints were learned
)

// rare remembers how a client says hello, and reports whether it is the only one of the network to do so.
func (m *memory) rare(h *handshake, client bare.Addr, learn int64) bool {
	if len(h.JA4) == 0 || h.Version == 0 {
		return false
	}
	at := h.Time.UnixNano()
	if m.begun == 0 {
		m.begun = at
	}
	learning := at-m.begun < learn
	if learning && len(m.clients) < enoughHosts && !slices.Contains(m.clients, client) {
		m.clients = append(m.clients, client)
	}
	k := hash(offset, h.JA4)
	f := m.prints[k]
	switch {
	case f == nil && len(m.prints) >= maxFingerprints:
		m.forgotten++
		return false
	case f == nil:
		m.prints[k] = &fingerprint{key: k, client: client, many: learning, count: 1}
		return false
	case f.many:
		return false
	case f.client != client:
		f.many = true
		return false
	}
	f.count = min(f.count+1, often+1)
	return f.count == often && len(m.clients) >= enoughHosts
}

// printsInOrder are the fingerprints in an order that is always the same.
func (m *memory) printsInOrder() []*fingerprint {
	out := make([]*fingerprint, 0, len(m.prints))
	for _, f := range m.prints {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *fingerprint) int { return cmp.Compare(a.key, b.key) })
	return out
}

// guards are servers of Tor, perhaps, that a client has met.
type guards struct {
	client  bare.Addr
	servers []bare.Addr
}

// Signs of Tor.
const (
	torCertificate uint32 = 1 << iota
	torNames
)

// enoughGuards with names of chance are none.
const enoughGuards = 3

// tor knows the certificates that relays of Tor make, and clients that ask several servers for names made by chance. Since
// TLS 1.3 the certificates are hidden.
func (m *memory) tor(h *handshake, client bare.Addr) uint32 {
	if !h.outside || h.Protocol != "tls" || len(h.ALPNs) > 0 {
		return 0
	}
	if h.certified && len(h.Names) == 0 {
		subject, of := strings.CutPrefix(h.Subject, "CN=")
		issuer, by := strings.CutPrefix(h.Issuer, "CN=")
		if of && by && chance(subject, ".net") && chance(issuer, ".com") {
			return torCertificate
		}
	}
	if !chance(h.ServerName, ".com") || !unspeakable(h.ServerName) {
		return 0
	}
	g, known := m.guards.Get(client)
	if !known {
		if old, full := m.guards.Crowded(); full {
			m.guards.Forget(old.client)
		}
		g = &guards{client: client}
		m.guards.Put(client, g)
	}
	if server := bare.Of(h.Server); len(g.servers) < enoughGuards && !slices.Contains(g.servers, server) {
		g.servers = append(g.servers, server)
	}
	if len(g.servers) < enoughGuards {
		return 0
	}
	return torNames
}

// chance reports whether a name has the form of those that Tor makes: www, 8 to 20 letters of base 32, an ending.
func chance(name, ending string) bool {
	label, found := strings.CutPrefix(name, "www.")
	label, ends := strings.CutSuffix(label, ending)
	if !found || !ends || len(label) < 8 || len(label) > 20 {
		return false
	}
	for i := range len(label) {
		if c := label[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// unspeakable reports whether a name has a digit within letters or five consonants together, as nearly all names by chance do and
// few others.
func unspeakable(name string) bool {
	run := 0
	label := name[len("www."):strings.LastIndexByte(name, '.')]
	for i := range len(label) {
		c := label[i]
		if c <= '9' && i > 0 && i < len(label)-1 && label[i-1] > '9' && label[i+1] > '9' {
			return true
		}
		run++
		if strings.IndexByte("aeiouy", c) >= 0 {
			run = 0
		}
		if run == 5 {
			return true
		}
	}
	return false
}
