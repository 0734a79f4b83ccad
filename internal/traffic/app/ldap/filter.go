package ldap

import "github.com/picketwatch/picket/internal/traffic/app/ber"

// Limits of a filter.
const (
	maxFilter = 2048 // bytes of text
	maxDepth  = 32
)

// Kinds of filters, as tags.
const (
	filterAnd     = 0xa0
	filterOr      = 0xa1
	filterNot     = 0xa2
	filterEqual   = 0xa3
	filterParts   = 0xa4
	filterGreater = 0xa5
	filterLess    = 0xa6
	filterPresent = 0x87
	filterApprox  = 0xa8
	filterRule    = 0xa9
)

// appendFilter writes a filter as RFC 4515 does. What is too deep, too long or not understood is an ellipsis.
func appendFilter(out []byte, tag byte, b ber.Reader, depth int) []byte {
	if depth >= maxDepth || len(out) > maxFilter {
		return append(out, "(...)"...)
	}
	out = append(out, '(')
	switch tag {
	case filterAnd:
		out = appendList(append(out, '&'), b, depth)
	case filterOr:
		out = appendList(append(out, '|'), b, depth)
	case filterNot:
		out = appendList(append(out, '!'), b, depth)
	case filterEqual:
		out = appendPair(out, "=", b)
	case filterGreater:
		out = appendPair(out, ">=", b)
	case filterLess:
		out = appendPair(out, "<=", b)
	case filterApprox:
		out = appendPair(out, "~=", b)
	case filterPresent:
		out = append(appendValue(out, b), "=*"...)
	case filterParts:
		out = appendParts(out, b)
	case filterRule:
		out = appendRule(out, b)
	default:
		out = append(out, "..."...)
	}
	return append(out, ')')
}

func appendList(out []byte, b ber.Reader, depth int) []byte {
	for len(b) > 0 && len(out) <= maxFilter {
		tag, value, ok := b.Next()
		if !ok {
			return append(out, "..."...)
		}
		out = appendFilter(out, tag, value, depth+1)
	}
	return out
}

func appendPair(out []byte, sign string, b ber.Reader) []byte {
	var name, value ber.Reader
	if !b.Take(ber.Octets, &name) || !b.Take(ber.Octets, &value) {
		return append(out, "..."...)
	}
	return appendValue(append(appendValue(out, name), sign...), value)
}

// appendParts writes initial, any and final parts of a value.
func appendParts(out []byte, b ber.Reader) []byte {
	const initial, final = 0x80, 0x82
	var name, parts ber.Reader
	if !b.Take(ber.Octets, &name) || !b.Take(ber.Sequence, &parts) {
		return append(out, "..."...)
	}
	out = append(appendValue(out, name), '=')
	last := byte(0)
	for len(parts) > 0 && len(out) <= maxFilter {
		tag, value, ok := parts.Next()
		if !ok {
			return append(out, "..."...)
		}
		if tag != initial {
			out = append(out, '*')
		}
		out, last = appendValue(out, value), tag
	}
	if last != final {
		out = append(out, '*')
	}
	return out
}

// appendRule writes an extensible match: a rule, an attribute, a value, a flag for the parts of a name.
func appendRule(out []byte, b ber.Reader) []byte {
	var rule, name, value ber.Reader
	dn := false
	for len(b) > 0 {
		tag, field, ok := b.Next()
		if !ok {
			return append(out, "..."...)
		}
		switch tag {
		case 0x81:
			rule = field
		case 0x82:
			name = field
		case 0x83:
			value = field
		case 0x84:
			dn = len(field) == 1 && field[0] != 0
		}
	}
	out = appendValue(out, name)
	if dn {
		out = append(out, ":dn"...)
	}
	if len(rule) > 0 {
		out = appendValue(append(out, ':'), rule)
	}
	return appendValue(append(out, ":="...), value)
}

// appendValue writes a name or a value, with marks and bytes that are no text in hex.
func appendValue(out []byte, b []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range b[:min(len(b), maxFilter)] {
		switch {
		case c < ' ' || c >= 0x7f || c == '(' || c == ')' || c == '*' || c == '\\':
			out = append(out, '\\', digits[c>>4], digits[c&0xf])
		default:
			out = append(out, c)
		}
	}
	return out
}
