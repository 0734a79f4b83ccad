package flowscmd

import (
	"encoding/csv"
	"fmt"
	"io"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// writer takes the flows of one capture after the other.
type writer interface {
	write(capture string, flows []sdk.Flow) error
	close() error
}

var formats = map[string]func(io.Writer) (writer, error){
	"csv":     newCSV,
	"json":    newJSON,
	"parquet": newParquet,
	"frames":  newFrames,
}

type csvWriter struct {
	w    *csv.Writer
	row  []string
	cell []byte
}

func newCSV(out io.Writer) (writer, error) {
	w := &csvWriter{w: csv.NewWriter(out), row: make([]string, 0, len(columns)+1)}
	w.row = append(w.row, "capture")
	for _, c := range columns {
		w.row = append(w.row, c.name)
	}
	return w, w.w.Write(w.row)
}

func (w *csvWriter) write(capture string, flows []sdk.Flow) error {
	for i := range flows {
		w.row = append(w.row[:0], capture)
		for k := range columns {
			w.cell = columns[k].appendText(w.cell[:0], &flows[i])
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
	line []byte
}

func newJSON(out io.Writer) (writer, error) { return &jsonWriter{out: out}, nil }

func (w *jsonWriter) write(capture string, flows []sdk.Flow) error {
	for i := range flows {
		w.line = append(w.line[:0], `{"capture":`...)
		w.line = append(w.line, quote(capture)...)
		for k := range columns {
			w.line = append(w.line, ',', '"')
			w.line = append(w.line, columns[k].name...)
			w.line = append(w.line, '"', ':')
			w.line = columns[k].appendJSON(w.line, &flows[i])
		}
		w.line = append(w.line, '}', '\n')
		if _, err := w.out.Write(w.line); err != nil {
			return err
		}
	}
	return nil
}

func (w *jsonWriter) close() error { return nil }

// frameWriter writes record frames one after the other, as detectors get them.
type frameWriter struct {
	out   io.Writer
	frame []byte
}

func newFrames(out io.Writer) (writer, error) { return &frameWriter{out: out}, nil }

func (w *frameWriter) write(_ string, flows []sdk.Flow) error {
	w.frame = records.AppendFlows(w.frame[:0], flows)
	if _, err := w.out.Write(w.frame); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func (w *frameWriter) close() error { return nil }
