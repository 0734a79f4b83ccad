package store

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// GroupRule is one thing that an agent must be to be in a group: FIELD=VALUE, FIELD!=VALUE or FIELD~EXPRESSION, where the field
// is name, os, arch or label.NAME.
type GroupRule struct {
	Field, Op, Value string

	fits *regexp.Regexp
}

const maxRule = 300 // bytes

// ParseGroupRule reads a rule, or says what is wrong with it.
func ParseGroupRule(text string) (GroupRule, error) {
	if len(text) > maxRule {
		return GroupRule{}, fmt.Errorf("a rule has at most %d bytes", maxRule)
	}
	at := strings.IndexAny(text, "=!~")
	if at < 1 {
		return GroupRule{}, fmt.Errorf("%q is no rule: write os=linux, name~^web-, label.site!=berlin", text)
	}
	r := GroupRule{Field: strings.TrimSpace(text[:at]), Op: text[at : at+1]}
	rest := text[at+1:]
	if r.Op == "!" {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, "="); !ok {
			return GroupRule{}, fmt.Errorf("%q is no rule: what is not to be is written FIELD!=VALUE", text)
		}
		r.Op = "!="
	}
	r.Value = strings.TrimSpace(rest)
	label, isLabel := strings.CutPrefix(r.Field, "label.")
	switch r.Field {
	case "name", "os", "arch":
	default:
		if !isLabel || label == "" {
			return GroupRule{}, fmt.Errorf("%q is nothing that a rule can look at: name, os, arch or label.NAME", r.Field)
		}
	}
	if r.Op != "~" {
		return r, nil
	}
	var err error
	if r.fits, err = regexp.Compile(r.Value); err != nil {
		return GroupRule{}, fmt.Errorf("%q is no regular expression: %w", r.Value, err)
	}
	return r, nil
}

func (r GroupRule) String() string { return r.Field + r.Op + r.Value }

// MarshalJSON writes the rule as somebody does.
func (r GroupRule) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

// UnmarshalJSON reads it.
func (r *GroupRule) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	var err error
	*r, err = ParseGroupRule(text)
	return err
}

// Fits reports whether an agent is so.
func (r GroupRule) Fits(a Agent) bool {
	value := ""
	switch r.Field {
	case "name":
		value = a.Name
	case "os":
		value = a.OS
	case "arch":
		value = a.Arch
	default:
		value = a.Labels[strings.TrimPrefix(r.Field, "label.")]
	}
	switch r.Op {
	case "=":
		return value == r.Value
	case "!=":
		return value != r.Value
	}
	return r.fits != nil && r.fits.MatchString(value)
}
