package facts

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/picketwatch/picket/internal/snake"
)

// What a record has no place for travels as texts by name: the exported fields of the parser's struct, in snake case, without
// those that are zero. A struct within gives its fields the outer one's name before theirs; a field Text has the outer name
// alone. How a struct is written is worked out once for its type: where each field lies and what is to be made of it, so that
// nothing is reflected upon for a message.

// plan writes the structs of one type.
type plan struct {
	name  string // of the type, with dashes
	steps []step
}

// step writes one field.
type step struct {
	key  string
	at   uintptr // of the field in the struct
	size uintptr // of the field
	form form
	kind reflect.Kind
	kept bool         // written even when it is zero
	of   reflect.Type // of what writes itself
	list *elements    // of a list
	to   *plan        // of what a pointer leads to
}

// form is what is made of a field.
type form uint8

const (
	formText form = iota
	formBool
	formNumber // with or without a sign, see kind
	formHex    // of a slice
	formHexIn  // of an array
	formTime
	formAddr
	formString // by its own method
	formList   // of a slice
	formListIn // of an array
	formPointer
)

// elements are what a list has.
type elements struct {
	size  uintptr
	count int // of an array
	one   *step
	plan  *plan // of structs
}

// planner makes plans, and leaves out what has a place in the record.
type planner struct {
	without []string
	plans   map[reflect.Type]*plan
}

func newPlanner(without ...string) planner {
	return planner{without: without, plans: map[reflect.Type]*plan{}}
}

// of is the plan for a body, which points to a struct.
func (p *planner) of(body any) *plan {
	t := reflect.TypeOf(body)
	known := p.plans[t]
	if known == nil {
		known = &plan{name: strings.ReplaceAll(snake.Case(t.Elem().Name()), "_", "-")}
		known.add(t.Elem(), 0, "", false)
		known.leaveOut(p.without)
		known.order()
		p.plans[t] = known
	}
	return known
}

// leaveOut removes the fields with these names.
func (p *plan) leaveOut(names []string) {
	p.steps = slices.DeleteFunc(p.steps, func(s step) bool { return s.to == nil && slices.Contains(names, s.key) })
	for _, s := range p.steps {
		if s.to != nil {
			s.to.leaveOut(names)
		}
	}
}

// order puts the fields in the order of their names, in which records have them.
func (p *plan) order() {
	slices.SortStableFunc(p.steps, func(a, b step) int { return strings.Compare(a.key, b.key) })
	for _, s := range p.steps {
		if s.to != nil {
			s.to.order()
		}
	}
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	addrType     = reflect.TypeFor[netip.Addr]()
	stringerType = reflect.TypeFor[fmt.Stringer]()
)

// add appends the steps of a struct's fields; the struct lies at a place in the outer one, whose name for it is key. Fields that
// are zero are written too when kept says so.
func (p *plan) add(t reflect.Type, at uintptr, key string, kept bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		name := snake.Case(f.Name)
		if f.Anonymous {
			name = ""
		}
		switch {
		case key == "":
		case name == "text" || name == "":
			name = key
		default:
			name = key + "_" + name
		}
		if s := stepOf(f.Type); s != nil {
			s.key, s.at, s.kept = name, at+f.Offset, kept
			p.steps = append(p.steps, *s)
		} else if f.Type.Kind() == reflect.Struct {
			p.add(f.Type, at+f.Offset, name, false)
		} else if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct {
			to := &plan{}
			to.add(f.Type.Elem(), 0, name, false)
			p.steps = append(p.steps, step{key: name, at: at + f.Offset, form: formPointer, to: to})
		}
	}
}

// stepOf is how one value of the type is written, nil when it is none: a struct, a map.
func stepOf(t reflect.Type) *step {
	s := &step{size: t.Size(), kind: t.Kind(), of: t}
	switch {
	case t == timeType:
		s.form = formTime
	case t == addrType:
		s.form = formAddr
	case t.Implements(stringerType):
		s.form = formString
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		s.form = formHex
	case t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8:
		s.form = formHexIn
	case t.Kind() == reflect.Slice:
		s.form, s.list = formList, elementsOf(t, 0)
	case t.Kind() == reflect.Array:
		s.form, s.list = formListIn, elementsOf(t, t.Len())
	case t.Kind() == reflect.String:
		s.form = formText
	case t.Kind() == reflect.Bool:
		s.form = formBool
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Uint64:
		s.form = formNumber
	default:
		return nil
	}
	return s
}

// elementsOf is how a list is written: of a struct all fields. Of lists in it nothing is.
func elementsOf(t reflect.Type, count int) *elements {
	e := &elements{size: t.Elem().Size(), count: count}
	s := stepOf(t.Elem())
	switch {
	case s != nil && s.form == formTime:
		s.form = formString // as all that writes itself
		e.one = s
	case s != nil && (s.form <= formNumber || s.form == formAddr || s.form == formString):
		e.one = s
	case s == nil && t.Elem().Kind() == reflect.Struct:
		e.plan = &plan{}
		e.plan.add(t.Elem(), 0, "", true)
	}
	return e
}

// fieldsInto sets what body, a pointer to a struct, says.
func (w *texts) fieldsInto(fields *pairs, p *plan, body any) {
	w.steps(fields, p, reflect.ValueOf(body).UnsafePointer())
}

func (w *texts) steps(fields *pairs, p *plan, base unsafe.Pointer) {
	for i := range p.steps {
		s := &p.steps[i]
		at := unsafe.Add(base, s.at)
		if s.form == formPointer {
			if to := *(*unsafe.Pointer)(at); to != nil {
				w.steps(fields, s.to, to)
			}
			continue
		}
		if value := w.value(s, at); value != "" && fields.room() {
			fields.set(s.key, value)
		}
	}
}
