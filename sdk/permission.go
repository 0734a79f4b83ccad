package sdk

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"sort"
	"strconv"
	"strings"
)

// The capabilities of a manifest. Each is denied unless the operator granted it.
const (
	CapNetDial     = "net.dial"     // args proto (tcp, udp), to (host, *.domain, address, CIDR, any of them with :port), port (n or n-m)
	CapNetListen   = "net.listen"   // args proto, port
	CapNetRaw      = "net.raw"      // args proto (icmp, arp, lldp)
	CapUnixConnect = "unix.connect" // args path
	CapFSRead      = "fs.read"      // args paths: a path and everything below it
	CapFSWrite     = "fs.write"     // args paths
	CapExec        = "exec"         // args paths
	CapSecretRead  = "secret.read"  // args keys: names of secret fields of the configuration
	CapPacketsRead = "packets.read" // args layers, snaplen
	CapFlowsRead   = "flows.read"
	CapFactsRead   = "facts.read" // args kinds: of FactKinds, without contents
	CapFilesRead   = "files.read" // what is in files that are transferred in the clear
	CapDevicesRead = "devices.read"
	CapHostMetrics = "host.metrics" // the host's own load, disks and interfaces
	CapMetricsRead = "metrics.read" // args metrics: names, or the beginnings of names that end in *
	CapState       = "state"        // the instance's own key-value store; always granted
	CapAct         = "act"          // changes the outside world: block, restart
)

// capArgs lists the arguments of each capability.
var capArgs = map[string][]string{
	CapNetDial:     {"proto", "to", "port"},
	CapNetListen:   {"proto", "port"},
	CapNetRaw:      {"proto"},
	CapUnixConnect: {"path"},
	CapFSRead:      {"paths"},
	CapFSWrite:     {"paths"},
	CapExec:        {"paths"},
	CapSecretRead:  {"keys"},
	CapPacketsRead: {"layers", "snaplen"},
	CapFlowsRead:   nil,
	CapFactsRead:   {"kinds"},
	CapFilesRead:   nil,
	CapDevicesRead: nil,
	CapHostMetrics: nil,
	CapMetricsRead: {"metrics"},
	CapState:       nil,
	CapAct:         nil,
}

// Permission is one thing that a plugin asks for, or that an operator granted.
//
// An argument that is absent does not restrict; one that is present allows its values and nothing else, so an empty
// list allows nothing. Values may refer to the configuration ("${config.targets}"): see ExpandPermissions.
type Permission struct {
	Cap      string              `json:"cap"`
	Args     map[string][]string `json:"args,omitempty"`
	Reason   string              `json:"reason,omitempty"`
	Optional bool                `json:"optional,omitempty"`
}

// String names the permission as a person would read it: net.dial(proto=tcp to=10.0.0.1 port=22).
func (p Permission) String() string {
	if len(p.Args) == 0 {
		return p.Cap
	}
	names := make([]string, 0, len(p.Args))
	for name := range p.Args {
		names = append(names, name)
	}
	sort.Strings(names)
	for i, name := range names {
		names[i] = name + "=" + strings.Join(p.Args[name], ",")
	}
	return p.Cap + "(" + strings.Join(names, " ") + ")"
}

