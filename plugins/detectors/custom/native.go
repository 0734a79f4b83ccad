package custom

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
)

// A condition is a part of a rule that is asked without CEL, some ten times as fast. exact says that it is the whole of the part;
// else it is something that must be true wherever the part is.
type condition[T any] struct {
	holds func(*T) bool
	exact bool
}

// native makes a condition of an expression that was checked; its holds is nil where nothing of it can be asked so.
func native[T any](k *kindOf[T], e ast.Expr) condition[T] {
	switch e.Kind() {
	case ast.IdentKind:
		if f := k.find(e.AsIdent()); f != nil && f.flag != nil {
			return condition[T]{f.flag, true}
		}
	case ast.LiteralKind:
		if b, ok := e.AsLiteral().(types.Bool); ok {
			return condition[T]{func(*T) bool { return bool(b) }, true}
		}
	case ast.CallKind:
		return nativeCall(k, e.AsCall())
	}
	return condition[T]{}
}

func nativeCall[T any](k *kindOf[T], c ast.CallExpr) condition[T] {
	args := c.Args()
	switch c.FunctionName() {
	case operators.LogicalAnd:
		return nativeAnd(native(k, args[0]), native(k, args[1]))
	case operators.LogicalOr:
		a, b := native(k, args[0]), native(k, args[1])
		if a.holds == nil || b.holds == nil {
			return condition[T]{}
		}
		return condition[T]{func(r *T) bool { return a.holds(r) || b.holds(r) }, a.exact && b.exact}
	case operators.LogicalNot:
		a := native(k, args[0])
		if !a.exact {
			return condition[T]{}
		}
		return condition[T]{func(r *T) bool { return !a.holds(r) }, true}
	}
	if holds := nativeTest(k, c); holds != nil {
		return condition[T]{holds, true}
	}
	return condition[T]{}
}

func nativeAnd[T any](a, b condition[T]) condition[T] {
	switch {
	case a.holds == nil:
		return condition[T]{b.holds, false}
	case b.holds == nil:
		return condition[T]{a.holds, false}
	}
	return condition[T]{func(r *T) bool { return a.holds(r) && b.holds(r) }, a.exact && b.exact}
}

// nativeTest makes a test of one field against literals.
func nativeTest[T any](k *kindOf[T], c ast.CallExpr) func(*T) bool {
	args := c.Args()
	switch name := c.FunctionName(); name {
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return nativeCompare(k, name, args[0], args[1])
	case operators.In:
		return nativeIn(k, args[0], args[1])
	case "startsWith", "endsWith", "contains":
		text, part := nativeText(k, c.Target()), literal[types.String](args...)
		if text == nil || len(part) != 1 {
			return nil
		}
		test := map[string]func(string, string) bool{"startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix, "contains": strings.Contains}[name]
		return func(r *T) bool { return test(text(r), string(part[0])) }
	case fnUnder:
		text, top := nativeText(k, args[0]), literal[types.String](args[1])
		if text == nil || len(top) != 1 {
			return nil
		}
		return func(r *T) bool { return under(text(r), string(top[0])) }
	case fnPrivate:
		if a := nativeAddress(k, args[0]); a != nil {
			return func(r *T) bool { return private(a(r)) }
		}
	case fnInCIDR:
		a, list := nativeAddress(k, args[0]), literal[types.String](elements(args[1])...)
		if a == nil {
			return nil
		}
		networks := make([]netip.Prefix, len(list))
		for i, text := range list {
			networks[i], _ = readNetwork(string(text)) // it was read before, or the rule is refused
		}
		return func(r *T) bool {
			address := a(r).Unmap()
			return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(address) })
		}
	}
	return nil
}

// elements are those of a list, or the one that is no list.
func elements(e ast.Expr) []ast.Expr {
	if e.Kind() == ast.ListKind {
		return e.AsList().Elements()
	}
	return []ast.Expr{e}
}

// literal returns the values of expressions that are all literals of one type, else nil.
func literal[V types.Int | types.String | types.Double](list ...ast.Expr) []V {
	out := make([]V, 0, len(list))
	for _, e := range list {
		if e.Kind() != ast.LiteralKind {
			return nil
		}
		v, ok := e.AsLiteral().(V)
		if !ok {
			return nil
		}
		out = append(out, v)
	}
	return out
}

