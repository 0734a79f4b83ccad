// Package strict reads configuration that decides what may run: YAML or JSON goes in, a filled struct comes out, and
// anything that two readers could understand differently is refused. That rules out anchors, aliases, tags, merge keys,
// duplicate keys, several documents in one file, unknown keys, and text after the end.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxDepth is far beyond what our files need and far below what costs stack.
const maxDepth = 16

// YAML parses one YAML document whose top level is a mapping.
func YAML(data []byte, maxBytes int) (map[string]any, error) {
	if err := checkText(data, maxBytes); err != nil {
		return nil, err
	}
	doc, err := parse(data)
	if err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, errors.New("the file is empty")
	}
	tree, err := convert(doc, 0)
	if err != nil {
		return nil, err
	}
	m, ok := tree.(map[string]any)
	if !ok {
		return nil, errors.New("the top level must be a mapping of keys to values")
	}
	return m, nil
}

// JSON decodes data into the struct that into points to.
func JSON(data []byte, maxBytes int, into any) error {
	if err := CheckJSON(data, Rules{MaxBytes: maxBytes, MaxDepth: maxJSONDepth}); err != nil {
		return err
	}
	return decode(data, into)
}

// Decode fills the struct that into points to from a parsed tree.
func Decode(tree map[string]any, into any) error {
	data, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return decode(data, into)
}

func decode(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return plain(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is text after the end of the document")
	}
	return nil
}

// plain turns the messages of encoding/json into ones that name the key and say what was expected.
func plain(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fmt.Errorf("%s: expected %s, found a %s", typ.Field, typ.Type, typ.Value)
	}
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown key %s", key)
	}
	return err
}

func checkText(data []byte, maxBytes int) error {
	if len(data) > maxBytes {
		return fmt.Errorf("the file has %d bytes, at most %d are allowed", len(data), maxBytes)
	}
	if !utf8.Valid(data) {
		return errors.New("the file is not valid UTF-8")
	}
	return nil
}

// parse shields the caller from the parser, whose input may be hostile.
func parse(data []byte) (body ast.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			body, err = nil, fmt.Errorf("the file is not valid YAML (%v)", r)
		}
	}()
	if err := checkFlowDepth(data); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("the file is not valid YAML: %w", firstLine(err))
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, errors.New("the file holds more than one document")
		}
		body = doc.Body
	}
	return body, nil
}

// checkFlowDepth bounds nesting before the recursive parser sees it. Brackets inside quotes count too, which only
// makes the bound tighter.
func checkFlowDepth(data []byte) error {
	depth := 0
	for _, c := range data {
		switch c {
		case '[', '{':
			if depth++; depth > 4*maxDepth {
				return errors.New("the file is nested too deeply")
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return nil
}

// maxJSONDepth allows for JSON Schemas inside a descriptor.
const maxJSONDepth = 64

func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}

func convert(n ast.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, at(n, "nested too deeply")
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return convertMapping(n.Values, depth)
	case *ast.MappingValueNode:
		return convertMapping([]*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out := make([]any, 0, len(n.Values))
		for _, v := range n.Values {
			item, err := convert(v, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, item)
		}
		return out, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode:
		return n.Value, nil
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.NullNode:
		return nil, nil
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return nil, at(n, "anchors, aliases and merge keys are not allowed; write the value out")
	case *ast.TagNode:
		return nil, at(n, "tags such as !!str are not allowed; quote the value instead")
	default:
		return nil, at(n, "this kind of YAML value is not allowed")
	}
}

func convertMapping(values []*ast.MappingValueNode, depth int) (any, error) {
	out := make(map[string]any, len(values))
	for _, kv := range values {
		key, ok := kv.Key.(*ast.StringNode)
		if !ok {
			return nil, at(kv, "keys must be plain strings; merge keys and tags are not allowed")
		}
		if _, dup := out[key.Value]; dup {
			return nil, at(kv, fmt.Sprintf("key %q appears twice", key.Value))
		}
		v, err := convert(kv.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, at(kv, fmt.Sprintf("key %q has no value; write one, or [] for nothing, or remove the key", key.Value))
		}
		out[key.Value] = v
	}
	return out, nil
}

func at(n ast.Node, msg string) error {
	if tok := n.GetToken(); tok != nil && tok.Position != nil {
		return fmt.Errorf("line %d: %s", tok.Position.Line, msg)
	}
	return errors.New(msg)
}

// CheckPrintable refuses text that could deceive whoever reads it on a terminal or a page: control characters and the
// bidirectional overrides. Line feeds are allowed where multiline says so.
func CheckPrintable(s string, multiline bool) error {
	for _, r := range s {
		switch {
		case r == '\n' && multiline:
		case unicode.IsControl(r), r == utf8.RuneError, unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Cf, r):
			return fmt.Errorf("character %U is not allowed", r)
		}
	}
	return nil
}
