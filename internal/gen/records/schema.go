package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// schema is one file of proto/records.
type schema struct {
	Schema   string   `json:"schema"`
	ID       uint16   `json:"id"`
	Major    uint16   `json:"major"`
	Go       string   `json:"go"`              // the type in package sdk
	Head     string   `json:"head,omitempty"`  // the schema whose fields come first
	Batch    string   `json:"batch,omitempty"` // of facts: their field in sdk.Batch; in lower case it is their kind
	Baseline int      `json:"baseline"`        // row size of the first release
	About    string   `json:"about,omitempty"` // what one row is
	Doc      []string `json:"doc"`
	Fields   []field  `json:"fields"`

	Derived  []derived `json:"derived,omitempty"`  // columns that follow from the fields
	Features *features `json:"features,omitempty"` // at the end of the rows of those who asked

	headLength int // how many of the fields are those of the head
}

type field struct {
	Name   string `json:"name"`
	Column string `json:"column,omitempty"` // its name in tables, where Name could be taken for something else there
	Go     string `json:"go"`
	Type   string `json:"type"`
	At     int    `json:"at"`
	KindAt int    `json:"kind_at,omitempty"` // addr: where its kind lies
	Cast   string `json:"cast,omitempty"`    // a named Go type
	// Values are the texts of an enum, by their number; the first means "not set".
	Values []string `json:"values,omitempty"`
	Unit   string   `json:"unit,omitempty"` // UCUM
	// Direction of a flow that it is about: "forward", "back" or "both"; Formula is how it is computed.
	Direction string `json:"direction,omitempty"`
	Formula   string `json:"formula,omitempty"`
	Doc       string `json:"doc"`
}

var sizes = map[string]int{
	"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i64": 8, "f64": 8, "bool": 1, "time": 8, "addr": 16, "string": 8, "u64list": 8,
	"bytes": 8, "textmap": 8, "textlist": 8, "enum": 1,
}

func (f field) size() int { return sizes[f.Type] }

// end is the first byte after the field, its kind included.
func (f field) end() int {
	end := f.At + f.size()
	if f.Type == "addr" {
		end = max(end, f.KindAt+1)
	}
	return end
}

// readSchemas reads all schemas of a folder, ordered by their names. A head is a part of those that name it, not one of them.
func readSchemas(dir string) ([]*schema, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("no schema in %s; run this from the root of the repository", dir)
	}
	var out []*schema
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read schema: %w", err)
		}
		s, err := readSchema(dir, data)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		if s.ID != 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// readSchema parses a schema and puts its head before its own fields. A schema without an id is a head.
func readSchema(dir string, data []byte) (*schema, error) {
	s, err := decodeSchema(data)
	if err != nil || s.ID == 0 {
		return s, err
	}
	if s.Head != "" {
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(s.Head)+".json"))
		if err != nil {
			return nil, fmt.Errorf("read its head: %w", err)
		}
		head, err := decodeSchema(data)
		if err != nil {
			return nil, fmt.Errorf("head %s: %w", s.Head, err)
		}
		s.Fields, s.headLength = append(head.Fields, s.Fields...), len(head.Fields)
	}
	return s, errors.Join(s.check(), s.place())
}

func parseSchema(data []byte) (*schema, error) {
	s, err := decodeSchema(data)
	if err != nil {
		return nil, err
	}
	return s, errors.Join(s.check(), s.place())
}

func decodeSchema(data []byte) (*schema, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var s schema
	if err := dec.Decode(&s); err != nil {
		return nil, err
	}
	return &s, nil
}

// facts is the kind of facts that the rows are, empty for other records.
func (s *schema) facts() string { return strings.ToLower(s.Batch) }

// check refuses a layout that a reader could not use: overlapping or misaligned fields, or a field of the first
// release moved behind the baseline.
func (s *schema) check() error {
	if s.Schema == "" || s.ID == 0 || s.Major == 0 || s.Go == "" || s.Baseline == 0 || len(s.Fields) == 0 {
		return fmt.Errorf("schema, id, major, go, baseline and fields are all needed")
	}
	owner := map[int]string{}
	names := map[string]bool{}
	for _, f := range s.Fields {
		if f.size() == 0 {
			return fmt.Errorf("field %s: unknown type %q", f.Name, f.Type)
		}
		if f.Name == "" || f.Go == "" || names[f.Name] {
			return fmt.Errorf("field %q needs its own name and a Go name", f.Name)
		}
		names[f.Name] = true
		if (f.Type == "enum") != (len(f.Values) > 1) || len(f.Values) > 255 {
			return fmt.Errorf("field %s: an enum, and only an enum, has values", f.Name)
		}
		if f.At%min(f.size(), 8) != 0 {
			return fmt.Errorf("field %s: offset %d is not a multiple of %d", f.Name, f.At, min(f.size(), 8))
		}
		if f.At < s.Baseline && f.end() > s.Baseline {
			return fmt.Errorf("field %s lies across the baseline %d", f.Name, s.Baseline)
		}
		for _, at := range f.bytes() {
			if owner[at] != "" {
				return fmt.Errorf("fields %s and %s overlap at byte %d", owner[at], f.Name, at)
			}
			owner[at] = f.Name
		}
	}
	return nil
}

func (f field) bytes() []int {
	var out []int
	for i := range f.size() {
		out = append(out, f.At+i)
	}
	if f.Type == "addr" {
		out = append(out, f.KindAt)
	}
	return out
}

// gaps are the bytes of a row that belong to no field. They are written as 0.
func (s *schema) gaps() [][2]int {
	owned := map[int]bool{}
	for _, f := range s.Fields {
		for _, at := range f.bytes() {
			owned[at] = true
		}
	}
	var out [][2]int
	for at := range s.rowSize() {
		switch n := len(out); {
		case owned[at]:
		case n > 0 && out[n-1][1] == at:
			out[n-1][1]++
		default:
			out = append(out, [2]int{at, at + 1})
		}
	}
	return out
}

// rowSize is the size of the rows that this version writes.
func (s *schema) rowSize() int {
	size := s.Baseline
	for _, f := range s.Fields {
		size = max(size, f.end())
	}
	return (size + 7) &^ 7
}