func nativeCompare[T any](k *kindOf[T], op string, a, b ast.Expr) func(*T) bool {
	if a.Kind() == ast.LiteralKind || isConstant(a) {
		a, b = b, a
		op = mirrored[op]
	}
	if n, limit := nativeNumber(k, a), whole(b); n != nil && limit != nil {
		return compare(op, n, *limit)
	}
	if text, value := nativeText(k, a), literal[types.String](b); text != nil && len(value) == 1 {
		return compare(op, text, string(value[0]))
	}
	if a.Kind() != ast.IdentKind {
		return nil
	}
	if f, value := k.find(a.AsIdent()), literal[types.Double](b); f != nil && f.fraction != nil && len(value) == 1 {
		return compare(op, f.fraction, float64(value[0]))
	}
	return nil
}

var mirrored = map[string]string{
	operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals, operators.Less: operators.Greater,
	operators.LessEquals: operators.GreaterEquals, operators.Greater: operators.Less, operators.GreaterEquals: operators.LessEquals,
}

func compare[T any, V int64 | string | float64](op string, get func(*T) V, limit V) func(*T) bool {
	switch op {
	case operators.Equals:
		return func(r *T) bool { return get(r) == limit }
	case operators.NotEquals:
		return func(r *T) bool { return get(r) != limit }
	case operators.Less:
		return func(r *T) bool { return get(r) < limit }
	case operators.LessEquals:
		return func(r *T) bool { return get(r) <= limit }
	case operators.Greater:
		return func(r *T) bool { return get(r) > limit }
	}
	return func(r *T) bool { return get(r) >= limit }
}

func nativeIn[T any](k *kindOf[T], e, in ast.Expr) func(*T) bool {
	if in.Kind() != ast.ListKind {
		return nil
	}
	list := in.AsList().Elements()
	if n := nativeNumber(k, e); n != nil {
		var values []int64
		for _, e := range list {
			v := whole(e)
			if v == nil {
				return nil
			}
			values = append(values, *v)
		}
		return func(r *T) bool { return slices.Contains(values, n(r)) }
	}
	text, values := nativeText(k, e), literal[types.String](list...)
	if text == nil || len(values) != len(list) {
		return nil
	}
	return func(r *T) bool { return slices.Contains(values, types.String(text(r))) }
}

func isConstant(e ast.Expr) bool {
	if e.Kind() != ast.IdentKind {
		return false
	}
	_, known := constants[e.AsIdent()]
	return known
}

// whole is a whole number that stands in the rule, also by the name of a protocol.
func whole(e ast.Expr) *int64 {
	if isConstant(e) {
		n := constants[e.AsIdent()]
		return &n
	}
	if list := literal[types.Int](e); len(list) == 1 {
		n := int64(list[0])
		return &n
	}
	return nil
}

// nativeNumber is a field that is a whole number, or the length of a text.
func nativeNumber[T any](k *kindOf[T], e ast.Expr) func(*T) int64 {
	switch e.Kind() {
	case ast.IdentKind:
		if f := k.find(e.AsIdent()); f != nil {
			return f.number
		}
	case ast.CallKind:
		c := e.AsCall()
		if c.FunctionName() != "size" {
			return nil
		}
		of := c.Target()
		if !c.IsMemberFunction() {
			of = c.Args()[0]
		}
		if text := nativeText(k, of); text != nil {
			return func(r *T) int64 { return int64(utf8.RuneCountInString(text(r))) }
		}
	}
	return nil
}

// nativeText is a field that is a text or an address, also in lower case.
func nativeText[T any](k *kindOf[T], e ast.Expr) func(*T) string {
	switch e.Kind() {
	case ast.IdentKind:
		f := k.find(e.AsIdent())
		switch {
		case f != nil && f.text != nil:
			return func(r *T) string { return cut(f.text(r)) }
		case f != nil && f.address != nil:
			return func(r *T) string { return addressText(f.address(r)) }
		}
	case ast.CallKind:
		c := e.AsCall()
		if name := c.FunctionName(); name != fnLower && name != fnDomain {
			return nil
		}
		text := nativeText(k, c.Args()[0])
		if text == nil {
			return nil
		}
		if c.FunctionName() == fnDomain {
			return func(r *T) string { return domain(text(r)) }
		}
		return func(r *T) string { return dnsname.Lower(text(r)) }
	}
	return nil
}

func nativeAddress[T any](k *kindOf[T], e ast.Expr) func(*T) netip.Addr {
	if e.Kind() != ast.IdentKind {
		return nil
	}
	if f := k.find(e.AsIdent()); f != nil {
		return f.address
	}
	return nil
}
