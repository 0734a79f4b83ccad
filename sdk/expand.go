package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// maxArgValues bounds what a reference may expand to.
const maxArgValues = 4096

// ExpandPermissions replaces references such as "${config.targets}" or "${config.host}:${config.port}" in the
// arguments by the values of the configuration: a list becomes one value per element. A reference to nothing, or to an
// empty list, expands to no value at all, which allows nothing. Fill in the defaults of the configuration first
// (config.WithDefaults).
func ExpandPermissions(perms []Permission, config []byte) ([]Permission, error) {
	var root any
	if len(bytes.TrimSpace(config)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(config))
		dec.UseNumber()
		if err := dec.Decode(&root); err != nil {
			return nil, Errorf(InvalidConfig, "read the configuration that the permissions refer to: %w", err)
		}
	}
	out := make([]Permission, len(perms))
	for i, p := range perms {
		out[i] = p
		if p.Args == nil {
			continue
		}
		out[i].Args = make(map[string][]string, len(p.Args))
		for name, values := range p.Args {
			expanded, err := expandArg(name, values, root)
			if err != nil {
				return nil, Errorf(InvalidConfig, "permission %s, argument %s: %w", p.Cap, name, err)
			}
			out[i].Args[name] = expanded
		}
	}
	return out, nil
}

func expandArg(name string, values []string, root any) ([]string, error) {
	out := []string{}
	for _, v := range values {
		expanded, err := expandValue(v, root)
		if err != nil {
			return nil, err
		}
		for _, e := range expanded {
			if name == "to" && strings.Contains(e, "://") {
				dest, ok := urlDestination(e)
				if !ok {
					return nil, fmt.Errorf("%q is not a URL with a host", e)
				}
				e = dest
			}
			if err := checkArg(name, e); err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		if len(out) > maxArgValues {
			return nil, fmt.Errorf("more than %d values", maxArgValues)
		}
	}
	return out, nil
}

// expandValue returns v with its references replaced, once per combination of their values.
func expandValue(v string, root any) ([]string, error) {
	before, rest, found := strings.Cut(v, "${")
	if !found {
		return []string{v}, nil
	}
	ref, after, closed := strings.Cut(rest, "}")
	keyPath, isConfig := strings.CutPrefix(ref, "config.")
	if !closed || !isConfig || keyPath == "" {
		return nil, fmt.Errorf("%q: a reference has the form ${config.name}", v)
	}
	tails, err := expandValue(after, root)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range lookup(root, strings.Split(keyPath, ".")) {
		for _, tail := range tails {
			out = append(out, before+s+tail)
			if len(out) > maxArgValues {
				return nil, fmt.Errorf("%q stands for more than %d values", v, maxArgValues)
			}
		}
	}
	return out, nil
}

// lookup returns the scalars at the path as strings; lists on the way are followed into each element.
func lookup(v any, keys []string) []string {
	switch v := v.(type) {
	case map[string]any:
		if len(keys) == 0 {
			return nil
		}
		return lookup(v[keys[0]], keys[1:])
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, lookup(e, keys)...)
		}
		return out
	}
	if len(keys) > 0 {
		return nil
	}
	switch v := v.(type) {
	case string:
		if v != "" {
			return []string{v}
		}
	case json.Number:
		return []string{v.String()}
	case bool:
		return []string{strconv.FormatBool(v)}
	}
	return nil
}
