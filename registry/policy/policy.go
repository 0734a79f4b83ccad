// Package policy reads a node's ceiling: the file policy.yaml says what any server may grant on this machine at most.
// A grant can only narrow it; widening needs a change of the file, which the machine's owner makes.
//
//	apiVersion: picket/v1
//	namespaces: [picket, acme]        # whose plugins may run; absent: everybody's
//	kinds: [collector, detector]      # absent: all kinds
//	permissions:                      # what may be granted; absent: the default list
//	  - cap: net.dial
//	    args: {proto: [tcp], to: [10.0.0.0/8], port: [22, 443]}
//	  - cap: net.raw
//	    args: {proto: [icmp, arp]}
//	deny_dial: [169.254.0.0/16]       # never, whatever permissions say; absent: the default list
//	minimum_level: B                  # A, B or C: a plugin that cannot be confined this far does not run; absent: B
//	recent: allow                     # refuse or allow namespaces that only the registry's online key vouches for; absent: refuse
//	override: allow                   # refuse or allow that a named administrator lets a revoked release run here; absent: refuse
//	receipts: refuse                  # refuse or allow that the registry is told what is installed here; absent: allow
//	unenforced: allow                 # refuse or allow what the level reached cannot enforce; absent: refuse
//	interpreters:                     # programs that run plugins in a script language; absent: none
//	  python3: /opt/picket/python/bin/python3
//	registries:                       # beside the first one; what namespaces covers is theirs alone
//	  - {name: corp, url: https://plugins.corp.example, root: /etc/picket/corp-root.json, namespaces: [corp, corp-*], priority: 10}
//	commands:                         # what a server may order here; absent: all types but exec
//	  refuse: [restart-agent]
//	  exec: [{path: /usr/local/bin/rotate, sha256: 2b…, args: [--all]}]
//	staleness: {warn: 7d, refuse: 30d} # how old the node's knowledge of a registry may become; absent: warn after 7 days, refuse after 30
package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// maxFile bounds policy.yaml.
const maxFile = 256 << 10

// Ceiling is what a node allows at most.
type Ceiling struct {
	source      string // the file, for messages
	namespaces  []string
	kinds       []sdk.Kind
	permissions []sdk.Permission
	denyNets    []netip.Prefix
	denyHosts   []string

	minimumLevel    string
	allowUnenforced bool
	allowRecent     bool
	allowOverride   bool
	sendReceipts    bool
	interpreters    map[string]string
	registries      []Registry
	staleness       Staleness
	commands        Commands
}

// file is policy.yaml as it is written.
type file struct {
	APIVersion  string            `json:"apiVersion"`  // version of the format, picket/v1; default none, it must be there
	Namespaces  *[]string         `json:"namespaces"`  // whose plugins may run, and whose models and data packs they may read; default everybody's
	Kinds       *[]sdk.Kind       `json:"kinds"`       // which kinds may run: collector, discovery, detector, notifier; default all
	Permissions *[]sdk.Permission `json:"permissions"` // what may be granted at most, each as {cap, args}; default as below
	// DenyDial are networks and host names that no plugin may dial, whatever permissions say. Default link-local and cloud
	// metadata addresses.
	DenyDial *[]string `json:"deny_dial"`

	// MinimumLevel is the least confinement, A, B or C, with which a plugin runs. Default B.
	MinimumLevel *string `json:"minimum_level"`
	// Unenforced says whether a plugin may have permissions that its level cannot hold it to: refuse or allow. Default refuse.
	Unenforced *string `json:"unenforced"`
	// Recent says whether namespaces may be used that only the registry's online key vouches for: refuse or allow. Default
	// refuse.
	Recent *string `json:"recent"`
	// Override says whether a named administrator may let a revoked release run: refuse or allow. Default refuse.
	Override *string `json:"override"`
	// Receipts says whether the registry is told what is installed: refuse or allow. Default allow.
	Receipts *string `json:"receipts"`
	// Interpreters are the programs that run plugins in a script language, such as {python3: /usr/bin/python3}. Default none.
	Interpreters map[string]string `json:"interpreters"`
	Registries   []Registry        `json:"registries"`
	Staleness    *staleness        `json:"staleness"`
	// Commands limits what a server may order on this node. Default all types of command, and no program for exec.
	Commands *Commands `json:"commands"`
}

