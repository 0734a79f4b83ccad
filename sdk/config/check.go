package config

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// number is a JSON number as text, so that no digit is lost on the way to an int64.
type number = json.Number

// fits reports whether a JSON value can be stored in the type.
func (t *typ) fits(v any) error {
	switch t.kind {
	case kindString:
		if _, ok := v.(string); !ok {
			return fmt.Errorf("must be a string")
		}
	case kindBool:
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("must be true or false")
		}
	case kindDuration:
		s, ok := v.(string)
		if _, err := time.ParseDuration(s); !ok || err != nil {
			return fmt.Errorf("must be a duration such as \"30s\" or \"1m30s\"")
		}
	case kindInt:
		n, ok := v.(number)
		if !ok || !t.ints.holds(n.String()) {
			return fmt.Errorf("must be a whole number from %d to %d", t.ints.min, t.ints.max)
		}
	case kindFloat:
		n, ok := v.(number)
		if !ok {
			return fmt.Errorf("must be a number")
		}
		if f, err := n.Float64(); err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return fmt.Errorf("must be a finite number")
		}
	case kindList:
		if _, ok := v.([]any); !ok {
			return fmt.Errorf("must be a list")
		}
	case kindMap, kindObject:
		if _, ok := v.(map[string]any); !ok {
			return fmt.Errorf("must be an object")
		}
	}
	return nil
}

func (r intRange) holds(text string) bool {
	if strings.HasPrefix(text, "-") {
		n, err := strconv.ParseInt(text, 10, 64)
		return err == nil && n >= r.min
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return err == nil && n <= r.max
}

// check says in words what is wrong with a value that fits its type, "" when nothing is.
func (f *field) check(v any) string {
	size, what := f.size(v)
	if f.min != nil && size < *f.min {
		return fmt.Sprintf("%s must be at least %s", what, f.minText)
	}
	if f.max != nil && size > *f.max {
		return fmt.Sprintf("%s must be at most %s", what, f.maxText)
	}
	elems, isList := v.([]any)
	if !isList {
		return f.checkOne(v)
	}
	for i, e := range elems {
		if msg := f.checkOne(e); msg != "" {
			return fmt.Sprintf("element %d %s", i, msg)
		}
	}
	return ""
}

// checkOne applies enum and format to a scalar.
func (f *field) checkOne(v any) string {
	text, ok := scalarText(v)
	if !ok {
		return ""
	}
	if len(f.enum) > 0 && !contains(f.enum, text) {
		return fmt.Sprintf("%s must be one of %s", f.quote(text), strings.Join(f.enum, ", "))
	}
	if f.format != "" {
		if problem := formats[f.format](text); problem != "" {
			return f.quote(text) + " " + problem
		}
	}
	return ""
}

// quote repeats the value unless it is a secret, which must not end up in an error or a log.
func (f *field) quote(text string) string {
	if f.secret {
		return "the value"
	}
	return strconv.Quote(text)
}

// size returns what min and max bound.
func (f *field) size(v any) (float64, string) {
	switch v := v.(type) {
	case string:
		if f.typ.kind == kindDuration {
			d, _ := time.ParseDuration(v)
			return float64(d), "it"
		}
		return float64(utf8.RuneCountInString(v)), "its length"
	case number:
		n, _ := v.Float64()
		return n, "it"
	case []any:
		return float64(len(v)), "the number of elements"
	case map[string]any:
		return float64(len(v)), "the number of entries"
	}
	return 0, "it"
}

func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case number:
		return v.String(), true
	}
	return "", false
}

// formats say what is wrong with a text, "" when nothing is.
var formats = map[string]func(string) string{
	"cidr": func(s string) string {
		if _, err := netip.ParsePrefix(s); err != nil {
			return "is not a network such as 192.168.1.0/24"
		}
		return ""
	},
	"url": func(s string) string {
		if u, err := url.Parse(s); err != nil || u.Scheme == "" || u.Host == "" {
			return "is not a URL such as https://example.org/path"
		}
		return ""
	},
	"host": func(s string) string {
		if !isHost(s) {
			return "is not a host name or an address"
		}
		return ""
	},
	"hostport": func(s string) string {
		i := strings.LastIndexByte(s, ':')
		if i < 0 {
			return "is not host:port"
		}
		port, err := strconv.ParseUint(s[i+1:], 10, 16)
		host := strings.TrimSuffix(strings.TrimPrefix(s[:i], "["), "]")
		if err != nil || port == 0 || !isHost(host) || strings.Contains(host, ":") != strings.HasPrefix(s, "[") {
			return "is not host:port such as example.org:443 or [2001:db8::1]:443"
		}
		return ""
	},
	"duration": func(s string) string {
		if _, err := time.ParseDuration(s); err != nil {
			return "is not a duration such as 30s"
		}
		return ""
	},
}

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
