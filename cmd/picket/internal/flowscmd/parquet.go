package flowscmd

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/picketwatch/picket/sdk"
)

// rowGroup is how many flows are held before they are written: large enough to compress, small enough to hold.
const rowGroup = 64 << 10

// parquetWriter collects columns and writes a row group at a time.
type parquetWriter struct {
	out     *file.Writer
	rows    int
	capture []parquet.ByteArray
	cells   []cells
}

// cells are the values of one column; the slice that fits its type is used.
type cells struct {
	text  []parquet.ByteArray
	whole []int64
	real  []float64
	yes   []bool
}

func newParquet(out io.Writer) (writer, error) {
	fields := schema.FieldList{text("capture")}
	for _, c := range columns {
		fields = append(fields, c.parquetNode())
	}
	root, err := schema.NewGroupNode("flows", parquet.Repetitions.Required, fields, -1)
	if err != nil {
		return nil, fmt.Errorf("parquet schema: %w", err)
	}
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCreatedBy("picket"))
	return &parquetWriter{
		out:   file.NewParquetWriter(out, root, file.WithWriterProps(props)),
		cells: make([]cells, len(columns)),
	}, nil
}

func text(name string) schema.Node {
	return schema.MustPrimitive(schema.NewPrimitiveNodeLogical(name, parquet.Repetitions.Required,
		schema.StringLogicalType{}, parquet.Types.ByteArray, 0, -1))
}

// parquetNode declares the column: times are nanoseconds UTC.
func (c *column) parquetNode() schema.Node {
	switch {
	case c.text != nil:
		return text(c.name)
	case c.real != nil:
		return schema.NewFloat64Node(c.name, parquet.Repetitions.Required, -1)
	case c.yes != nil:
		return schema.NewBooleanNode(c.name, parquet.Repetitions.Required, -1)
	case c.at != nil:
		return schema.MustPrimitive(schema.NewPrimitiveNodeLogical(c.name, parquet.Repetitions.Required,
			schema.NewTimestampLogicalType(true, schema.TimeUnitNanos), parquet.Types.Int64, 0, -1))
	}
	return schema.NewInt64Node(c.name, parquet.Repetitions.Required, -1)
}

func (w *parquetWriter) write(capture string, flows []sdk.Flow) error {
	name := parquet.ByteArray(capture)
	for i := range flows {
		w.capture = append(w.capture, name)
		for k := range columns {
			w.cells[k].add(&columns[k], &flows[i])
		}
		if w.rows++; w.rows == rowGroup {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *cells) add(c *column, f *sdk.Flow) {
	switch {
	case c.text != nil:
		v.text = append(v.text, parquet.ByteArray(c.text(f)))
	case c.real != nil:
		v.real = append(v.real, c.real(f))
	case c.yes != nil:
		v.yes = append(v.yes, c.yes(f))
	case c.at != nil:
		v.whole = append(v.whole, c.at(f).UnixNano())
	default:
		v.whole = append(v.whole, int64(c.whole(f)))
	}
}

// flush writes what was collected as one row group.
func (w *parquetWriter) flush() error {
	if w.rows == 0 {
		return nil
	}
	group, err := w.out.AppendRowGroupChecked()
	if err != nil {
		return fmt.Errorf("parquet row group: %w", err)
	}
	if err := writeColumn(group, cells{text: w.capture}); err != nil {
		return err
	}
	for k := range columns {
		if err := writeColumn(group, w.cells[k]); err != nil {
			return fmt.Errorf("parquet column %s: %w", columns[k].name, err)
		}
		v := &w.cells[k]
		v.text, v.whole, v.real, v.yes = v.text[:0], v.whole[:0], v.real[:0], v.yes[:0]
	}
	w.capture, w.rows = w.capture[:0], 0
	return group.Close()
}

func writeColumn(group file.SerialRowGroupWriter, v cells) error {
	col, err := group.NextColumn()
	if err != nil {
		return err
	}
	switch c := col.(type) {
	case *file.ByteArrayColumnChunkWriter:
		_, err = c.WriteBatch(v.text, nil, nil)
	case *file.Int64ColumnChunkWriter:
		_, err = c.WriteBatch(v.whole, nil, nil)
	case *file.Float64ColumnChunkWriter:
		_, err = c.WriteBatch(v.real, nil, nil)
	case *file.BooleanColumnChunkWriter:
		_, err = c.WriteBatch(v.yes, nil, nil)
	default:
		err = fmt.Errorf("unexpected writer %T", col)
	}
	if err != nil {
		return err
	}
	return col.Close()
}

func (w *parquetWriter) close() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.out.Close()
}
