package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestGeneratedCodeIsUpToDate(t *testing.T) {
	files, err := generate("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what its schema gives; run go run ./internal/gen/records", name)
		}
	}
}

func TestSchemaChecks(t *testing.T) {
	const head = `{"schema": "x", "id": 1, "major": 1, "go": "X", "baseline": 16, "fields": [`
	cases := map[string]struct{ fields, want string }{
		"overlap":             {`{"name": "a", "go": "A", "type": "u64", "at": 0}, {"name": "b", "go": "B", "type": "u8", "at": 7}`, "overlap at byte 7"},
		"kind overlaps":       {`{"name": "a", "go": "A", "type": "addr", "at": 0, "kind_at": 3}`, "overlap"},
		"misaligned":          {`{"name": "a", "go": "A", "type": "u32", "at": 2}`, "not a multiple of 4"},
		"across the baseline": {`{"name": "a", "go": "A", "type": "addr", "at": 8, "kind_at": 0}`, "across the baseline"},
		"unknown type":        {`{"name": "a", "go": "A", "type": "f16", "at": 0}`, "unknown type"},
		"same name":           {`{"name": "a", "go": "A", "type": "u8", "at": 0}, {"name": "a", "go": "B", "type": "u8", "at": 1}`, "own name"},
		"no field":            {``, "needed"},
		"unknown key":         {`{"name": "a", "go": "A", "type": "u8", "at": 0, "offset": 1}`, "unknown field"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parseSchema([]byte(head + c.fields + `]}`))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A field behind the baseline is only read when the row is long enough.
func TestAppendedField(t *testing.T) {
	s, err := parseSchema([]byte(`{"schema": "x", "id": 1, "major": 1, "go": "X", "baseline": 8, "fields": [
		{"name": "a", "go": "A", "type": "u64", "at": 0}, {"name": "b", "go": "B", "type": "u16", "at": 8}]}`))
	if err != nil {
		t.Fatal(err)
	}
	source, err := s.source()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"if len(row) >= 10 {", "_ = row[7]", "rowSize: 16, baseline: 8"} {
		if !strings.Contains(string(source), want) {
			t.Errorf("missing %q in\n%s", want, source)
		}
	}
}
