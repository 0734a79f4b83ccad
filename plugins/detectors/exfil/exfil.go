// Package exfil finds hosts that send unusual amounts out of the network, or send out what they know of their users.
//
// In go flows, messages of FTP and SMTP, and names of computers and servers, out come findings of two rules: "volume", a host has
// sent much more to an address outside than it got from there, and "drop", a host keeps sending small things by plain FTP or SMTP
// that are named as those who steal passwords name them. README.md has the reasoning.
//
// The reading path: volume.go adds up flows and weighs them; drop.go reads mails and files; report.go puts both into words.
package exfil

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules.
const (
	RuleVolume = "volume"
	RuleDrop   = "drop"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/exfil",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that send unusual amounts out of the network, or send out what they know of their users.",
		Rules: []sdk.Rule{
			{
				ID:             RuleVolume,
				Purpose:        "A host sent much more to an address outside than it got from there, and more than it usually does.",
				Techniques:     []string{"T1048", "T1048.002", "T1048.003", "T1567.002"},
				Severity:       sdk.SeverityMedium,
				FalsePositives: []string{"A backup to another site, or a large upload that somebody means to make, the first time."},
			},
			{
				ID:             RuleDrop,
				Purpose:        "A host that is no mail server sent mails or files outside, in the clear, named after the computer or after secrets.",
				Techniques:     []string{"T1048.003"},
				Severity:       sdk.SeverityHigh,
				FalsePositives: []string{"Devices and scripts that mail their reports in the clear, with their own name in the subject."},
			},
		},
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsDHCP, sdk.FactsMessages, sdk.FactsTLS}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Internal []string        `json:"internal" format:"cidr" default:"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,127.0.0.0/8,224.0.0.0/3,fc00::/7,fe80::/10,ff00::/8,::/127" doc:"Own networks, and those that lead nowhere: what is sent to them stays inside."`
	Ignore   []string        `json:"ignore" format:"cidr" doc:"Hosts that may send much, and addresses outside to which much may be sent: backup, mail servers, other sites."`
	Storage  []string        `json:"storage" default:"dropbox.com,dropboxapi.com,mega.nz,mega.co.nz,box.com,pcloud.com,mediafire.com,wetransfer.com,transfer.sh,gofile.io,file.io,catbox.moe,temp.sh,anonfiles.com,bashupload.com,ufile.io,wasabisys.com,backblazeb2.com,storage.googleapis.com,drive.google.com,blob.core.windows.net,digitaloceanspaces.com" doc:"Domains at which anybody may store files. They need a fifth of what other encrypted uploads need."`
	Volume   int             `json:"volume" default:"25" min:"1" max:"1000000" doc:"How many MiB a host must send to an address within the window by SSH, FTP, SMB or plain HTTP; four times that by what is not known, 20 times that by TLS, QUIC and UDP."`
	Window   config.Duration `json:"window" default:"24h" min:"10m" max:"168h" doc:"For how long, by the time in the traffic, amounts are added up."`
	MaxPairs int             `json:"max_pairs" default:"8192" min:"64" max:"1000000" doc:"How many pairs of a host and an address outside are remembered; the one quiet for longest is judged and forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg              Config
	host             sdk.Host
	internal, ignore []netip.Prefix
	storage          map[string]bool
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	pairs recent.Table[pairKey, *pair]
	drops recent.Table[dropKey, *drop]
	hosts recent.Table[bare.Addr, *inside]
}

// inside is a host of the own networks.
type inside struct {
	addr  bare.Addr
	name  string // that it has for itself
	mails bool   // others send mail to it
	peers peers
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host, d.storage = host, map[string]bool{}
	for _, list := range []struct {
		texts []string
		into  *[]netip.Prefix
	}{{d.cfg.Internal, &d.internal}, {d.cfg.Ignore, &d.ignore}} {
		*list.into = nil
		for _, text := range list.texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return sdk.Errorf(sdk.InvalidConfig, "a network: %w", err)
			}
			*list.into = append(*list.into, p.Masked())
		}
	}
	for _, domain := range d.cfg.Storage {
		d.storage[strings.ToLower(strings.Trim(domain, "."))] = true
	}
	d.memory = newMemory(d.cfg.MaxPairs)
	return nil
}

func newMemory(limit int) memory {
	return memory{pairs: recent.New[pairKey, *pair](limit), drops: recent.New[dropKey, *drop](limit), hosts: recent.New[bare.Addr, *inside](limit)}
}

func contain(list []netip.Prefix, a netip.Addr) bool {
	for i := range list {
		if list[i].Contains(a) {
			return true
		}
	}
	return false
}

// leaves reports whether what one address sends to another one leaves the network, and nobody said that it may.
func (d *Detector) leaves(from, to netip.Addr) bool {
	return contain(d.internal, from) && !contain(d.internal, to) && !contain(d.ignore, from) && !contain(d.ignore, to)
}

// Inspect takes records one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.DHCP {
		d.computer(&batch.DHCP[i])
	}
	for i := range batch.TLS {
		if err := d.handshake(&batch.TLS[i], sink); err != nil {
			return err
		}
	}
	for i := range batch.Messages {
		look := d.message
		if batch.Messages[i].Protocol == "flow" {
			look = d.goesOn
		}
		if err := look(&batch.Messages[i], sink); err != nil {
			return err
		}
	}
	for i := range batch.Flows {
		if err := d.flow(&batch.Flows[i], sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// computer remembers what a host calls itself.
func (d *Detector) computer(m *sdk.DHCP) {
	addr := m.Requested
	if !addr.IsValid() {
		addr = m.ClientAddr
	}
	if m.Reply || m.Hostname == "" || !addr.IsValid() || addr.IsUnspecified() {
		return
	}
	if h := d.inside(bare.Of(addr)); h.name != m.Hostname {
		h.name = clipped(m.Hostname)
	}
}

// inside is what is known of a host.
func (d *Detector) inside(addr bare.Addr) *inside {
	if h, known := d.hosts.Get(addr); known {
		return h
	}
	if old, full := d.hosts.Crowded(); full {
		d.hosts.Forget(old.addr)
	}
	h := &inside{addr: addr}
	d.hosts.Put(addr, h)
	return h
}

// Flush judges everything and forgets it.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for p := range d.pairs.All() {
		if err := d.judge(p, true, sink); err != nil {
			return err
		}
	}
	for o := range d.drops.All() {
		if err := d.judgeDrop(o, true, sink); err != nil {
			return err
		}
	}
	if n := d.pairs.Forgotten + d.drops.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_pairs", "forgotten", n)
	}
	d.memory = newMemory(d.cfg.MaxPairs)
	return nil
}

// size is an amount as people say it.
func size(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
