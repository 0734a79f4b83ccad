package flowtable

import (
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
)

// A row group is held, packed, before it is written: large enough to compress, small enough to hold, however many columns there
// are. Of each column a page is held as it is, and the values that it had so far: one with many goes on without.
const (
	groupRows       = 64 << 10
	groupCells      = 4 << 20
	pageBytes       = 64 << 10
	dictionaryBytes = 256 << 10
	rowsAtOnce      = 64
)

// parquetWriter turns flows into rows of values.
type parquetWriter struct {
	out   *parquet.GenericWriter[any]
	cols  []columns.Column
	cells []parquet.Value
	rows  []parquet.Row
}

func newParquet(out io.Writer, cols []columns.Column) (Writer, error) {
	options := []parquet.WriterOption{
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.CreatedBy("picket", "", ""),
		parquet.KeyValueMetadata("picket.feature_set", strconv.Itoa(sdk.FeatureSet)),
		parquet.MaxRowsPerRowGroup(int64(min(groupRows, groupCells/(len(cols)+1)))),
		parquet.PageBufferSize(pageBytes),
		parquet.DefaultEncodingFor(parquet.Int64, &parquet.RLEDictionary),
		parquet.DefaultEncodingFor(parquet.Double, &parquet.RLEDictionary),
		parquet.DictionaryMaxBytes(dictionaryBytes),
	}
	fields := inOrder{{textNode(), "capture"}}
	for i := range cols {
		c := &cols[i]
		fields = append(fields, field{parquetNode(c), c.Name})
		for key, value := range map[string]string{"unit": c.Unit, "direction": c.Direction, "formula": c.Formula} {
			if value != "" {
				options = append(options, parquet.KeyValueMetadata("picket.column."+c.Name+"."+key, value))
			}
		}
	}
	options = append(options, parquet.NewSchema("flows", group{parquet.Group{}, fields}))
	return &parquetWriter{out: parquet.NewGenericWriter[any](out, options...), cols: cols}, nil
}

// group has its columns in the order in which they are given; parquet.Group sorts them by their names.
type group struct {
	parquet.Group
	fields inOrder
}

func (g group) Fields() []parquet.Field {
	out := make([]parquet.Field, len(g.fields))
	for i := range g.fields {
		out[i] = &g.fields[i]
	}
	return out
}

func (g group) String() string { return fmt.Sprintf("%d columns", len(g.fields)) }

// GoType is asked for by readers into structs, of which there are none.
func (g group) GoType() reflect.Type { return reflect.TypeFor[struct{}]() }

type inOrder []field

type field struct {
	parquet.Node
	name string
}

func (f *field) Name() string { return f.name }

// Value is asked for by writers of structs, of which there are none.
func (f *field) Value(reflect.Value) reflect.Value { return reflect.Value{} }

func textNode() parquet.Node { return parquet.Encoded(parquet.String(), &parquet.RLEDictionary) }

// parquetNode declares the column: times are nanoseconds UTC.
func parquetNode(c *columns.Column) parquet.Node {
	switch {
	case c.Text != nil:
		return textNode()
	case c.Real != nil:
		return parquet.Leaf(parquet.DoubleType)
	case c.Bool != nil:
		return parquet.Leaf(parquet.BooleanType)
	case c.Time != nil:
		return parquet.Timestamp(parquet.Nanosecond)
	}
	return parquet.Leaf(parquet.Int64Type)
}

func (w *parquetWriter) Write(capture string, flows []sdk.Flow) error {
	name := parquet.ValueOf(capture).Level(0, 0, 0)
	for ; len(flows) > 0; flows = flows[min(len(flows), rowsAtOnce):] {
		w.cells, w.rows = w.cells[:0], w.rows[:0]
		for i := range flows[:min(len(flows), rowsAtOnce)] {
			begin := len(w.cells)
			w.cells = append(w.cells, name)
			for k := range w.cols {
				w.cells = append(w.cells, value(&w.cols[k], &flows[i]).Level(0, 0, k+1))
			}
			w.rows = append(w.rows, w.cells[begin:])
		}
		if _, err := w.out.WriteRows(w.rows); err != nil {
			return fmt.Errorf("parquet: %w", err)
		}
	}
	return nil
}

func value(c *columns.Column, f *sdk.Flow) parquet.Value {
	switch {
	case c.Text != nil:
		return parquet.ValueOf(c.Text(f))
	case c.Real != nil:
		return parquet.DoubleValue(c.Real(f))
	case c.Bool != nil:
		return parquet.BooleanValue(c.Bool(f))
	case c.Time != nil:
		return parquet.Int64Value(c.Time(f).UnixNano())
	}
	return parquet.Int64Value(int64(c.Whole(f)))
}

func (w *parquetWriter) Close() error { return w.out.Close() }
