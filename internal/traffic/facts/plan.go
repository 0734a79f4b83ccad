package facts

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/internal/snake"
)

// What a record has no place for travels as texts by name: the exported fields of the parser's struct, in snake case, without
// those that are zero. How a struct is written is worked out once for its type.

// plan writes one struct.
type plan []step

// step writes one field.
type step struct {
	key   string
	index int
	write func(put func(key, value string), key string, v reflect.Value)
}

var plans sync.Map // reflect.Type to plan

// fieldsInto writes what body, a pointer to a struct, says into m, but for the keys to leave out.
func fieldsInto(m map[string]string, body any, without ...string) {
	v := reflect.ValueOf(body).Elem()
	put := func(key, value string) {
		for _, w := range without {
			if key == w {
				return
			}
		}
		if value != "" && len(m) < maxList {
			m[key] = shown(value)
		}
	}
	for _, s := range planOf(v.Type()) {
		if f := v.Field(s.index); !f.IsZero() {
			s.write(put, s.key, f)
		}
	}
}

func planOf(t reflect.Type) plan {
	if p, ok := plans.Load(t); ok {
		return p.(plan)
	}
	var p plan
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		key := snake.Case(f.Name)
		if f.Anonymous {
			key = ""
		}
		p = append(p, step{key, i, writerOf(f.Type)})
	}
	plans.Store(t, p)
	return p
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	stringerType = reflect.TypeFor[fmt.Stringer]()
)

type writer = func(put func(key, value string), key string, v reflect.Value)

// writerOf is how a field of the type is written.
func writerOf(t reflect.Type) writer {
	switch {
	case t == timeType:
		return one(func(v reflect.Value) string { return v.Interface().(time.Time).UTC().Format(time.RFC3339Nano) })
	case t.Implements(stringerType):
		return one(func(v reflect.Value) string { return v.Interface().(fmt.Stringer).String() })
	}
	switch t.Kind() {
	case reflect.Struct:
		return nested
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return func(put func(string, string), key string, v reflect.Value) { nested(put, key, v.Elem()) }
		}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return one(func(v reflect.Value) string { return hexOf(v) })
		}
		return one(list)
	}
	return one(text)
}

func one(f func(reflect.Value) string) writer {
	return func(put func(string, string), key string, v reflect.Value) { put(key, f(v)) }
}

// nested writes a struct within: its fields with the outer one's name before theirs. A field Text has the outer name alone.
func nested(put func(string, string), key string, v reflect.Value) {
	for _, s := range planOf(v.Type()) {
		f := v.Field(s.index)
		if f.IsZero() {
			continue
		}
		name := key + "_" + s.key
		switch {
		case key == "":
			name = s.key
		case s.key == "text" || s.key == "":
			name = key
		}
		s.write(put, name, f)
	}
}

// maxBytes bounds how much of bytes is written.
const maxBytes = 64

func hexOf(v reflect.Value) string {
	n := min(v.Len(), maxBytes)
	b := make([]byte, n)
	for i := range n {
		b[i] = byte(v.Index(i).Uint())
	}
	return hex.EncodeToString(b)
}

// list writes elements with a comma between them; the fields of an element have a blank between them.
func list(v reflect.Value) string {
	var b strings.Builder
	for i := range min(v.Len(), maxList) {
		if b.Len() > maxText {
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(text(v.Index(i)))
	}
	return b.String()
}

// text writes one value.
func text(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Struct:
		return element(v)
	}
	return ""
}

// element writes a struct within a list.
func element(v reflect.Value) string {
	var parts []string
	for _, s := range planOf(v.Type()) {
		f := v.Field(s.index)
		s.write(func(_, value string) {
			if value != "" {
				parts = append(parts, value)
			}
		}, s.key, f)
	}
	return strings.Join(parts, " ")
}
