package custom

import (
	"math"
	"net/netip"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"golang.org/x/net/publicsuffix"

	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/sdk"
)

// The functions that rules have beside those of CEL.
const (
	fnLower   = "lower"
	fnDomain  = "domain"
	fnUnder   = "under"
	fnEntropy = "entropy"
	fnPrivate = "isPrivate"
	fnInCIDR  = "inCIDR"
)

// constants are the transport protocols by name.
var constants = map[string]int64{"icmp": sdk.ProtoICMP, "tcp": sdk.ProtoTCP, "udp": sdk.ProtoUDP, "icmpv6": sdk.ProtoICMPv6}

// functions declares them. networks are those that stand in the rule as text, read before.
func functions(networks map[string]netip.Prefix) []cel.EnvOption {
	text := func(name string, result *cel.Type, do func(string) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_string", []*cel.Type{cel.StringType}, result,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return do(string(v.(types.String))) })))
	}
	within := func(address ref.Val, network string) bool {
		a, err := netip.ParseAddr(string(address.(types.String)))
		p, known := networks[network]
		return err == nil && known && p.Contains(a)
	}
	options := []cel.EnvOption{
		text(fnLower, cel.StringType, func(s string) ref.Val { return types.String(dnsname.Lower(s)) }),
		text(fnDomain, cel.StringType, func(s string) ref.Val { return types.String(domain(s)) }),
		text(fnEntropy, cel.DoubleType, func(s string) ref.Val { return types.Double(entropy(s)) }),
		text(fnPrivate, cel.BoolType, func(s string) ref.Val {
			a, err := netip.ParseAddr(s)
			return types.Bool(err == nil && private(a))
		}),
		cel.Function(fnUnder, cel.Overload("under_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(name, top ref.Val) ref.Val {
				return types.Bool(under(string(name.(types.String)), string(top.(types.String))))
			}))),
		cel.Function(fnInCIDR,
			cel.Overload("inCIDR_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
				cel.BinaryBinding(func(a, p ref.Val) ref.Val { return types.Bool(within(a, string(p.(types.String)))) })),
			cel.Overload("inCIDR_string_list", []*cel.Type{cel.StringType, cel.ListType(cel.StringType)}, cel.BoolType,
				cel.BinaryBinding(func(a, list ref.Val) ref.Val {
					for it := list.(traits.Lister).Iterator(); it.HasNext() == types.True; {
						if within(a, string(it.Next().(types.String))) {
							return types.True
						}
					}
					return types.False
				}))),
	}
	for name, value := range constants {
		options = append(options, cel.Constant(name, cel.IntType, types.Int(value)))
	}
	return options
}

// domain is what somebody registered of a name: the public suffix and a label.
func domain(name string) string {
	name = trimDot(dnsname.Lower(name))
	registered, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return name // a suffix itself, or no name
	}
	return registered
}

// under reports whether a name is top or stands below it.
func under(name, top string) bool {
	name, top = trimDot(dnsname.Lower(name)), trimDot(dnsname.Lower(top))
	n := len(name) - len(top)
	return top != "" && (n == 0 && name == top || n > 0 && name[n-1] == '.' && name[n:] == top)
}

func trimDot(name string) string {
	if n := len(name); n > 1 && name[n-1] == '.' {
		return name[:n-1]
	}
	return name
}

// entropy is how many bits a byte of a text holds, from 0 to 8, to three digits: further ones differ between platforms.
func entropy(s string) float64 {
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	bits := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return math.Abs(math.Round(1000*bits) / 1000)
}

// private reports whether an address belongs to nobody on the Internet: private, of this link, or of this host.
func private(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
}

// shared are the addresses between a provider and its customers (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// prices say what our functions cost; texts cost a tenth of their length, as CEL's own do.
type prices struct{}

const perByte = 0.1

// EstimateSize bounds what a record holds.
func (prices) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if n.ComputedSize() != nil || n.Type() == nil || n.Expr() != nil && n.Expr().Kind() == ast.LiteralKind {
		return nil
	}
	switch n.Type().Kind() {
	case types.StringKind, types.BytesKind:
		return &cost.SizeEstimate{Max: maxText}
	case types.ListKind, types.MapKind:
		return &cost.SizeEstimate{Max: maxItems}
	}
	return nil
}

// EstimateCallCost bounds the price of a call before it is made.
func (p prices) EstimateCallCost(function, _ string, _ *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	switch function {
	case fnLower, fnDomain, fnUnder, fnEntropy, fnPrivate, fnInCIDR:
		size := cost.SizeEstimate{}
		for _, a := range args {
			s := p.EstimateSize(a)
			if s == nil {
				s = a.ComputedSize()
			}
			if s != nil {
				size = size.Add(*s)
			}
		}
		e := size.MultiplyByCostFactor(perByte).Add(cost.Estimate{Min: 1, Max: 1})
		return cost.NewCallEstimate(e, &cost.SizeEstimate{Max: maxText})
	}
	return nil
}

// CallCost is the price of a call that was made.
func (prices) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	switch function {
	case fnLower, fnDomain, fnUnder, fnEntropy, fnPrivate, fnInCIDR:
		size := 0
		for _, a := range args {
			switch a := a.(type) {
			case types.String:
				size += utf8.RuneCountInString(string(a))
			case traits.Sizer:
				if n, ok := a.Size().(types.Int); ok {
					size += int(n)
				}
			}
		}
		price := 1 + uint64(perByte*float64(size))
		return &price
	}
	return nil
}
