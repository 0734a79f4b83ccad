package rules

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Problem is what is wrong with a rule, and where in its file.
type Problem struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Rule   string `json:"rule,omitempty"`
	Text   string `json:"text"`
}

// problemLine is how the plugin says it of rules in its configuration.
var problemLine = regexp.MustCompile(`(?:^|: )rules:(\d+):(\d+): (?:rule ([a-z0-9-]+): )?(.*)$`)

// Problems takes them out of the error with which the plugin refused to start; nil when it is another error.
func Problems(err error) []Problem {
	var out []Problem
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		m := problemLine.FindStringSubmatch(line)
		switch {
		case m != nil:
			p := Problem{Rule: m[3], Text: m[4]}
			p.Line, _ = strconv.Atoi(m[1])
			p.Column, _ = strconv.Atoi(m[2])
			out = append(out, p)
		case len(out) > 0:
			out[len(out)-1].Text += "\n" + line
		}
	}
	return out
}

// Rule is one of a file that is right.
type Rule struct {
	ID       string `yaml:"id"`
	Title    string `yaml:"title"`
	Enabled  *bool  `yaml:"enabled"` // nil: it is
	Severity string `yaml:"severity"`
	On       string `yaml:"on"`
}

// Read are the rules of a file in which nothing is wrong.
func Read(text string) []Rule {
	var out []Rule
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var file struct {
			Rules []Rule `yaml:"rules"`
		}
		if err := dec.Decode(&file); err != nil {
			if !errors.Is(err, io.EOF) {
				return nil
			}
			return out
		}
		out = append(out, file.Rules...)
	}
}
