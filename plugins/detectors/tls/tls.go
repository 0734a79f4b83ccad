// Package tls judges encrypted connections without decrypting them.
//
// In go handshakes of TLS, DTLS and QUIC, out come findings: servers that show the certificate a tool for attacks makes by
// default, connections to servers without a name that vouch for themselves, Tor, certificates that change, have expired or are
// for another name, what is too old to protect, and clients like no other of the network. README.md has the reasoning.
//
// The reading path: Inspect asks one rule after the other; tools.go, certificate.go and strength.go read a handshake by itself;
// learned.go compares it with earlier ones; report.go puts it into words.
package tls

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() {
	sdk.Register(Plugin())
}

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	p := sdk.Plugin{
		ID:           "picket/tls",
		Kind:         sdk.KindDetector,
		Summary:      "Judges encrypted connections by what is in the clear, certificates, versions, ciphers and fingerprints.",
		Subscription: sdk.Subscription{Facts: []string{sdk.FactsTLS}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
	for _, r := range rules {
		p.Rules = append(p.Rules, sdk.Rule{ID: r.id, Purpose: r.purpose, Techniques: r.techniques, Severity: r.severity, FalsePositives: []string{r.benign}})
	}
	return p
}

// Config is the operator's configuration.
type Config struct {
	Internal     []string        `json:"internal" format:"cidr" default:"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,fc00::/7,fe80::/10" doc:"Own networks. Servers in them may vouch for themselves."`
	Servers      []string        `json:"servers" format:"cidr" doc:"Servers of which nothing is told."`
	Names        []string        `json:"names" doc:"Names of servers, with all below them, of which nothing is told."`
	Fingerprints []string        `json:"fingerprints" doc:"What is known to be bad: JA3 or JA4 of clients, SHA-256 of certificates."`
	Learn        config.Duration `json:"learn" default:"168h" min:"1m" max:"8760h" doc:"For how long, by the time in the traffic, fingerprints of clients are only remembered before rare ones are told."`
	MaxServers   int             `json:"max_servers" default:"32768" min:"64" max:"1000000" doc:"How many servers are remembered with their certificates; the one quiet for longest is forgotten first."`
	MaxFindings  int             `json:"max_findings" default:"8192" min:"64" max:"100000" doc:"How many findings are remembered to grow; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg               Config
	host              sdk.Host
	internal, servers []netip.Prefix
	bad               map[string]struct{}
	memory            memory
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	for _, list := range []struct {
		texts []string
		into  *[]netip.Prefix
	}{{d.cfg.Internal, &d.internal}, {d.cfg.Servers, &d.servers}} {
		for _, text := range list.texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return sdk.Errorf(sdk.InvalidConfig, "a network: %w", err)
			}
			*list.into = append(*list.into, p.Masked())
		}
	}
	d.bad = map[string]struct{}{}
	for _, text := range d.cfg.Fingerprints {
		d.bad[strings.ToLower(strings.TrimSpace(text))] = struct{}{}
	}
	for i, name := range d.cfg.Names {
		d.cfg.Names[i] = strings.ToLower(strings.Trim(name, "."))
	}
	d.memory = newMemory(&d.cfg)
	return nil
}

func contain(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Inspect takes handshakes one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.TLS {
		r := &batch.TLS[i]
		if !r.Server.IsValid() || contain(d.servers, r.Server) || d.isNamed(r.ServerName) {
			continue
		}
		if err := d.take(r, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (d *Detector) isNamed(server string) bool {
	for _, name := range d.cfg.Names {
		if rest, found := strings.CutSuffix(server, name); found && (rest == "" || rest[len(rest)-1] == '.') {
			return true
		}
	}
	return false
}

// leastLeak is an answer that is too long for a heartbeat that brought next to nothing.
const leastLeak = 64

// skew is by how much clocks may differ.
const skew = 24 * time.Hour

func (d *Detector) take(r *sdk.TLS, sink sdk.FindingSink) error {
	h := handshake{TLS: r, outside: !contain(d.internal, r.Server), certified: len(r.Chain) > 0 && !r.CertificateDamaged}
	tell := func(k issue.Key, signs uint32, name string) error {
		s := issue.Of(&r.Seen)
		s.Signs, s.Name = signs, name
		return d.memory.issues.See(k, &s, func(i *issue.Issue) error { return sink.Finding(d.finding(i)) })
	}
	client, server := bare.Of(r.Client), bare.Of(r.Server)
	pair := func(rule uint8) issue.Key {
		return issue.Key{Rule: rule, Client: client, Server: server, Port: r.ServerPort}
	}
	alone := func(rule uint8) issue.Key { return issue.Key{Rule: rule, Server: server, Port: r.ServerPort} }

	if r.HeartbeatAsked > 0 {
		signs := uint32(0)
		if r.HeartbeatAnswered > leastLeak {
			signs = leaked
		}
		if err := tell(pair(heartbleed), signs, ""); err != nil {
			return err
		}
	}
	if signs := d.listed(r); signs != 0 {
		if err := tell(pair(knownFingerprint), signs, ""); err != nil {
			return err
		}
	}
	if signs := h.strength(); signs != 0 {
		k := alone(outdated)
		if r.Offered != 0 && older(r.Offered) && older(r.Version) {
			k = issue.Key{Rule: outdatedClient, Client: client}
		}
		if err := tell(k, signs|h.place(), ""); err != nil {
			return err
		}
	}
	tor := d.memory.tor(&h, client)
	switch tool := h.tool(); {
	case tool != "":
		return tell(pair(toolCertificate), 0, tool)
	case tor != 0:
		return tell(issue.Key{Rule: torConnection, Client: client}, tor, r.ServerName)
	}
	if signs := h.unnamed(); signs&counted != 0 {
		if err := tell(pair(unnamedChannel), signs, h.subject()); err != nil {
			return err
		}
	}
	if h.certified {
		if err := d.certificate(&h, tell, pair, alone); err != nil {
			return err
		}
	}
	if h.outside && d.memory.rare(&h, client, int64(d.cfg.Learn)) {
		return tell(issue.Key{Rule: rareFingerprint, Client: client}, 0, r.JA4)
	}
	return nil
}

func (d *Detector) certificate(h *handshake, tell func(issue.Key, uint32, string) error, pair, alone func(uint8) issue.Key) error {
	if signs := h.validity(); signs != 0 {
		if err := tell(alone(certificateTime), signs|h.place(), h.subject()); err != nil {
			return err
		}
	}
	if h.misnamed() {
		if err := tell(alone(certificateName), 0, h.ServerName); err != nil {
			return err
		}
	}
	if signs := d.memory.changed(h); signs != 0 {
		return tell(pair(certificateChanged), signs|h.place(), h.subject())
	}
	return nil
}

// Flush reports what has grown since it was told, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	err := d.memory.issues.Flush(func(i *issue.Issue) error { return sink.Finding(d.finding(i)) })
	if n := d.memory.forgotten + d.memory.issues.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_servers or max_findings", "forgotten", n)
	}
	d.memory = newMemory(&d.cfg)
	return err
}
