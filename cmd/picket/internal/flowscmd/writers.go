package flowscmd

import (
	"encoding/csv"
	"fmt"
	"io"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
	"github.com/picketwatch/picket/sdk/records"
)

// writer takes the flows of one capture after the other.
type writer interface {
	write(capture string, flows []sdk.Flow) error
	close() error
}

var formats = map[string]func(io.Writer, []columns.Column) (writer, error){
	"csv":     newCSV,
	"json":    newJSON,
	"parquet": newParquet,
	"frames":  newFrames,
}

type csvWriter struct {
	w    *csv.Writer
	cols []columns.Column
	row  []string
	cell []byte
}

func newCSV(out io.Writer, cols []columns.Column) (writer, error) {
	w := &csvWriter{w: csv.NewWriter(out), cols: cols, row: make([]string, 0, len(cols)+1)}
	w.row = append(w.row, "capture")
	for _, c := range cols {
		w.row = append(w.row, c.Name)
	}
	return w, w.w.Write(w.row)
}

func (w *csvWriter) write(capture string, flows []sdk.Flow) error {
	for i := range flows {
		w.row = append(w.row[:0], capture)
		for k := range w.cols {
			w.cell = w.cols[k].AppendText(w.cell[:0], &flows[i])
			w.row = append(w.row, string(w.cell))
		}
		if err := w.w.Write(w.row); err != nil {
			return err
		}
	}
	return nil
}

func (w *csvWriter) close() error {
	w.w.Flush()
	return w.w.Error()
}

// jsonWriter writes one object per line.
type jsonWriter struct {
	out  io.Writer
	cols []columns.Column
	line []byte
}

func newJSON(out io.Writer, cols []columns.Column) (writer, error) {
	return &jsonWriter{out: out, cols: cols}, nil
}

func (w *jsonWriter) write(capture string, flows []sdk.Flow) error {
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

func (w *jsonWriter) close() error { return nil }

// appendJSON writes the cell as a JSON value.
func appendJSON(b []byte, c *columns.Column, f *sdk.Flow) []byte {
	if c.Text == nil && c.Time == nil {
		return c.AppendText(b, f)
	}
	b = append(b, '"') // no text of a flow needs escaping: addresses, ids, names of ours
	b = c.AppendText(b, f)
	return append(b, '"')
}

// frameWriter writes record frames one after the other, as detectors get them.
type frameWriter struct {
	out   io.Writer
	frame []byte
}

func newFrames(out io.Writer, _ []columns.Column) (writer, error) {
	return &frameWriter{out: out}, nil
}

func (w *frameWriter) write(_ string, flows []sdk.Flow) error {
	w.frame = records.AppendFlows(w.frame[:0], flows)
	if _, err := w.out.Write(w.frame); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func (w *frameWriter) close() error { return nil }
