package agent

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/sdk"
)

// scopeOf says where a discovery may look: at the targets that its operator stated, or else at the networks this
// machine itself is in.
func scopeOf(a pluginhost.Assignment, local func() ([]net.Addr, error)) (sdk.Scope, error) {
	var cfg struct {
		Targets []string `json:"targets"`
	}
	if len(a.Config) > 0 {
		if err := json.Unmarshal(a.Config, &cfg); err != nil {
			return sdk.Scope{}, fmt.Errorf("targets: %w", err)
		}
	}
	if len(cfg.Targets) > 0 {
		return stated(cfg.Targets)
	}
	addrs, err := local()
	if err != nil {
		return sdk.Scope{}, fmt.Errorf("find this machine's networks: %w", err)
	}
	return sdk.Scope{Prefixes: onLink(addrs)}, nil
}

func stated(targets []string) (sdk.Scope, error) {
	var scope sdk.Scope
	for _, t := range targets {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			addr, addrErr := netip.ParseAddr(t)
			if addrErr != nil {
				return sdk.Scope{}, fmt.Errorf("target %q is neither an address nor a range such as 192.0.2.0/24", t)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		scope.Prefixes = append(scope.Prefixes, p.Masked())
	}
	return scope, nil
}

// onLink returns the networks of a machine's interfaces, without loopback.
func onLink(addrs []net.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() || p.Addr().IsMulticast() {
			continue
		}
		out = append(out, p.Masked())
	}
	return out
}
