package flowtable

import (
	"fmt"
	"io"
	"strconv"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
)

// A row group is held before it is written: large enough to compress, small enough to hold, however many columns there are.
const (
	groupRows  = 64 << 10
	groupCells = 4 << 20
)

// parquetWriter collects columns and writes a row group at a time.
type parquetWriter struct {
	out     *file.Writer
	group   int // rows of a group
	rows    int
	capture []parquet.ByteArray
	cols    []columns.Column
	cells   []cells
}

// cells are the values of one column; the slice that fits its type is used.
type cells struct {
	text  []parquet.ByteArray
	whole []int64
	real  []float64
	yes   []bool
}

func newParquet(out io.Writer, cols []columns.Column) (Writer, error) {
	fields := schema.FieldList{text("capture")}
	about := metadata.NewKeyValueMetadata()
	_ = about.Append("picket.feature_set", strconv.Itoa(sdk.FeatureSet)) // fails for text that is not UTF-8
	for i := range cols {
		fields = append(fields, parquetNode(&cols[i]))
		for key, value := range map[string]string{"unit": cols[i].Unit, "direction": cols[i].Direction, "formula": cols[i].Formula} {
			if value != "" {
				_ = about.Append("picket.column."+cols[i].Name+"."+key, value)
			}
		}
	}
	root, err := schema.NewGroupNode("flows", parquet.Repetitions.Required, fields, -1)
	if err != nil {
		return nil, fmt.Errorf("parquet schema: %w", err)
	}
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCreatedBy("picket"))
	return &parquetWriter{
		out:   file.NewParquetWriter(out, root, file.WithWriterProps(props), file.WithWriteMetadata(about)),
		group: min(groupRows, groupCells/(len(cols)+1)),
		cols:  cols,
		cells: make([]cells, len(cols)),
	}, nil
}

func text(name string) schema.Node {
	return schema.MustPrimitive(schema.NewPrimitiveNodeLogical(name, parquet.Repetitions.Required,
		schema.StringLogicalType{}, parquet.Types.ByteArray, 0, -1))
}

// parquetNode declares the column: times are nanoseconds UTC.
func parquetNode(c *columns.Column) schema.Node {
	switch {
	case c.Text != nil:
		return text(c.Name)
	case c.Real != nil:
		return schema.NewFloat64Node(c.Name, parquet.Repetitions.Required, -1)
	case c.Bool != nil:
		return schema.NewBooleanNode(c.Name, parquet.Repetitions.Required, -1)
	case c.Time != nil:
		return schema.MustPrimitive(schema.NewPrimitiveNodeLogical(c.Name, parquet.Repetitions.Required,
			schema.NewTimestampLogicalType(true, schema.TimeUnitNanos), parquet.Types.Int64, 0, -1))
	}
	return schema.NewInt64Node(c.Name, parquet.Repetitions.Required, -1)
}

func (w *parquetWriter) Write(capture string, flows []sdk.Flow) error {
	name := parquet.ByteArray(capture)
	for i := range flows {
		w.capture = append(w.capture, name)
		for k := range w.cols {
			w.cells[k].add(&w.cols[k], &flows[i])
		}
		if w.rows++; w.rows == w.group {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *cells) add(c *columns.Column, f *sdk.Flow) {
	switch {
	case c.Text != nil:
		v.text = append(v.text, parquet.ByteArray(c.Text(f)))
	case c.Real != nil:
		v.real = append(v.real, c.Real(f))
	case c.Bool != nil:
		v.yes = append(v.yes, c.Bool(f))
	case c.Time != nil:
		v.whole = append(v.whole, c.Time(f).UnixNano())
	default:
		v.whole = append(v.whole, int64(c.Whole(f)))
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
	for k := range w.cols {
		if err := writeColumn(group, w.cells[k]); err != nil {
			return fmt.Errorf("parquet column %s: %w", w.cols[k].Name, err)
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

func (w *parquetWriter) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.out.Close()
}
