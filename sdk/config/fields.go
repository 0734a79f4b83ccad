// Package config turns one tagged struct into everything that an operator's configuration needs: decoding with
// defaults, checking, a JSON Schema for the form on the page, and a table for the README.
//
// In goes a pointer to a struct and the operator's JSON; out comes the filled struct or every problem at once, each
// with its path. Tags say what is allowed:
//
//	type Config struct {
//		Targets  []string        `json:"targets" required:"true" format:"hostport" doc:"The hosts to ask."`
//		Interval config.Duration `json:"interval" default:"30s" min:"1s" doc:"Time between two questions."`
//		Mode     string          `json:"mode" default:"fast" enum:"fast,deep" doc:"How hard to look."`
//		Password string          `json:"password" secret:"true" doc:"Sent to each target."`
//	}
//
// Types: string, bool, integers, floats, Duration, nested structs, map[string]string, and slices of these.
// min and max bound the value of a number or a Duration, the length of a string, the number of elements of a slice or
// a map; enum and format apply to each element. Formats: cidr, url, hostport, host, duration.
package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as a string such as "1m30s".
type Duration time.Duration

// String is the duration as time.Duration writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText is String; it does not fail.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration does, and fails as it does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// kind is how a field is written in JSON.
type kind int

const (
	kindString kind = iota
	kindBool
	kindInt
	kindFloat
	kindDuration
	kindList
	kindMap
	kindObject
)

// typ describes a Go type; list and map carry their element, objects their fields.
type typ struct {
	kind   kind
	elem   *typ
	fields []field
	ints   intRange
}

// intRange is what an integer type can hold.
type intRange struct {
	min int64
	max uint64
}

// field is one tagged field of a struct.
type field struct {
	index    int
	name     string
	doc      string
	typ      *typ
	def      any // decoded from the tag, as JSON would give it; nil without default
	min, max *float64
	minText  string
	maxText  string
	enum     []string
	format   string
	secret   bool
	required bool
}

// fieldsOf reads the tags of the struct that ptr points to. A mistake in them is the author's, not the operator's.
func fieldsOf(ptr any) ([]field, error) {
	if ptr == nil {
		return nil, nil
	}
	t := reflect.TypeOf(ptr)
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("config %T: must be a pointer to a struct", ptr)
	}
	fields, err := structFields(t.Elem())
	if err != nil {
		return nil, fmt.Errorf("config %T: %w", ptr, err)
	}
	return fields, nil
}

func structFields(t reflect.Type) ([]field, error) {
	var out []field
	seen := map[string]bool{}
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if !sf.IsExported() || name == "-" {
			continue
		}
		if name == "" || seen[name] || strings.ContainsAny(name, ".${}") {
			return nil, fmt.Errorf("field %s needs a json tag with its own plain name", sf.Name)
		}
		seen[name] = true
		f, err := newField(i, name, sf)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", sf.Name, err)
		}
		out = append(out, f)
	}
	return out, nil
}

func newField(index int, name string, sf reflect.StructField) (field, error) {
	tag := sf.Tag
	f := field{index: index, name: name, doc: tag.Get("doc"), format: tag.Get("format"),
		secret: tag.Get("secret") == "true", required: tag.Get("required") == "true"}
	var err error
	if f.typ, err = typeOf(sf.Type); err != nil {
		return f, err
	}
	if list := tag.Get("enum"); list != "" {
		f.enum = strings.Split(list, ",")
	}
	if f.format != "" && formats[f.format] == nil {
		return f, fmt.Errorf("unknown format %q", f.format)
	}
	if f.min, f.minText, err = f.bound(tag.Get("min")); err != nil {
		return f, fmt.Errorf("min: %w", err)
	}
	if f.max, f.maxText, err = f.bound(tag.Get("max")); err != nil {
		return f, fmt.Errorf("max: %w", err)
	}
	text, ok := tag.Lookup("default")
	if !ok {
		return f, nil
	}
	if f.required || f.secret {
		return f, fmt.Errorf("a required or secret field has no default")
	}
	if f.def, err = parseDefault(f.typ, text); err != nil {
		return f, fmt.Errorf("default: %w", err)
	}
	if msg := f.check(f.def); msg != "" {
		return f, fmt.Errorf("default: %s", msg)
	}
	return f, nil
}

// bound parses the value of min or max.
func (f *field) bound(text string) (*float64, string, error) {
	if text == "" {
		return nil, "", nil
	}
	if f.typ.kind == kindDuration {
		d, err := time.ParseDuration(text)
		v := float64(d)
		return &v, text, err
	}
	v, err := strconv.ParseFloat(text, 64)
	if f.typ.kind == kindBool || f.typ.kind == kindObject {
		err = fmt.Errorf("has no meaning here")
	}
	return &v, text, err
}

var (
	durationType    = reflect.TypeFor[Duration]()
	stdDurationType = reflect.TypeFor[time.Duration]()
)

func typeOf(t reflect.Type) (*typ, error) {
	if t == durationType || t == stdDurationType {
		return &typ{kind: kindDuration}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return &typ{kind: kindString}, nil
	case reflect.Bool:
		return &typ{kind: kindBool}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		bits := t.Bits()
		return &typ{kind: kindInt, ints: intRange{math.MinInt64 >> (64 - bits), math.MaxInt64 >> (64 - bits)}}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &typ{kind: kindInt, ints: intRange{0, math.MaxUint64 >> (64 - t.Bits())}}, nil
	case reflect.Float32, reflect.Float64:
		return &typ{kind: kindFloat}, nil
	case reflect.Slice:
		elem, err := typeOf(t.Elem())
		return &typ{kind: kindList, elem: elem}, err
	case reflect.Map:
		if t.Key().Kind() != reflect.String || t.Elem().Kind() != reflect.String {
			return nil, fmt.Errorf("a map must be a map[string]string")
		}
		return &typ{kind: kindMap, elem: &typ{kind: kindString}}, nil
	case reflect.Struct:
		fields, err := structFields(t)
		return &typ{kind: kindObject, fields: fields}, err
	}
	return nil, fmt.Errorf("type %s is not supported", t)
}

// parseDefault turns the text of a default tag into what the JSON decoder would have given.
func parseDefault(t *typ, text string) (any, error) {
	switch t.kind {
	case kindString, kindDuration:
		return text, t.fits(text)
	case kindBool:
		v, err := strconv.ParseBool(text)
		return v, err
	case kindInt, kindFloat:
		return number(text), t.fits(number(text))
	case kindList:
		out := []any{}
		if text == "" {
			return out, nil
		}
		for _, part := range strings.Split(text, ",") {
			v, err := parseDefault(t.elem, part)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	}
	return nil, fmt.Errorf("this type has no default")
}
