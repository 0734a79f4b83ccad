// Package flowtable writes flows as a table: CSV, JSON or Parquet, with the columns of docs/features.md. Flows go in a batch at
// a time, bytes come out; nothing of a batch is kept. Texts may come from whoever sent the traffic, or from an agent that
// somebody took over, so none of them becomes a formula in a table calculation or breaks out of a JSON string.
package flowtable

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
)

// Writer takes the flows of one capture after the other. Close ends the table and leaves what it was written to open.
type Writer interface {
	Write(capture string, flows []sdk.Flow) error
	Close() error
}

// Formats are the names of the formats.
var Formats = []string{"csv", "json", "parquet"}

// New begins a table with a column for the capture and then the given ones.
func New(format string, out io.Writer, cols []columns.Column) (Writer, error) {
	switch format {
	case "csv":
		return newCSV(out, cols)
	case "json":
		return &jsonWriter{out: out, cols: cols}, nil
	case "parquet":
		return newParquet(out, cols)
	}
	return nil, fmt.Errorf("flows are written as one of %s, not as %q", strings.Join(Formats, ", "), format)
}

type csvWriter struct {
	w    *csv.Writer
	cols []columns.Column
	row  []string
	cell []byte
}

func newCSV(out io.Writer, cols []columns.Column) (Writer, error) {
	w := &csvWriter{w: csv.NewWriter(out), cols: cols, row: make([]string, 0, len(cols)+1)}
	w.row = append(w.row, "capture")
	for _, c := range cols {
		w.row = append(w.row, c.Name)
	}
	return w, w.w.Write(w.row)
}

func (w *csvWriter) Write(capture string, flows []sdk.Flow) error {
	for i := range flows {
		w.row = append(w.row[:0], plain(capture))
		for k := range w.cols {
			w.row = append(w.row, w.text(&w.cols[k], &flows[i]))
		}
		if err := w.w.Write(w.row); err != nil {
			return err
		}
	}
	return nil
}

// text is one cell; a number that is not known leaves it empty.
func (w *csvWriter) text(c *columns.Column, f *sdk.Flow) string {
	if c.Text != nil {
		return plain(c.Text(f))
	}
	if c.Real != nil && math.IsNaN(c.Real(f)) {
		return ""
	}
	w.cell = c.AppendText(w.cell[:0], f)
	return string(w.cell)
}

func (w *csvWriter) Close() error {
	w.w.Flush()
	return w.w.Error()
}

// plain keeps a text from being a formula: it gets the mark that table calculations take for "this is text".
func plain(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

// jsonWriter writes one object per line.
type jsonWriter struct {
	out  io.Writer
	cols []columns.Column
	line []byte
}

func (w *jsonWriter) Write(capture string, flows []sdk.Flow) error {
	for i := range flows {
		w.line = append(w.line[:0], `{"capture":`...)
		w.line = append(w.line, quote(capture)...)
		for k := range w.cols {
			w.line = append(w.line, ',', '"')
			w.line = append(w.line, w.cols[k].Name...)
			w.line = append(w.line, '"', ':')
			w.line = appendJSON(w.line, &w.cols[k], &flows[i])
		}
		w.line = append(w.line, '}', '\n')
		if _, err := w.out.Write(w.line); err != nil {
			return err
		}
	}
	return nil
}

func (w *jsonWriter) Close() error { return nil }

// appendJSON writes the cell as a JSON value. JSON has no word for numbers that are none.
func appendJSON(b []byte, c *columns.Column, f *sdk.Flow) []byte {
	switch {
	case c.Text != nil:
		return append(b, quote(c.Text(f))...)
	case c.Time != nil:
		b = append(b, '"')
		b = c.AppendText(b, f)
		return append(b, '"')
	case c.Real != nil && (math.IsNaN(c.Real(f)) || math.IsInf(c.Real(f), 0)):
		return append(b, "null"...)
	}
	return c.AppendText(b, f)
}

// quote writes a JSON string.
func quote(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		return []byte(`""`) // cannot happen: a string always has a JSON form
	}
	return b
}