// Find loads the first of the files that exists, and the default when none does.
func Find(paths ...string) (*Ceiling, error) {
	for _, path := range paths {
		c, err := Load(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return c, err
	}
	return Default(), nil
}

// Load reads a policy file. One that others can write is refused, because they would decide.
func Load(path string) (*Ceiling, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the node's policy: %w", err)
	}
	if err := checkMode(path, info); err != nil {
		return nil, fmt.Errorf("read the node's policy %s: %w", path, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the node's policy: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read the node's policy %s: %w", path, err)
	}
	c.source = path
	return c, nil
}

func checkMode(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if info.Size() > maxFile {
		return fmt.Errorf("the file has %d bytes, at most %d are allowed", info.Size(), maxFile)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write it (mode %o); run: chmod go-w %s", info.Mode().Perm(), path)
	}
	return nil
}

// Parse reads the text of a policy file.
func Parse(data []byte) (*Ceiling, error) {
	tree, err := strict.YAML(data, maxFile)
	if err != nil {
		return nil, err
	}
	if err := registry.NormalizePermissions(tree["permissions"]); err != nil {
		return nil, err
	}
	var f file
	if err := strict.Decode(tree, &f); err != nil {
		if strings.HasPrefix(err.Error(), "unknown key ") {
			err = fmt.Errorf("%w: docs/configuration.md explains every key that there is", err)
		}
		return nil, err
	}
	if f.APIVersion != registry.APIVersion {
		return nil, fmt.Errorf("apiVersion: must be %q", registry.APIVersion)
	}
	c := Default()
	c.source = "policy.yaml"
	if err := c.apply(f); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Ceiling) apply(f file) error {
	if f.Namespaces != nil {
		c.namespaces = *f.Namespaces
		for _, ns := range c.namespaces {
			if !sdk.ValidID(ns + "/x") {
				return fmt.Errorf("namespaces: %q is not a namespace", ns)
			}
		}
	}
	if f.Kinds != nil {
		c.kinds = *f.Kinds
		for _, k := range c.kinds {
			if !slices.Contains(allKinds, k) {
				return fmt.Errorf("kinds: %q is not collector, discovery, detector or notifier", k)
			}
		}
	}
	if f.Permissions != nil {
		c.permissions = *f.Permissions
		for i, p := range c.permissions {
			if err := checkEntry(p); err != nil {
				return fmt.Errorf("permissions[%d]: %w", i, err)
			}
		}
	}
	if f.DenyDial != nil {
		if err := c.setDenied(*f.DenyDial); err != nil {
			return err
		}
	}
	return c.applyConfinement(f)
}

func (c *Ceiling) applyConfinement(f file) error {
	if f.MinimumLevel != nil {
		if !slices.Contains([]string{"A", "B", "C"}, *f.MinimumLevel) {
			return fmt.Errorf("minimum_level: %q is not A, B or C", *f.MinimumLevel)
		}
		c.minimumLevel = *f.MinimumLevel
	}
	for _, key := range []struct {
		name string
		text *string
		into *bool
	}{
		{"unenforced", f.Unenforced, &c.allowUnenforced}, {"recent", f.Recent, &c.allowRecent}, {"override", f.Override, &c.allowOverride},
		{"receipts", f.Receipts, &c.sendReceipts},
	} {
		if key.text == nil {
			continue
		}
		if *key.text != "refuse" && *key.text != "allow" {
			return fmt.Errorf("%s: %q is not refuse or allow", key.name, *key.text)
		}
		*key.into = *key.text == "allow"
	}
	for name, program := range f.Interpreters {
		if !slices.Contains(registry.Interpreters, name) {
			return fmt.Errorf("interpreters: %q is not one of: %s", name, strings.Join(registry.Interpreters, ", "))
		}
		if !path.IsAbs(program) || path.Clean(program) != program {
			return fmt.Errorf("interpreters: %s: %q is not a clean absolute path", name, program)
		}
	}
	c.interpreters = f.Interpreters
	return c.applyRegistries(f)
}

func (c *Ceiling) applyRegistries(f file) error {
	if err := checkRegistries(f.Registries); err != nil {
		return err
	}
	c.registries = f.Registries
	if f.Commands != nil {
		if err := f.Commands.check(); err != nil {
			return err
		}
		c.commands = *f.Commands
	}
	if f.Staleness == nil {
		return nil
	}
	var err error
	c.staleness, err = f.Staleness.parse()
	return err
}

// checkEntry refuses what only a plugin's manifest can say.
func checkEntry(p sdk.Permission) error {
	for name, values := range p.Args {
		for _, v := range values {
			if strings.Contains(v, "${") {
				return fmt.Errorf("%s, argument %s: a ceiling cannot refer to a configuration (%q)", p.Cap, name, v)
			}
		}
	}
	return p.Validate()
}

var allKinds = []sdk.Kind{sdk.KindCollector, sdk.KindDiscovery, sdk.KindDetector, sdk.KindNotifier}

// Default is the ceiling of a machine whose owner wrote no file: nothing that runs programs, changes the outside world,
// sees raw frames beyond ICMP, reads files outside /proc and /sys, or talks to link-local and cloud metadata addresses.
// Sockets of local daemons stay closed as well, because one of them may run programs for whoever asks. A plugin that
// nothing confines (level C) does not run: it could do all that with no permission at all.
func Default() *Ceiling {
	c := &Ceiling{
		source: "the built-in default",
		kinds:  allKinds,
		permissions: []sdk.Permission{
			{Cap: sdk.CapNetDial},
			{Cap: sdk.CapNetListen},
			{Cap: sdk.CapNetRaw, Args: map[string][]string{"proto": {"icmp"}}},
			{Cap: sdk.CapFSRead, Args: map[string][]string{"paths": {"/proc", "/sys"}}},
			{Cap: sdk.CapSecretRead},
			{Cap: sdk.CapPacketsRead},
			{Cap: sdk.CapFlowsRead},
			{Cap: sdk.CapFactsRead},
			{Cap: sdk.CapFilesRead},
			{Cap: sdk.CapDevicesRead},
			{Cap: sdk.CapHostMetrics},
			{Cap: sdk.CapMetricsRead},
			{Cap: sdk.CapState},
		},
		denyHosts:    []string{"metadata.google.internal"},
		minimumLevel: "B",
		sendReceipts: true,
		staleness:    Staleness{Warn: 7 * 24 * time.Hour, Refuse: 30 * 24 * time.Hour},
	}
	for _, s := range []string{
		"169.254.0.0/16", "fe80::/10", // link-local, which holds most metadata services
		"fd00:ec2::254/128",  // AWS over IPv6
		"100.100.100.200/32", // Alibaba
		"168.63.129.16/32",   // Azure
		"192.0.0.192/32",     // Oracle
	} {
		c.denyNets = append(c.denyNets, netip.MustParsePrefix(s))
	}
	return c
}

// Source names the file the ceiling came from, for messages.
func (c *Ceiling) Source() string { return c.source }

// MinimumLevel is the least confinement, A, B or C, with which a plugin runs on this node.
func (c *Ceiling) MinimumLevel() string { return c.minimumLevel }

// AllowsUnenforced reports whether a plugin may have permissions that its level of confinement cannot hold it to.
func (c *Ceiling) AllowsUnenforced() bool { return c.allowUnenforced }

// AllowsRecent reports whether plugins may run here whose namespace only the registry's online key vouches for yet.
func (c *Ceiling) AllowsRecent() bool { return c.allowRecent }

// AllowsOverride reports whether a named administrator may let a revoked release run on this node.
func (c *Ceiling) AllowsOverride() bool { return c.allowOverride }

// SendsReceipts reports whether the registry is told what is installed here.
func (c *Ceiling) SendsReceipts() bool { return c.sendReceipts }

// Interpreter returns the program that runs plugins of a script language on this node, and false when there is none.
func (c *Ceiling) Interpreter(name string) (string, bool) {
	program, ok := c.interpreters[name]
	return program, ok
}

// WithInterpreter returns a ceiling that differs in that program runs plugins of a script language, where this one names
// none itself. It is for a plugin that somebody who owns this machine tries on it.
func (c *Ceiling) WithInterpreter(name, program string) *Ceiling {
	if _, named := c.Interpreter(name); named || !path.IsAbs(program) || path.Clean(program) != program {
		return c
	}
	with := *c
	with.interpreters = maps.Clone(c.interpreters)
	if with.interpreters == nil {
		with.interpreters = map[string]string{}
	}
	with.interpreters[name] = program
	return &with
}

// Denied returns the addresses that no plugin on this node may dial. Whoever resolves a name checks the result too.
func (c *Ceiling) Denied() []netip.Prefix { return slices.Clone(c.denyNets) }

// Check reports whether a plugin of this kind may run with these grants. The grants are expanded (see
// sdk.ExpandPermissions): a reference that is still there is not covered by anything narrower than everything.
func (c *Ceiling) Check(d *registry.Descriptor, kind sdk.Kind, grants []sdk.Permission) error {
	if err := c.check(d, kind, grants); err != nil {
		return &registry.Refusal{
			Plugin: d.Manifest.ID, Version: d.Manifest.Version, Reason: registry.BeyondCeiling,
			Err: fmt.Errorf("%w; the limit is %s", err, c.source),
		}
	}
	return nil
}

// CheckFile checks whose model or data pack a plugin reads.
func (c *Ceiling) CheckFile(id, version string) error {
	ns, _, _ := strings.Cut(id, "/")
	if c.namespaces == nil || slices.Contains(c.namespaces, ns) {
		return nil
	}
	return &registry.Refusal{
		Plugin: id, Version: version, Reason: registry.BeyondCeiling,
		Err: fmt.Errorf("plugins of this node read nothing of namespace %q (key namespaces); the limit is %s", ns, c.source),
	}
}

func (c *Ceiling) check(d *registry.Descriptor, kind sdk.Kind, grants []sdk.Permission) error {
	if ns := d.Manifest.Namespace(); c.namespaces != nil && !slices.Contains(c.namespaces, ns) {
		return fmt.Errorf("this node runs no plugins of namespace %q (key namespaces)", ns)
	}
	if !slices.Contains(c.kinds, kind) {
		return fmt.Errorf("this node runs no plugin of kind %s (key kinds)", kind)
	}
	for _, g := range grants {
		if err := c.checkGrant(g); err != nil {
			return err
		}
	}
	return nil
}

func (c *Ceiling) checkGrant(g sdk.Permission) error {
	if err := g.Validate(); err != nil {
		return err
	}
	covers := func(p sdk.Permission) bool { return p.Covers(g) }
	if g.Cap != sdk.CapState && !slices.ContainsFunc(c.permissions, covers) {
		return fmt.Errorf("this node does not allow the permission %s (key permissions)", g)
	}
	if g.Cap != sdk.CapNetDial {
		return nil
	}
	to, named := g.Args["to"]
	if denied := len(c.denyNets) + len(c.denyHosts); !named && denied > 0 {
		return errors.New("permission net.dial: it names no destination, so it reaches what this node never dials too (key deny_dial)")
	}
	for _, to := range to {
		if what, denied := c.deniedDestination(to); denied {
			return fmt.Errorf("permission net.dial: %s reaches %s, which this node never dials (key deny_dial)", to, what)
		}
	}
	return nil
}
