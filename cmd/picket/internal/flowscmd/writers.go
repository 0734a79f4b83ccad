package flowscmd

import (
	"fmt"
	"io"

	"github.com/picketwatch/picket/internal/flowtable"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
	"github.com/picketwatch/picket/sdk/records"
)

// frames is the format that is no table: the rows that detectors get.
const frames = "frames"

var formats = append([]string{frames}, flowtable.Formats...)

func newWriter(format string, out io.Writer, cols []columns.Column) (flowtable.Writer, error) {
	if format == frames {
		return &frameWriter{out: out}, nil
	}
	return flowtable.New(format, out, cols)
}

// frameWriter writes record frames one after the other, as detectors get them.
type frameWriter struct {
	out   io.Writer
	frame []byte
}

func (w *frameWriter) Write(_ string, flows []sdk.Flow) error {
	w.frame = records.AppendFlows(w.frame[:0], flows)
	if _, err := w.out.Write(w.frame); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func (w *frameWriter) Close() error { return nil }
