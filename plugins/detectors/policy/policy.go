// Package policy notes what a network should no longer do: passwords in the clear and protocols of old.
//
// In go logins, messages of SNMP and SSH, commands of SMB, handshakes of TLS and flows, out come findings, one per server and
// kind, which grow. They are true statements, not alarms. It never holds a secret: the facts do not either.
package policy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(Plugin())
}

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	p := sdk.Plugin{
		ID:           "picket/policy",
		Kind:         sdk.KindDetector,
		Summary:      "Notes passwords that everybody on the way can read, and protocols that are too old to protect.",
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsLogins, sdk.FactsMessages, sdk.FactsSMB, sdk.FactsTLS}},
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
	Kinds       []string `json:"kinds" default:"cleartext-login,snmp,telnet,r-commands,smb1,ssh1,ntlm1" enum:"cleartext-login,snmp,telnet,r-commands,smb1,ssh1,ntlm1,encrypted-dns" doc:"What is noted."`
	Clients     []string `json:"clients" format:"cidr" doc:"Clients that may do all that."`
	Servers     []string `json:"servers" format:"cidr" doc:"Servers where all that may be done, and resolvers that may be asked in secret."`
	MaxFindings int      `json:"max_findings" default:"8192" min:"64" max:"100000" doc:"How many servers are remembered by kind; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg              Config
	host             sdk.Host
	clients, servers []netip.Prefix
	wanted           [kinds]bool
	issues           issue.Table
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	for _, list := range []struct {
		texts []string
		into  *[]netip.Prefix
	}{{d.cfg.Clients, &d.clients}, {d.cfg.Servers, &d.servers}} {
		for _, text := range list.texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return sdk.Errorf(sdk.InvalidConfig, "a network: %w", err)
			}
			*list.into = append(*list.into, p.Masked())
		}
	}
	for _, name := range d.cfg.Kinds {
		for k := range rules {
			d.wanted[k] = d.wanted[k] || rules[k].id == name
		}
	}
	d.issues = issue.New(d.cfg.MaxFindings)
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

// Inspect takes records one by one, so where a batch ends makes no difference. Each kind is told by records of one kind, so their
// order does not matter either.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.Logins {
		if r := &batch.Logins[i]; r.Clear && !anonymous(r) {
			if err := d.note(cleartext, issue.Of(&r.Seen), loginSigns(r), r.User, sink); err != nil {
				return err
			}
		}
	}
	for i := range batch.Messages {
		r := &batch.Messages[i]
		if k, signs := readMessage(r); k < kinds {
			if err := d.note(k, issue.Of(&r.Seen), signs, "", sink); err != nil {
				return err
			}
		}
	}
	for i := range batch.SMB {
		if r := &batch.SMB[i]; r.Version == 1 && r.Response && r.Name == "session-setup" && r.Proto == sdk.ProtoTCP {
			if err := d.note(smb1, issue.Of(&r.Seen), 0, "", sink); err != nil {
				return err
			}
		}
		if r := &batch.SMB[i]; r.NTLM == 1 && !r.Response {
			if err := d.note(ntlm1, issue.Of(&r.Seen), 0, r.User, sink); err != nil {
				return err
			}
		}
	}
	if d.wanted[encryptedDNS] {
		for i := range batch.TLS {
			r := &batch.TLS[i]
			if signs := secretDNS(r); signs != 0 {
				if err := d.note(encryptedDNS, issue.Of(&r.Seen), signs, r.ServerName, sink); err != nil {
					return err
				}
			}
		}
	}
	for i := range batch.Flows {
		if err := d.flow(&batch.Flows[i], sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (d *Detector) flow(f *sdk.Flow, sink sdk.FindingSink) error {
	k, signs := readFlow(f)
	if k == kinds {
		return nil
	}
	s := issue.Seen{At: f.Start, Client: f.Src, Server: f.Dst, Flow: flowref.Of(f), Proto: f.Proto}
	if len(f.Packets) > 0 {
		s.Packet = f.Packets[0]
	}
	return d.note(k, s, signs, "", sink)
}

func (d *Detector) note(k kind, s issue.Seen, signs uint32, name string, sink sdk.FindingSink) error {
	if !d.wanted[k] || !s.Server.IsValid() || contain(d.clients, s.Client) || contain(d.servers, s.Server) {
		return nil
	}
	s.Signs, s.Name = signs, name
	key := issue.Key{Rule: uint8(k), Server: bare.Of(s.Server), Port: s.Flow.DstPort}
	return d.issues.See(key, &s, func(i *issue.Issue) error { return sink.Finding(finding(i)) })
}

// Flush reports what has grown since it was told, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	err := d.issues.Flush(func(i *issue.Issue) error { return sink.Finding(finding(i)) })
	if n := d.issues.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_findings", "forgotten", n)
	}
	d.issues = issue.New(d.cfg.MaxFindings)
	return err
}

// confidence is what such a statement has: the parsers have understood it.
const confidence = 0.95

func finding(i *issue.Issue) sdk.Finding {
	r := &rules[i.Key.Rule]
	severity := r.severity
	if i.Signs&r.worse != 0 {
		severity = sdk.SeverityLow
	}
	f := i.Finding(severity, confidence)
	f.Detector, f.Rule, f.Techniques = "picket/policy", r.id, r.techniques
	var how []string
	for n, word := range r.words {
		if i.Signs&(1<<n) != 0 {
			how = append(how, word)
		}
	}
	f.Summary = fmt.Sprintf("%s %s", i.Server(), r.does)
	if len(how) > 0 {
		f.Summary += ": " + strings.Join(how, ", ")
	}
	if len(i.Names) > 0 {
		f.Summary += " (" + strings.Join(i.Names, ", ") + ")"
	}
	return f
}

// snapshotVersion is the form of a snapshot, which is the table of findings.
const snapshotVersion = 1

// issueSize is what one takes in a snapshot, about.
const issueSize = 256

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	return saved.Seal(d.issues.AppendTo(saved.Begin(snapshotVersion, d.issues.Len()*issueSize))), nil
}

// Restore takes over what Snapshot wrote, whole or not at all.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	issues := issue.New(d.cfg.MaxFindings)
	err = issues.Read(p, uint8(kinds))
	if err == nil {
		err = p.End()
	}
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.issues = issues
	return nil
}
