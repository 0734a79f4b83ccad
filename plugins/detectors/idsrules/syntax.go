package idsrules

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// option is one keyword of a rule with what stands behind its colon.
type option struct {
	name  string
	value string
}

// statement is a rule as it is written.
type statement struct {
	action, proto string
	src, srcPorts string
	dst, dstPorts string
	both          bool // <>
	options       []option
	file          string
	line          int
	sid           uint32 // 0 where there is none
}

const (
	maxRule    = 64 << 10
	maxOptions = 512
)

// refusal is why a rule was not loaded: by which keyword, or part of the rule.
type refusal struct {
	File    string
	Line    int
	Sid     uint32
	Keyword string
	Reason  string
}

func (r refusal) Error() string {
	return fmt.Sprintf("%s:%d: sid %d: %s: %s", r.File, r.Line, r.Sid, r.Keyword, r.Reason)
}

// statements reads the rules of a file. A line that ends in a backslash goes on in the next one.
func statements(file string, text []byte) (rules []statement, refused []refusal) {
	var whole []byte
	started := 0
	for n, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(whole) == 0 {
			started = n + 1
			if len(line) == 0 || line[0] == '#' {
				continue
			}
		}
		if cut, more := bytes.CutSuffix(line, []byte(`\`)); more {
			whole = append(append(whole, cut...), ' ')
			continue
		}
		whole = append(whole, line...)
		rule, err := parse(string(whole))
		rule.file, rule.line = file, started
		if err != nil {
			refused = append(refused, refusal{file, started, rule.sid, "syntax", err.Error()})
		} else {
			rules = append(rules, rule)
		}
		whole = whole[:0]
	}
	if len(whole) > 0 {
		refused = append(refused, refusal{file, started, 0, "syntax", "the last line goes on behind the end of the file"})
	}
	return rules, refused
}

func parse(text string) (statement, error) {
	var s statement
	if len(text) > maxRule {
		return s, fmt.Errorf("longer than %d bytes", maxRule)
	}
	open := strings.IndexByte(text, '(')
	if open < 0 || !strings.HasSuffix(text, ")") {
		return s, errors.New("no options in parentheses")
	}
	var err error
	if s.options, err = splitOptions(text[open+1 : len(text)-1]); err != nil {
		return s, err
	}
	for _, o := range s.options {
		if o.name == "sid" {
			sid, err := strconv.ParseUint(o.value, 10, 32)
			if err != nil || s.sid != 0 {
				return s, fmt.Errorf("no sid: %q", o.value)
			}
			s.sid = uint32(sid)
		}
	}
	words, err := splitHeader(text[:open])
	if err != nil {
		return s, err
	}
	if len(words) != 7 {
		return s, fmt.Errorf("%d words before the options instead of 7", len(words))
	}
	s.action, s.proto, s.src, s.srcPorts, s.dst, s.dstPorts = words[0], words[1], words[2], words[3], words[5], words[6]
	switch words[4] {
	case "->":
	case "<>":
		s.both = true
	default:
		return s, fmt.Errorf("no direction: %q", words[4])
	}
	if s.sid == 0 {
		return s, errors.New("no sid")
	}
	return s, nil
}

// splitHeader splits at white space, but not within brackets.
func splitHeader(text string) (words []string, err error) {
	depth := 0
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for i := range len(text) {
		switch text[i] {
		case ' ', '\t':
			if depth == 0 {
				flush()
			}
			continue
		case '[':
			depth++
		case ']':
			if depth--; depth < 0 {
				return nil, errors.New("a ] without its [")
			}
		}
		word.WriteByte(text[i])
	}
	flush()
	if depth > 0 {
		return nil, errors.New("a [ without its ]")
	}
	return words, nil
}

// splitOptions splits at semicolons that no backslash stands before.
func splitOptions(text string) (options []option, err error) {
	start := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ';':
			if one := strings.TrimSpace(text[start:i]); one != "" {
				name, value, _ := strings.Cut(one, ":")
				options = append(options, option{strings.TrimSpace(name), strings.TrimSpace(value)})
			}
			start = i + 1
		}
	}
	if rest := strings.TrimSpace(text[min(start, len(text)):]); rest != "" {
		return nil, fmt.Errorf("an option without its semicolon: %.40q", rest)
	}
	if len(options) > maxOptions {
		return nil, fmt.Errorf("more than %d options", maxOptions)
	}
	return options, nil
}

// quoted reads "text" or !"text".
func quoted(value string) (text string, negated bool, err error) {
	if rest, is := strings.CutPrefix(value, "!"); is {
		negated, value = true, strings.TrimSpace(rest)
	}
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return "", false, errors.New("no text in quotes")
	}
	return value[1 : len(value)-1], negated, nil
}

// pattern reads the bytes of a content: text with |68 65 78| in it.
func pattern(text string) ([]byte, error) {
	var out []byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '|':
			end := strings.IndexByte(text[i+1:], '|')
			if end < 0 {
				return nil, errors.New("a | without the other")
			}
			digits := strings.Map(func(r rune) rune {
				if r == ' ' || r == '\t' {
					return -1
				}
				return r
			}, text[i+1:i+1+end])
			if len(digits)%2 != 0 {
				return nil, fmt.Errorf("half a byte: |%s|", digits)
			}
			for j := 0; j < len(digits); j += 2 {
				b, err := strconv.ParseUint(digits[j:j+2], 16, 8)
				if err != nil {
					return nil, fmt.Errorf("not hexadecimal: |%s|", digits)
				}
				out = append(out, byte(b))
			}
			i += end + 1
		case '\\':
			i++
			if i == len(text) || strings.IndexByte(`\;:"`, text[i]) < 0 {
				return nil, errors.New(`a \ before nothing that needs it`)
			}
			out = append(out, text[i])
		case '"':
			return nil, errors.New("a quote within the text")
		default:
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("nothing to look for")
	}
	return out, nil
}
