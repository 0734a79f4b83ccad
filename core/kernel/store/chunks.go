package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// sampleColumns are what a query must select for eachChunk, in any of these types.
var sampleColumns = [...][]duckdb.Type{{duckdb.TYPE_UINTEGER}, {duckdb.TYPE_TIMESTAMP, duckdb.TYPE_BIGINT}, {duckdb.TYPE_DOUBLE}}

// eachChunk calls fn with the rows of a query, none of whose values is NULL, some thousand at a time and as DuckDB holds them: the
// driver would make an object of every value, which takes ten times as long as finding it. The slices are valid during the call;
// a TIMESTAMP is microseconds.
func (e *engine) eachChunk(ctx context.Context, query string, fn func(ids []uint32, times []int64, values []float64) error) error {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return raw(conn, func(c driver.Conn) error { return eachChunk(ctx, c, query, fn) })
}

func eachChunk(ctx context.Context, conn driver.Conn, query string, fn func(ids []uint32, times []int64, values []float64) error) error {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, query, nil) //nolint:forcetypeassert // DuckDB's is one
	if err != nil {
		return err
	}
	defer rows.Close()
	result, err := resultOf(rows)
	if err != nil {
		return err
	}
	for i, want := range sampleColumns {
		if got := mapping.ColumnType(result, mapping.IdxT(i)); !slices.Contains(want, got) {
			return fmt.Errorf("column %d has type %d, not one of %v", i, got, want)
		}
	}
	for {
		chunk := mapping.FetchChunk(*result)
		if chunk.Ptr == nil {
			return nil
		}
		n := int(mapping.DataChunkGetSize(chunk))
		err := fn(column[uint32](chunk, 0, n), column[int64](chunk, 1, n), column[float64](chunk, 2, n))
		if mapping.DestroyDataChunk(&chunk); err != nil {
			return err
		}
	}
}

func column[T uint32 | int64 | float64](chunk mapping.DataChunk, i, rows int) []T {
	return unsafe.Slice((*T)(mapping.VectorGetData(mapping.DataChunkGetVector(chunk, mapping.IdxT(i)))), rows)
}

// resultOf finds the result behind the driver's rows, which it hands out only with all of Arrow built in.
func resultOf(rows driver.Rows) (*mapping.Result, error) {
	p := reflect.ValueOf(rows)
	if p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Struct {
		if field := p.Elem().FieldByName("res"); field.IsValid() && field.Type() == reflect.TypeFor[mapping.Result]() {
			return (*mapping.Result)(unsafe.Pointer(field.UnsafeAddr())), nil
		}
	}
	return nil, errors.New("the rows of this release of the driver are not known; chunks.go must be made to fit")
}
