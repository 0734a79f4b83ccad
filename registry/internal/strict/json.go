package strict

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Rules say what a JSON text may hold beyond its grammar. What two readers could understand differently is never
// allowed: a member twice (also if only its spelling in capitals differs, since encoding/json does not tell those
// apart), bytes that are no UTF-8, and text after the end.
type Rules struct {
	MaxBytes int
	MaxDepth int
	NoNull   bool // null stands nowhere
	Integers bool // numbers are whole, without exponent, and exact in readers that know only floating point
	ASCII    bool // names of members are ASCII
}

// maxInteger is the largest that floating point holds exactly.
const maxInteger = 1 << 53

// CheckJSON applies the rules. It does not build a tree, so that a hostile text costs no more than its length.
func CheckJSON(data []byte, rules Rules) error {
	if err := checkText(data, rules.MaxBytes); err != nil {
		return err
	}
	if err := checkDepth(data, rules.MaxDepth); err != nil { // before json.Valid, which allows 10,000
		return err
	}
	if !json.Valid(data) {
		var v json.RawMessage
		return fmt.Errorf("the file is not valid JSON: %w", json.Unmarshal(data, &v))
	}
	s := scanner{data: data, rules: rules}
	return s.run()
}

func checkDepth(data []byte, limit int) error {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return errors.New("the file is nested too deeply")
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// scanner walks over a text that json.Valid has accepted, so that it need not look for errors of grammar.
type scanner struct {
	data  []byte
	rules Rules
	pos   int
	stack []map[string]struct{} // the members of each open object; nil for an array
	name  bool                  // the next string names a member
}

func (s *scanner) run() error {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case '{':
			s.stack, s.name = append(s.stack, map[string]struct{}{}), true
		case '[':
			s.stack, s.name = append(s.stack, nil), false
		case '}', ']':
			s.stack, s.name = s.stack[:len(s.stack)-1], false
		case ',':
			s.name = s.stack[len(s.stack)-1] != nil
		case ':':
			s.name = false
		case '"':
			if err := s.text(); err != nil {
				return err
			}
			continue
		case 'n':
			if s.rules.NoNull {
				return errors.New("null is not allowed")
			}
			s.pos += len("null")
			continue
		case 't':
			s.pos += len("true")
			continue
		case 'f':
			s.pos += len("false")
			continue
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			if err := s.number(); err != nil {
				return err
			}
			continue
		}
		s.pos++
	}
	return nil
}

func (s *scanner) text() error {
	start := s.pos
	escaped := false
	for s.pos++; s.data[s.pos] != '"'; s.pos++ {
		if s.data[s.pos] == '\\' {
			escaped = true
			s.pos++
		}
	}
	s.pos++
	if !s.name {
		return nil
	}
	name := string(s.data[start+1 : s.pos-1])
	if escaped {
		if err := json.Unmarshal(s.data[start:s.pos], &name); err != nil {
			return err
		}
	}
	for i := 0; s.rules.ASCII && i < len(name); i++ {
		if name[i] >= utf8.RuneSelf {
			return fmt.Errorf("member %q: only ASCII is allowed", name)
		}
	}
	members, folded := s.stack[len(s.stack)-1], fold(name)
	if _, twice := members[folded]; twice {
		return fmt.Errorf("member %q appears twice", name)
	}
	members[folded] = struct{}{}
	return nil
}

// intoASCII are the two letters outside of ASCII that fold into it.
var intoASCII = strings.NewReplacer("ſ", "s", "\u212a", "k")

// fold makes names equal that encoding/json takes for the same field. Nearly all names are lower-case ASCII already.
func fold(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' {
			return intoASCII.Replace(strings.ToLower(name))
		}
	}
	return name
}

func (s *scanner) number() error {
	start := s.pos
	for s.pos < len(s.data) && strings.IndexByte("+-.eE0123456789", s.data[s.pos]) >= 0 {
		s.pos++
	}
	text := string(s.data[start:s.pos])
	if len(text) > 64 {
		return fmt.Errorf("a number has %d digits", len(text))
	}
	if !s.rules.Integers {
		return nil
	}
	var n int64
	if err := json.Unmarshal([]byte(text), &n); err != nil || n > maxInteger || n < -maxInteger {
		return fmt.Errorf("%s is not a whole number that every reader holds exactly", text)
	}
	return nil
}
