// Package columns prints aligned text for people: rows of cells go in, lines come out, coloured only when they end on
// a terminal that wants colour.
package columns

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Style colours a cell.
type Style string

// The styles mean the same everywhere: good, attention, bad, and what may be overlooked.
const (
	Plain Style = ""
	Good  Style = "32"
	Warn  Style = "33"
	Bad   Style = "31"
	Dim   Style = "2"
	Bold  Style = "1"
)

// Cell is a piece of text in a row.
type Cell struct {
	Text  string
	Style Style
}

// C makes a cell.
func C(text string) Cell { return Cell{Text: text} }

// S makes a cell with a style.
func S(style Style, text string) Cell { return Cell{text, style} }

// Printer writes to one output.
type Printer struct {
	w      io.Writer
	colour bool
}

// New returns a printer for w.
func New(w io.Writer) *Printer {
	f, isFile := w.(*os.File)
	colour := isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &Printer{w: w, colour: colour}
}

// Line prints one line.
func (p *Printer) Line(cells ...Cell) {
	var b strings.Builder
	for _, c := range cells {
		b.WriteString(p.paint(c))
	}
	fmt.Fprintln(p.w, b.String())
}

// Table prints rows with their columns aligned. The last column is not padded.
func (p *Printer) Table(rows [][]Cell) {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i < len(row)-1 {
				widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
			}
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(p.paint(c))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+2))
			}
		}
		fmt.Fprintln(p.w, strings.TrimRight(b.String(), " "))
	}
}

func (p *Printer) paint(c Cell) string {
	if !p.colour || c.Style == Plain || c.Text == "" {
		return c.Text
	}
	return "\x1b[" + string(c.Style) + "m" + c.Text + "\x1b[0m"
}

// JSON prints v for scripts, indented.
func JSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Bytes writes a size as a person would.
func Bytes(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f kB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// Count is a number with its noun, in the plural where English wants it.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Span is how long something lasted: what is longer than two days in days, since nobody counts in thousands of hours.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*day:
		return d.Round(time.Millisecond).String()
	case d < 100*day:
		return fmt.Sprintf("%d days %d hours", d/day, d%day/time.Hour)
	}
	return Count(int(d/day), "day")
}
