package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// maxDepth bounds the nesting of a configuration.
const maxDepth = 32

// Decode fills the struct that into points to: first the defaults, then the operator's JSON. Keys are matched exactly;
// an unknown or repeated key, a wrong type and a value outside its bounds are all reported together, each by its path,
// in an error of class InvalidConfig. A nil into accepts only an empty object.
func Decode(data []byte, into any) error {
	fields, err := fieldsOf(into)
	if err != nil {
		return err
	}
	tree, err := parse(data)
	if err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "configuration: %w", err)
	}
	var d decoder
	target := reflect.Value{}
	if into != nil {
		target = reflect.ValueOf(into).Elem()
		target.SetZero()
	}
	d.object("", fields, tree, target)
	if len(d.problems) > 0 {
		return sdk.Errorf(sdk.InvalidConfig, "configuration: %w", errors.Join(d.problems...))
	}
	return nil
}

type decoder struct{ problems []error }

func (d *decoder) problem(path, format string, args ...any) {
	d.problems = append(d.problems, errors.New(path+": "+fmt.Sprintf(format, args...)))
}

func (d *decoder) object(path string, fields []field, tree map[string]any, into reflect.Value) {
	known := map[string]bool{}
	for _, f := range fields {
		known[f.name] = true
		d.field(join(path, f.name), f, tree[f.name], into.Field(f.index))
	}
	var unknown []string
	for key := range tree {
		if !known[key] {
			unknown = append(unknown, key)
		}
	}
	sort.Strings(unknown)
	for _, key := range unknown {
		d.problem(join(path, strconv.QuoteToGraphic(key)), "unknown key")
	}
}

func (d *decoder) field(path string, f field, v any, into reflect.Value) {
	if v == nil {
		v = f.def
	}
	if f.typ.kind == kindObject && v == nil && !f.required {
		v = map[string]any{} // its fields have their own defaults
	}
	if isEmpty(v) && f.required {
		d.problem(path, "is required")
		return
	}
	if v == nil || v == "" && f.def == nil {
		return // an optional field left blank, as forms send it
	}
	before := len(d.problems)
	d.value(path, f.typ, v, into)
	if len(d.problems) > before {
		return
	}
	if msg := f.check(v); msg != "" {
		d.problem(path, "%s", msg)
	}
}

func (d *decoder) value(path string, t *typ, v any, into reflect.Value) {
	if err := t.fits(v); err != nil {
		d.problem(path, "%s", err)
		return
	}
	switch t.kind {
	case kindString:
		into.SetString(v.(string))
	case kindBool:
		into.SetBool(v.(bool))
	case kindInt:
		setInt(into, v.(number).String())
	case kindFloat:
		n, _ := v.(number).Float64()
		into.SetFloat(n)
	case kindDuration:
		n, _ := time.ParseDuration(v.(string))
		into.SetInt(int64(n))
	case kindList:
		list := v.([]any)
		into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
		for i, e := range list {
			d.value(path+"["+strconv.Itoa(i)+"]", t.elem, e, into.Index(i))
		}
	case kindMap:
		d.mapping(path, t, v.(map[string]any), into)
	case kindObject:
		d.object(path, t.fields, v.(map[string]any), into)
	}
}

func (d *decoder) mapping(path string, t *typ, tree map[string]any, into reflect.Value) {
	into.Set(reflect.MakeMapWithSize(into.Type(), len(tree)))
	for key, v := range tree {
		elem := reflect.New(into.Type().Elem()).Elem()
		d.value(join(path, strconv.QuoteToGraphic(key)), t.elem, v, elem)
		into.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), elem)
	}
}

func setInt(into reflect.Value, text string) {
	if into.CanUint() {
		n, _ := strconv.ParseUint(text, 10, 64)
		into.SetUint(n)
		return
	}
	n, _ := strconv.ParseInt(text, 10, 64)
	into.SetInt(n)
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// parse reads one JSON object. Nothing, and null, are an empty one.
func parse(data []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := parseValue(dec, "", 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is something after the end of the JSON value")
	}
	switch v := v.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return v, nil
	}
	return nil, fmt.Errorf("must be a JSON object")
}

// parseValue is json.Unmarshal into any, but refuses repeated keys: of two values a reader would see one and the
// decoder take the other.
func parseValue(dec *json.Decoder, path string, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	delim, isDelim := tok.(json.Delim)
	if !isDelim {
		return tok, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if delim == '[' {
		return parseList(dec, path, depth)
	}
	out := map[string]any{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		key := tok.(string)
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("%s: key appears twice", join(path, strconv.QuoteToGraphic(key)))
		}
		if out[key], err = parseValue(dec, join(path, key), depth+1); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return out, notJSON(err)
}

func parseList(dec *json.Decoder, path string, depth int) (any, error) {
	out := []any{}
	for dec.More() {
		v, err := parseValue(dec, path+"["+strconv.Itoa(len(out))+"]", depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := dec.Token()
	return out, notJSON(err)
}

func notJSON(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("not valid JSON: %w", err)
}

// Secrets returns the paths of the secret fields of the struct that ptr points to, for example "smtp.password".
func Secrets(ptr any) ([]string, error) {
	fields, err := fieldsOf(ptr)
	if err != nil {
		return nil, err
	}
	return secretPaths("", fields), nil
}

func secretPaths(path string, fields []field) []string {
	var out []string
	for _, f := range fields {
		if f.secret {
			out = append(out, join(path, f.name))
		}
		if f.typ.kind == kindObject {
			out = append(out, secretPaths(join(path, f.name), f.typ.fields)...)
		}
	}
	return out
}

// WithSecrets puts secrets into the configuration at their paths, so that a plugin finds them in its struct.
func WithSecrets(data []byte, secrets map[string]string) ([]byte, error) {
	tree, err := parse(data)
	if err != nil {
		return nil, sdk.Errorf(sdk.InvalidConfig, "configuration: %w", err)
	}
	for path, secret := range secrets {
		if err := put(tree, strings.Split(path, "."), secret); err != nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "configuration: secret %s: %w", path, err)
		}
	}
	return json.Marshal(tree)
}

func put(tree map[string]any, keys []string, value any) error {
	for len(keys) > 1 {
		next, ok := tree[keys[0]].(map[string]any)
		if !ok {
			if tree[keys[0]] != nil {
				return fmt.Errorf("%s is not an object", keys[0])
			}
			next = map[string]any{}
			tree[keys[0]] = next
		}
		tree, keys = next, keys[1:]
	}
	tree[keys[0]] = value
	return nil
}
