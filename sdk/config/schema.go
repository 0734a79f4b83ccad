package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// durationPattern is what time.ParseDuration accepts.
const durationPattern = `^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`

// Schema returns the JSON Schema (2020-12) of the struct that ptr points to. Beyond the standard words it uses
// "x-secret" (also writeOnly), "x-order" (the position of a field in its form), and "x-format" with "x-min" and "x-max"
// for what JSON Schema has no word for.
func Schema(ptr any) ([]byte, error) {
	fields, err := fieldsOf(ptr)
	if err != nil {
		return nil, err
	}
	root := append(object{{"$schema", "https://json-schema.org/draft/2020-12/schema"}}, objectSchema(fields)...)
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("config %T: %w", ptr, err)
	}
	return out, nil
}

// object is a JSON object that keeps its order.
type object []member

type member struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func objectSchema(fields []field) object {
	properties := object{}
	required := []string{}
	for i, f := range fields {
		s := fieldSchema(f)
		properties = append(properties, member{f.name, append(s, member{"x-order", i})})
		if f.required {
			required = append(required, f.name)
		}
	}
	out := object{{"type", "object"}, {"additionalProperties", false}, {"properties", properties}}
	if len(required) > 0 {
		out = append(out, member{"required", required})
	}
	return out
}

func fieldSchema(f field) object {
	s := typeSchema(f.typ, &f)
	if f.doc != "" {
		s = append(s, member{"description", f.doc})
	}
	if f.def != nil {
		s = append(s, member{"default", f.def})
	}
	if f.secret {
		s = append(s, member{"writeOnly", true}, member{"x-secret", true})
	}
	return append(s, boundsSchema(&f)...)
}

// typeSchema describes the type; enum and format of f land at the scalar, inside of lists.
func typeSchema(t *typ, f *field) object {
	switch t.kind {
	case kindBool:
		return object{{"type", "boolean"}}
	case kindInt:
		return append(object{{"type", "integer"}}, scalarSchema(t, f)...)
	case kindFloat:
		return append(object{{"type", "number"}}, scalarSchema(t, f)...)
	case kindDuration:
		return object{{"type", "string"}, {"pattern", durationPattern}, {"x-format", "duration"}}
	case kindList:
		return object{{"type", "array"}, {"items", typeSchema(t.elem, f)}}
	case kindMap:
		return object{{"type", "object"}, {"additionalProperties", object{{"type", "string"}}}}
	case kindObject:
		return objectSchema(t.fields)
	}
	return append(object{{"type", "string"}}, scalarSchema(t, f)...)
}

func scalarSchema(t *typ, f *field) object {
	var s object
	if len(f.enum) > 0 {
		values := make([]any, len(f.enum))
		for i, v := range f.enum {
			values[i] = v
			if t.kind != kindString {
				values[i] = number(v)
			}
		}
		s = append(s, member{"enum", values})
	}
	if f.format == "url" {
		s = append(s, member{"format", "uri"})
	}
	if f.format != "" {
		s = append(s, member{"x-format", f.format})
	}
	return s
}

func boundsSchema(f *field) object {
	words := map[kind][2]string{
		kindInt: {"minimum", "maximum"}, kindFloat: {"minimum", "maximum"}, kindString: {"minLength", "maxLength"},
		kindList: {"minItems", "maxItems"}, kindMap: {"minProperties", "maxProperties"}, kindDuration: {"x-min", "x-max"},
	}[f.typ.kind]
	var s object
	for i, text := range []string{f.minText, f.maxText} {
		switch {
		case text == "":
		case f.typ.kind == kindDuration:
			s = append(s, member{words[i], text})
		default:
			s = append(s, member{words[i], number(text)})
		}
	}
	return s
}

// WithDefaults fills the defaults of a schema made by Schema into a configuration. The host uses it where it knows the
// plugin only by its signed description, for example to expand the permissions that refer to the configuration.
func WithDefaults(schema, data []byte) ([]byte, error) {
	tree, err := parse(data)
	if err != nil {
		return nil, sdk.Errorf(sdk.InvalidConfig, "configuration: %w", err)
	}
	var s defaults
	dec := json.NewDecoder(bytes.NewReader(schema))
	dec.UseNumber()
	if len(bytes.TrimSpace(schema)) > 0 {
		if err := dec.Decode(&s); err != nil {
			return nil, fmt.Errorf("read the configuration's schema: %w", err)
		}
	}
	s.fill(tree)
	return json.Marshal(tree)
}

type defaults struct {
	Type       any                 `json:"type"`
	Default    any                 `json:"default"`
	Properties map[string]defaults `json:"properties"`
	Items      *defaults           `json:"items"`
}

func (s defaults) fill(tree map[string]any) {
	for name, p := range s.Properties {
		if tree[name] == nil && p.Default != nil {
			tree[name] = p.Default
		}
		if tree[name] == nil && len(p.Properties) > 0 {
			tree[name] = map[string]any{}
		}
		switch v := tree[name].(type) {
		case map[string]any:
			p.fill(v)
		case []any:
			p.fillItems(v)
		}
	}
}

func (s defaults) fillItems(list []any) {
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && s.Items != nil {
			s.Items.fill(m)
		}
	}
}

// Table returns the fields as a Markdown table for the README of a plugin.
func Table(ptr any) string {
	fields, err := fieldsOf(ptr)
	if err != nil {
		return err.Error() + "\n"
	}
	if len(fields) == 0 {
		return "There is nothing to configure.\n"
	}
	var b strings.Builder
	b.WriteString("| Name | Type | Default | Meaning |\n|---|---|---|---|\n")
	writeRows(&b, "", fields)
	return b.String()
}

func writeRows(b *strings.Builder, path string, fields []field) {
	for _, f := range fields {
		name := join(path, f.name)
		if f.typ.kind == kindObject {
			writeRows(b, name, f.typ.fields)
			continue
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, cell(f.typeText()), f.defaultText(), cell(f.doc))
		if f.typ.kind == kindList && f.typ.elem.kind == kindObject {
			writeRows(b, name+"[]", f.typ.elem.fields)
		}
	}
}

func (f *field) typeText() string {
	text := f.typ.name()
	if f.secret {
		text += ", secret"
	}
	if len(f.enum) > 0 {
		text += ": " + strings.Join(f.enum, " or ")
	}
	if f.format != "" {
		text += ", " + f.format
	}
	switch {
	case f.minText != "" && f.maxText != "":
		text += ", " + f.minText + " to " + f.maxText
	case f.minText != "":
		text += ", at least " + f.minText
	case f.maxText != "":
		text += ", at most " + f.maxText
	}
	return text
}

func (t *typ) name() string {
	switch t.kind {
	case kindBool:
		return "yes or no"
	case kindInt:
		return "whole number"
	case kindFloat:
		return "number"
	case kindDuration:
		return "duration"
	case kindList:
		return "list of " + t.elem.name()
	case kindMap:
		return "names and values"
	case kindObject:
		return "object"
	}
	return "text"
}

func (f *field) defaultText() string {
	if f.required {
		return "required"
	}
	if f.def == nil {
		return ""
	}
	if list, ok := f.def.([]any); ok {
		parts := make([]string, len(list))
		for i, v := range list {
			parts[i] = fmt.Sprint(v)
		}
		return "`" + cell(strings.Join(parts, ", ")) + "`"
	}
	return "`" + cell(fmt.Sprint(f.def)) + "`"
}

// cell keeps a text from breaking its table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}