// Validate reports an unknown capability, an argument that it does not have, or a value that can never match.
func (p Permission) Validate() error {
	known, ok := capArgs[p.Cap]
	if !ok {
		return fmt.Errorf("permission %q is not one that Picket knows", p.Cap)
	}
	var errs []error
	for name, values := range p.Args {
		if !contains(known, name) {
			errs = append(errs, fmt.Errorf("permission %s has no argument %q (it has: %s)", p.Cap, name, strings.Join(known, ", ")))
			continue
		}
		for _, v := range values {
			if err := checkArg(name, v); err != nil {
				errs = append(errs, fmt.Errorf("permission %s, argument %s: %w", p.Cap, name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func checkArg(name, value string) error {
	if strings.Contains(value, "${") {
		return nil // known only with a configuration
	}
	switch name {
	case "port":
		if _, _, ok := portRange(value); !ok {
			return fmt.Errorf("%q is not a port or a range of ports", value)
		}
	case "to":
		if _, ok := parseDestination(value); !ok {
			return fmt.Errorf("%q is not a host, address, CIDR or host:port", value)
		}
	case "paths", "path":
		if !path.IsAbs(value) || path.Clean(value) != value {
			return fmt.Errorf("%q is not a clean absolute path", value)
		}
	case "metrics":
		if value == "" || strings.Contains(strings.TrimSuffix(value, "*"), "*") {
			return fmt.Errorf("%q is not a metric's name or the beginning of one that ends in *", value)
		}
	case "kinds":
		if value == FactsContents {
			return fmt.Errorf("what is in files is shown with the permission %s", CapFilesRead)
		}
		if !contains(PlainFacts, value) {
			return fmt.Errorf("%q is not a kind of facts (there are: %s)", value, strings.Join(PlainFacts, ", "))
		}
	default:
		if value == "" {
			return errors.New("an empty value matches nothing")
		}
	}
	return nil
}

// AllowsDial reports whether p allows a connection to host, a name or an address. The caller who resolves a name
// asks again with each address through AllowsAddr before it connects.
func (p Permission) AllowsDial(network, host string, port int) bool {
	return p.dial(network, port, func(d destination) bool { return d.matches(host) })
}

// AllowsAddr is AllowsDial for an address that must be named by itself or by a CIDR, not by a host name.
func (p Permission) AllowsAddr(network string, addr netip.Addr, port int) bool {
	return p.dial(network, port, func(d destination) bool {
		return d.prefix.IsValid() && d.prefix.Contains(addr.Unmap().WithZone(""))
	})
}

func (p Permission) dial(network string, port int, match func(destination) bool) bool {
	if p.Cap != CapNetDial || port < 0 || port > 65535 {
		return false
	}
	proto := strings.TrimRight(network, "46")
	if !p.allows("proto", proto) || !p.allowsPort(port) {
		return false
	}
	to, restricted := p.Args["to"]
	if !restricted {
		return true
	}
	for _, v := range to {
		d, ok := parseDestination(v)
		if ok && (d.port == 0 || d.port == port) && match(d) {
			return true
		}
	}
	return false
}

// AllowsRaw reports whether p allows a raw socket of the protocol ("icmp", "arp").
func (p Permission) AllowsRaw(proto string) bool {
	return p.Cap == CapNetRaw && p.allows("proto", proto)
}

// AllowsSecret reports whether p allows the secret with that name.
func (p Permission) AllowsSecret(name string) bool {
	return p.Cap == CapSecretRead && p.allows("keys", name)
}

// AllowsRead reports whether p allows reading the path or a folder above it.
func (p Permission) AllowsRead(name string) bool {
	if p.Cap != CapFSRead || !path.IsAbs(name) {
		return false
	}
	paths, restricted := p.Args["paths"]
	if !restricted {
		return true
	}
	name = path.Clean(name)
	for _, root := range paths {
		if below(name, root) {
			return true
		}
	}
	return false
}

// Covers reports whether p allows everything that q allows. A grant must be covered by the manifest, and a manifest
// by the node's ceiling.
func (p Permission) Covers(q Permission) bool {
	if p.Cap != q.Cap {
		return false
	}
	for name, allowed := range p.Args {
		asked, restricted := q.Args[name]
		if !restricted {
			return false
		}
		for _, v := range asked {
			if !anyCovers(name, allowed, v) {
				return false
			}
		}
	}
	return true
}

func anyCovers(name string, allowed []string, value string) bool {
	for _, a := range allowed {
		if a == value || argCovers(name, a, value) {
			return true
		}
	}
	return false
}

func argCovers(name, allowed, value string) bool {
	switch name {
	case "port":
		lo, hi, ok := portRange(allowed)
		vlo, vhi, vok := portRange(value)
		return ok && vok && lo <= vlo && vhi <= hi
	case "to":
		a, ok := parseDestination(allowed)
		v, vok := parseDestination(value)
		return ok && vok && a.covers(v)
	case "paths", "path":
		return below(path.Clean(value), allowed)
	case "metrics":
		return named(value, allowed)
	}
	return false
}

// named reports whether a metric's name is the pattern, or begins as one that ends in *. A narrower pattern counts as a name.
func named(name, pattern string) bool {
	start, open := strings.CutSuffix(pattern, "*")
	return name == pattern || open && strings.HasPrefix(name, start)
}

// Grants are all permissions of one instance.
type Grants []Permission

// Has reports whether any permission of the capability was granted.
func (g Grants) Has(capability string) bool {
	return capability == CapState || g.any(func(p Permission) bool { return p.Cap == capability })
}

// Dial answers with an error of class PermissionDenied unless one grant allows it; see Permission.AllowsDial.
func (g Grants) Dial(network, host string, port int) error {
	if g.any(func(p Permission) bool { return p.AllowsDial(network, host, port) }) {
		return nil
	}
	return Errorf(PermissionDenied, "no grant of %s allows %s to %s port %d", CapNetDial, network, host, port)
}

// Addr is Dial for an address that a name resolved to. An address that a machine uses to talk to itself or to its
// cloud (loopback, link-local, multicast) must be granted as an address; a name that points there is not enough.
func (g Grants) Addr(network, host string, addr netip.Addr, port int) error {
	addr = addr.Unmap()
	named := func(p Permission) bool { return p.Args["to"] != nil && p.AllowsAddr(network, addr, port) }
	if g.any(named) {
		return nil
	}
	special := addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() ||
		addr.IsLoopback() && !strings.EqualFold(host, "localhost")
	if special {
		return Errorf(PermissionDenied, "%s points to %s, which the grants of %s do not name", host, addr, CapNetDial)
	}
	return g.Dial(network, host, port)
}

// Raw answers with an error of class PermissionDenied unless one grant allows raw sockets of the protocol.
func (g Grants) Raw(proto string) error {
	if g.any(func(p Permission) bool { return p.AllowsRaw(proto) }) {
		return nil
	}
	return Errorf(PermissionDenied, "no grant of %s allows %s", CapNetRaw, proto)
}

// Secret answers with an error of class PermissionDenied unless one grant allows the secret.
func (g Grants) Secret(name string) error {
	if g.any(func(p Permission) bool { return p.AllowsSecret(name) }) {
		return nil
	}
	return Errorf(PermissionDenied, "no grant of %s allows %q", CapSecretRead, name)
}

// Packets reports whether one grant of packets.read allows all that a subscription asks for.
func (g Grants) Packets(s PacketSubscription) bool {
	snapLen := s.SnapLen
	if snapLen == 0 {
		snapLen = 256
	}
	return g.any(func(p Permission) bool {
		if p.Cap != CapPacketsRead || len(s.Layers) == 0 && p.Args["layers"] != nil {
			return false
		}
		for _, l := range s.Layers {
			if !p.allows("layers", l) {
				return false
			}
		}
		limits, restricted := p.Args["snaplen"]
		for _, text := range limits {
			if n, err := strconv.Atoi(text); err == nil && snapLen <= n {
				return true
			}
		}
		return !restricted
	})
}

// Facts reports whether the grants of facts.read allow this kind of facts, of contents those of files.read.
func (g Grants) Facts(kind string) bool {
	if kind == FactsContents {
		return g.Has(CapFilesRead)
	}
	return g.any(func(p Permission) bool { return p.Cap == CapFactsRead && p.allows("kinds", kind) })
}

// Metric reports whether one grant of metrics.read allows to be shown the metric of that name.
func (g Grants) Metric(name string) bool {
	return g.any(func(p Permission) bool {
		patterns, restricted := p.Args["metrics"]
		return p.Cap == CapMetricsRead && (!restricted || anyCovers("metrics", patterns, name))
	})
}

// Read answers with an error of class PermissionDenied unless one grant allows reading the path.
func (g Grants) Read(name string) error {
	if g.any(func(p Permission) bool { return p.AllowsRead(name) }) {
		return nil
	}
	return Errorf(PermissionDenied, "no grant of %s allows %s", CapFSRead, name)
}

func (g Grants) any(ok func(Permission) bool) bool {
	for _, p := range g {
		if ok(p) {
			return true
		}
	}
	return false
}

func (p Permission) allows(arg, value string) bool {
	values, restricted := p.Args[arg]
	return !restricted || contains(values, value)
}

func (p Permission) allowsPort(port int) bool {
	values, restricted := p.Args["port"]
	if !restricted {
		return true
	}
	for _, v := range values {
		if lo, hi, ok := portRange(v); ok && lo <= port && port <= hi {
			return true
		}
	}
	return false
}

// destination is one parsed value of "to".
type destination struct {
	host   string       // lower case; a leading "*." means any name below it
	prefix netip.Prefix // set for an address or a CIDR
	port   int          // 0 when any
}

func parseDestination(s string) (destination, bool) {
	if strings.Contains(s, "://") {
		var ok bool
		if s, ok = urlDestination(s); !ok {
			return destination{}, false
		}
	}
	host, port := s, 0
	if _, err := netip.ParseAddr(s); err != nil && strings.Count(s, ":") > 0 && !strings.Contains(s, "/") {
		i := strings.LastIndexByte(s, ':')
		n, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || n == 0 {
			return destination{}, false
		}
		host, port = strings.TrimSuffix(strings.TrimPrefix(s[:i], "["), "]"), int(n)
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		return destination{prefix: prefix.Masked(), port: port}, true
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap().WithZone("")
		return destination{prefix: netip.PrefixFrom(addr, addr.BitLen()), port: port}, true
	}
	host = cleanHost(host)
	if !validHost(strings.TrimPrefix(host, "*.")) {
		return destination{}, false
	}
	return destination{host: host, port: port}, true
}

// matches reports whether the name or address host is meant by d.
func (d destination) matches(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return d.prefix.IsValid() && d.prefix.Contains(addr.Unmap().WithZone(""))
	}
	return d.host != "" && hostCovers(d.host, cleanHost(host))
}

func (d destination) covers(e destination) bool {
	if d.port != 0 && d.port != e.port {
		return false
	}
	if d.prefix.IsValid() {
		return e.prefix.IsValid() && d.prefix.Bits() <= e.prefix.Bits() && d.prefix.Contains(e.prefix.Addr())
	}
	return d.host != "" && e.host != "" && hostCovers(d.host, e.host)
}

func hostCovers(pattern, host string) bool {
	if suffix, wild := strings.CutPrefix(pattern, "*"); wild {
		return strings.HasSuffix(host, suffix) && len(host) > len(suffix)
	}
	return pattern == host
}

func cleanHost(h string) string { return strings.ToLower(strings.TrimSuffix(h, ".")) }

func validHost(h string) bool {
	if h == "" || len(h) > 253 {
		return false
	}
	for _, label := range strings.Split(h, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return strings.Trim(h, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// urlPorts are the ports of the schemes that a configuration may name.
var urlPorts = map[string]string{
	"http": "80", "https": "443", "ws": "80", "wss": "443", "smtp": "25", "smtps": "465", "ldap": "389", "ldaps": "636",
}

// urlDestination turns a URL into host:port, so that "to: ${config.url}" means what it seems to mean.
func urlDestination(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return "", false
	}
	port := u.Port()
	if port == "" {
		port = urlPorts[u.Scheme]
	}
	if port == "" {
		return u.Hostname(), true
	}
	if strings.Contains(u.Hostname(), ":") {
		return "[" + u.Hostname() + "]:" + port, true
	}
	return u.Hostname() + ":" + port, true
}

func portRange(s string) (lo, hi int, ok bool) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || a > b {
		return 0, 0, false
	}
	return int(a), int(b), true
}

func below(name, root string) bool {
	return name == root || root == "/" && strings.HasPrefix(name, "/") || strings.HasPrefix(name, root+"/")
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
