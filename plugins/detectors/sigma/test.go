package sigma

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// test is a question to one value of a record.
type test struct {
	column column
	asks   asks
	glob   glob
	re     *regexp.Regexp
	prefix netip.Prefix
	number int64
	other  column
	// needles are texts of which its column must hold one for it to be true, whole is what it must be; letters in any case. A test
	// without is asked of each record that a rule which needs it is evaluated for.
	needles []string
	whole   string
	name    string // the same tests have the same
}

type asks uint8

const (
	isLike    asks = iota // the glob
	fits                  // the expression, anywhere
	isInside              // the network
	isAbsent              // nothing was seen
	isPresent             // something was
	isEqual               // the number
	isLess
	isMore
	isOther // as another column of texts
)

// holds reports whether it is true of a record.
func (t *test) holds(r *record) bool {
	v := &r.values[t.column]
	switch t.asks {
	case isAbsent:
		return !t.present(v)
	case isPresent:
		return t.present(v)
	case isEqual:
		return v.known && v.number == t.number
	case isLess:
		return v.known && v.number < t.number
	case isMore:
		return v.known && v.number > t.number
	case isInside:
		if natures[t.column] == isAddress {
			return t.prefix.Contains(v.addr)
		}
	}
	switch natures[t.column] {
	case isNumber:
		return v.known && t.isTrue(strconv.FormatInt(v.number, 10), r)
	case isAddress:
		return v.addr.IsValid() && t.isTrue(v.addr.String(), r)
	}
	if v.list == nil {
		return t.isTrue(v.text, r) || v.from > 0 && t.isTrue(v.text[v.from:], r)
	}
	for _, text := range v.list {
		if t.isTrue(text, r) {
			return true
		}
	}
	return false
}

func (t *test) present(v *value) bool {
	switch natures[t.column] {
	case isNumber:
		return v.known
	case isAddress:
		return v.addr.IsValid()
	}
	return v.text != "" || len(v.list) > 0
}

// isTrue asks one text.
func (t *test) isTrue(text string, r *record) bool {
	switch t.asks {
	case isLike:
		return t.glob.match(text)
	case fits:
		return t.re.MatchString(text)
	case isInside:
		a, err := netip.ParseAddr(text)
		return err == nil && t.prefix.Contains(a.Unmap())
	case isOther:
		v := &r.values[t.other]
		switch natures[t.other] {
		case isAddress:
			return v.addr.IsValid() && strings.EqualFold(text, v.addr.String())
		case isNumber:
			return v.known && text == strconv.FormatInt(v.number, 10)
		}
		if text == "" {
			return false
		}
		if v.list == nil {
			return strings.EqualFold(text, v.text) || v.from > 0 && strings.EqualFold(text, v.text[v.from:])
		}
		for _, other := range v.list {
			if strings.EqualFold(text, other) {
				return true
			}
		}
	}
	return false
}

// found reports whether it is only asked when one of its texts was found.
func (t *test) found() bool { return len(t.needles) > 0 || t.whole != "" }

// maxNeedle is how much of a text is searched for: what tells it apart is mostly at its end, and tables of long texts do not fit into a
// processor's cache.
const maxNeedle = 8

func needle(text string) string { return text[max(0, len(text)-maxNeedle):] }

// named gives a test the name that tells it apart.
func (t test) named() test {
	t.name = fmt.Sprint(t.column, t.asks, t.glob, t.re, t.prefix, t.number, t.other)
	return t
}
