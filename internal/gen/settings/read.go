package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// key is one key of a file.
type key struct {
	name, kind, value, meaning string // value is its default
}

// kinds are what people call the types of keys.
var kinds = map[string]string{
	"string": "text", "bool": "true or false", "int": "number", "Duration": "duration", "Bytes": "amount of memory", "config.Bytes": "amount of memory",
	"[]string": "list of texts", "[]sdk.Kind": "list of kinds", "[]sdk.Permission": "list of permissions", "map[string]string": "names and paths",
}

// read returns the keys of a struct, in its order; those of a struct within it follow as outer.inner.
func read(dir, root, tag string) ([]key, error) {
	structs, err := structsOf(dir)
	if err != nil {
		return nil, err
	}
	return keysOf(structs, root, "", tag)
}

func structsOf(dir string) (map[string]*ast.StructType, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	out := map[string]*ast.StructType{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if t, ok := n.(*ast.TypeSpec); ok {
				if s, ok := t.Type.(*ast.StructType); ok {
					out[t.Name.Name] = s
				}
			}
			return true
		})
	}
	return out, nil
}

func keysOf(structs map[string]*ast.StructType, name, prefix, tag string) ([]key, error) {
	s := structs[name]
	if s == nil {
		return nil, fmt.Errorf("there is no struct %s", name)
	}
	var out []key
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		named, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get(tag), ",")
		if named == "" || named == "-" {
			continue
		}
		kind := typeName(f.Type)
		inner, list := strings.TrimPrefix(kind, "[]"), strings.HasPrefix(kind, "[]")
		if structs[inner] != nil {
			within := prefix + named + "."
			if list {
				within = prefix + named + "[]."
			}
			more, err := keysOf(structs, inner, within, tag)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
			continue
		}
		k, err := describe(prefix+named, f.Names[0].Name, kind, f)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// describe reads the comment of a field: what it means, and after the word "default" what holds when it is absent.
func describe(name, field, kind string, f *ast.Field) (key, error) {
	k := key{name: name, kind: kinds[kind]}
	if k.kind == "" {
		return k, fmt.Errorf("%s: add the type %s to the list of kinds in internal/gen/settings", name, kind)
	}
	text := strings.Join(strings.Fields(f.Doc.Text()+" "+f.Comment.Text()), " ")
	at := strings.LastIndex(strings.ToLower(text), "default ")
	if at < 0 {
		return k, fmt.Errorf("%s: its comment does not say its default (write \"; default X\", or \"default none\")", name)
	}
	k.value = strings.TrimSuffix(text[at+len("default "):], ".")
	k.meaning = strings.TrimRight(text[:at], " ;,.")
	// A comment that begins with the name of the field reads as a sentence about the key.
	for _, verb := range []string{" is ", " are ", " says ", ""} {
		if rest, ok := strings.CutPrefix(k.meaning, field+verb); ok {
			k.meaning = strings.TrimSpace(rest)
			break
		}
	}
	if k.meaning == "" {
		return k, fmt.Errorf("%s: its comment does not say what it means", name)
	}
	first, size := utf8.DecodeRuneInString(k.meaning)
	k.meaning = string(unicode.ToUpper(first)) + k.meaning[size:]
	return k, nil
}

func typeName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.ArrayType:
		return "[]" + typeName(t.Elt)
	case *ast.MapType:
		return "map[" + typeName(t.Key) + "]" + typeName(t.Value)
	case *ast.SelectorExpr:
		return typeName(t.X) + "." + t.Sel.Name
	}
	return "?"
}
