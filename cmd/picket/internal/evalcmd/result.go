package evalcmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/labelled"
	"github.com/picketwatch/picket/sdk"
)

// Result is how one version of a detector did on a data set. Its JSON form is stable.
type Result struct {
	Detector string         `json:"detector"`
	Version  string         `json:"version"`
	Dataset  string         `json:"dataset"`
	Seconds  float64        `json:"seconds"` // it took
	Score    labelled.Score `json:"score"`
	Classes  []Class        `json:"classes"`  // by technique
	Captures []Capture      `json:"captures"` // the evidence
}

// Class is the score for one technique. A false alarm counts for the techniques that it names.
type Class struct {
	Technique string         `json:"technique"`
	Score     labelled.Score `json:"score"`
}

// Capture is what came of one.
type Capture struct {
	File      string   `json:"file"`
	Technique string   `json:"technique,omitempty"` // "" where nothing is to be found
	Family    string   `json:"family,omitempty"`
	Right     bool     `json:"right"`
	Said      []string `json:"said"` // severity and summary of each finding, the first of them
}

// maxSaid bounds the findings of a capture that a card lists.
const maxSaid = 10

func (r *Result) tell(all []labelled.Seen) {
	r.Score = labelled.Tell(all)
	classes := map[string][]labelled.Seen{}
	for _, s := range all {
		if s.Technique != "" {
			classes[s.Technique] = append(classes[s.Technique], s)
		}
		c := Capture{File: s.File, Technique: s.Technique, Family: s.Family, Right: s.Found() || s.Technique == "" && len(s.Findings) == 0, Said: []string{}}
		for _, f := range s.Findings[:min(len(s.Findings), maxSaid)] {
			c.Said = append(c.Said, string(f.Severity)+": "+f.Summary)
		}
		r.Captures = append(r.Captures, c)
	}
	for _, technique := range slices.Sorted(maps.Keys(classes)) {
		class := classes[technique]
		for _, s := range all {
			if s.Technique != "" {
				continue
			}
			as := labelled.Label{Technique: technique}
			s.Findings = slices.DeleteFunc(slices.Clone(s.Findings), func(f sdk.Finding) bool { return !as.Named(f) })
			class = append(class, s)
		}
		r.Classes = append(r.Classes, Class{technique, labelled.Tell(class)})
	}
}

// cells are a line of figures.
func cells(name string, s labelled.Score) []string {
	alarms := "nothing quiet to count in"
	if s.Hours > 0 {
		alarms = fmt.Sprintf("%.2f (%.2f to %.2f) in %.1f h", s.PerHour.Value, s.PerHour.Low, s.PerHour.High, s.Hours)
	}
	return []string{name, fmt.Sprintf("%d of %d", s.Found, s.Found+s.Missed), within(s.Precision), within(s.Recall), within(s.F1), alarms}
}

func within(s labelled.Share) string {
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s.Value, s.Low, s.High)
}

var heads = []string{"", "found", "precision", "recall", "F1", "false alarms an hour"}

func (r *Result) lines() [][]string {
	lines := [][]string{cells(r.Detector+" "+r.Version, r.Score)}
	if len(r.Classes) > 1 {
		for _, c := range r.Classes {
			lines = append(lines, cells("  "+c.Technique, c.Score))
		}
	}
	return lines
}

func print(p *columns.Printer, results []Result) {
	var rows [][]columns.Cell
	head := make([]columns.Cell, len(heads))
	for i, h := range heads {
		head[i] = columns.S(columns.Dim, h)
	}
	rows = append(rows, head)
	for _, r := range results {
		for i, line := range r.lines() {
			row := make([]columns.Cell, len(line))
			for k, text := range line {
				row[k] = columns.C(text)
			}
			if i == 0 {
				row[0].Style = columns.Bold
			}
			rows = append(rows, row)
		}
	}
	p.Table(rows)
	for _, r := range results {
		for _, c := range r.Captures {
			switch {
			case c.Right:
			case c.Technique != "":
				p.Line(columns.S(columns.Bad, "missed       "), columns.C(r.Detector+": "+c.Technique+" in "+c.File))
			default:
				p.Line(columns.S(columns.Warn, "false alarm  "), columns.C(r.Detector+": "+c.File+": "+strings.Join(c.Said, "; ")))
			}
		}
	}
	p.Line(columns.S(columns.Dim, "In brackets: where the figure lies with a probability of 95 %."))
}

// markdown is the card for people.
func (r *Result) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s %s on %s\n\n", r.Detector, r.Version, r.Dataset)
	fmt.Fprintf(&b, "%s. Written by `picket eval`; in brackets: where a figure lies with a probability of 95 %%.\n\n", columns.Count(r.Score.Captures, "capture"))
	row := func(cols []string) { b.WriteString("| " + strings.Join(cols, " | ") + " |\n") }
	row(heads)
	row(slices.Repeat([]string{"---"}, len(heads)))
	for _, line := range r.lines() {
		row(line)
	}
	b.WriteString("\n| capture | technique | family | right | said |\n|---|---|---|---|---|\n")
	for _, c := range r.Captures {
		row([]string{"`" + c.File + "`", c.Technique, c.Family, map[bool]string{true: "yes", false: "**no**"}[c.Right], strings.ReplaceAll(strings.Join(c.Said, "<br>"), "|", "\\|")})
	}
	return b.String()
}
