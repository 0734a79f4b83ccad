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
//	unenforced: allow                 # refuse or allow what the level reached cannot enforce; absent: refuse
//	interpreters:                     # programs that run plugins in a script language; absent: none
//	  python3: /opt/picket/python/bin/python3
package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

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
	interpreters    map[string]string
}

type file struct {
	APIVersion  string            `json:"apiVersion"`
	Namespaces  *[]string         `json:"namespaces"`
	Kinds       *[]sdk.Kind       `json:"kinds"`
	Permissions *[]sdk.Permission `json:"permissions"`
	DenyDial    *[]string         `json:"deny_dial"`

	MinimumLevel *string           `json:"minimum_level"`
	Unenforced   *string           `json:"unenforced"`
	Recent       *string           `json:"recent"`
	Interpreters map[string]string `json:"interpreters"`
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
	if f.Unenforced != nil {
		if *f.Unenforced != "refuse" && *f.Unenforced != "allow" {
			return fmt.Errorf("unenforced: %q is not refuse or allow", *f.Unenforced)
		}
		c.allowUnenforced = *f.Unenforced == "allow"
	}
	if f.Recent != nil {
		if *f.Recent != "refuse" && *f.Recent != "allow" {
			return fmt.Errorf("recent: %q is not refuse or allow", *f.Recent)
		}
		c.allowRecent = *f.Recent == "allow"
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
	return nil
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

func (c *Ceiling) setDenied(list []string) error {
	c.denyNets, c.denyHosts = nil, nil
	for _, s := range list {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			c.denyNets = append(c.denyNets, prefix.Masked())
			continue
		}
		if addr, err := netip.ParseAddr(s); err == nil {
			c.denyNets = append(c.denyNets, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		if strings.ContainsAny(s, "/:* ") || !strings.Contains(s, ".") {
			return fmt.Errorf("deny_dial: %q is not an address, a CIDR or a host name", s)
		}
		c.denyHosts = append(c.denyHosts, strings.ToLower(strings.TrimSuffix(s, ".")))
	}
	return nil
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
			{Cap: sdk.CapDevicesRead},
			{Cap: sdk.CapHostMetrics},
			{Cap: sdk.CapState},
		},
		denyHosts:    []string{"metadata.google.internal"},
		minimumLevel: "B",
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

// deniedDestination reports whether a value of "to" can reach a denied address. A range counts when any part of it does.
func (c *Ceiling) deniedDestination(to string) (what string, denied bool) {
	prefix, host, ok := destination(to)
	if !ok {
		return "", false
	}
	for _, d := range c.denyNets {
		if prefix.IsValid() && d.Overlaps(prefix) {
			return d.String(), true
		}
	}
	for _, d := range c.denyHosts {
		suffix, wild := strings.CutPrefix(host, "*")
		if host != "" && (host == d || wild && strings.HasSuffix(d, suffix)) {
			return d, true
		}
	}
	return "", false
}

// destination splits a valid value of "to" into the address range or the host that it names.
func destination(to string) (netip.Prefix, string, bool) {
	if strings.Contains(to, "://") {
		u, err := url.Parse(to)
		if err != nil {
			return netip.Prefix{}, "", false
		}
		to = u.Hostname()
	}
	if p, err := netip.ParsePrefix(to); err == nil {
		return unmap(p), "", true
	}
	if a, err := netip.ParseAddr(to); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), "", true
	}
	if ap, err := netip.ParseAddrPort(to); err == nil {
		a := ap.Addr().Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), "", true
	}
	host := to
	if i := strings.LastIndexByte(to, ':'); i >= 0 {
		host = strings.Trim(to[:i], "[]")
		if p, err := netip.ParsePrefix(host); err == nil {
			return unmap(p), "", true
		}
	}
	return netip.Prefix{}, strings.ToLower(strings.TrimSuffix(host, ".")), host != ""
}

// unmap lets ::ffff:169.254.0.0/112 be seen for what it is.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}
