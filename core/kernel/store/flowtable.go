package store

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// flushRows is how many rows of a table DuckDB's appender holds back: each is there twice until it lets go of it.
const flushRows = 16 << 10

// table appends rows by whole columns, straight into the memory of DuckDB. The Appender of duckdb-go takes each cell as an
// interface, which costs several times what DuckDB then does with it.
type table struct {
	appender mapping.Appender
	chunk    mapping.DataChunk
	types    []mapping.LogicalType
	rows     int // in the chunk
	waiting  int // in the appender
	room     int // rows of a chunk
}

// openTable prepares a table for the transaction of a connection. The columns are slices by pointer, in the order and of the
// types of the table's; next says which element is the next row's.
func openTable(conn driver.Conn, catalog, name string, columns ...any) (*table, error) {
	t := &table{room: int(mapping.VectorSize())}
	handle, err := handleOf(conn)
	if err != nil {
		return nil, err
	}
	if mapping.AppenderCreateExt(handle, catalog, "main", name, &t.appender) == mapping.StateError {
		return nil, errors.Join(t.problem(), t.drop())
	}
	for i := range mapping.AppenderColumnCount(t.appender) {
		t.types = append(t.types, mapping.AppenderColumnType(t.appender, i))
	}
	if len(t.types) != len(columns) {
		return nil, errors.Join(fmt.Errorf("table %s has %d columns, not %d", name, len(t.types), len(columns)), t.drop())
	}
	t.chunk = mapping.CreateDataChunk(t.types)
	for i, c := range columns {
		data := mapping.VectorGetData(mapping.DataChunkGetVector(t.chunk, mapping.IdxT(i)))
		if kind := t.bind(c, data); kind != mapping.GetTypeId(t.types[i]) {
			return nil, errors.Join(fmt.Errorf("column %d of table %s is no %T", i, name, c), t.drop())
		}
	}
	return t, nil
}

// bind lets a slice lie over a vector, and returns the type that the vector must be of. A chunk keeps its vectors where they are.
func (t *table) bind(column any, data unsafe.Pointer) mapping.Type {
	switch c := column.(type) {
	case *[]uint8:
		*c = unsafe.Slice((*uint8)(data), t.room)
		return mapping.TypeUTinyInt
	case *[]uint16:
		*c = unsafe.Slice((*uint16)(data), t.room)
		return mapping.TypeUSmallInt
	case *[]uint32:
		*c = unsafe.Slice((*uint32)(data), t.room)
		return mapping.TypeUInteger
	case *[]uint64:
		*c = unsafe.Slice((*uint64)(data), t.room)
		return mapping.TypeUBigInt
	case *[]int64:
		*c = unsafe.Slice((*int64)(data), t.room)
		return mapping.TypeBigInt
	case *[]timeMicros:
		*c = unsafe.Slice((*timeMicros)(data), t.room)
		return mapping.TypeTimestamp
	}
	return mapping.TypeInvalid
}

// timeMicros is a TIMESTAMP.
type timeMicros int64

// handleOf is DuckDB's own handle of a connection, which duckdb-go keeps to itself.
func handleOf(conn driver.Conn) (mapping.Connection, error) {
	c, ok := conn.(*duckdb.Conn)
	if !ok {
		return mapping.Connection{}, fmt.Errorf("a connection of %T is none of DuckDB's", conn)
	}
	field := reflect.ValueOf(c).Elem().FieldByName("conn")
	if !field.IsValid() || field.Type() != reflect.TypeFor[mapping.Connection]() {
		return mapping.Connection{}, errors.New("this release of duckdb-go keeps its handle somewhere else")
	}
	return mapping.Connection{Ptr: field.FieldByName("Ptr").UnsafePointer()}, nil
}

// next returns the place of a new row, every column of which must be written.
func (t *table) next() (row int, err error) {
	if t.rows == t.room {
		if err := t.push(); err != nil {
			return 0, err
		}
	}
	t.rows++
	return t.rows - 1, nil
}

func (t *table) push() error {
	mapping.DataChunkSetSize(t.chunk, mapping.IdxT(t.rows))
	if mapping.AppendDataChunk(t.appender, t.chunk) == mapping.StateError {
		return t.problem()
	}
	t.waiting += t.rows
	t.rows = 0
	if t.waiting < flushRows {
		return nil
	}
	return t.flush()
}

func (t *table) flush() error {
	t.waiting = 0
	if mapping.AppenderFlush(t.appender) == mapping.StateError {
		return t.problem()
	}
	return nil
}

func (t *table) problem() error { return errors.New(mapping.AppenderError(t.appender)) }

// Close hands over the last rows.
func (t *table) Close() error {
	err := t.push()
	if err == nil {
		err = t.flush()
	}
	return errors.Join(err, t.drop())
}

// drop gives the memory back, and with it the rows that were not handed over.
func (t *table) drop() error {
	mapping.AppenderClear(t.appender) // else the next line would hand them over
	var err error
	if mapping.AppenderDestroy(&t.appender) == mapping.StateError {
		err = errors.New("DuckDB cannot close a table's appender")
	}
	for i := range t.types {
		mapping.DestroyLogicalType(&t.types[i])
	}
	mapping.DestroyDataChunk(&t.chunk)
	return err
}

// flowColumns are the columns of the table of flows.
type flowColumns struct {
	*table
	run                    []uint32
	id                     []uint64
	start                  []timeMicros
	duration               []uint64
	srcHi, src, dstHi, dst []uint64
	srcPort, dstPort       []uint16
	proto, reason          []uint8
	app, tunnel            []uint16
	tunnelID               []uint32
	vlan                   []uint16
	packets, fwdPackets    []int64
	bytes, fwdBytes        []int64
	name                   []uint64
	block                  []uint32
	item                   []uint16
}

func (c *flowColumns) open(conn driver.Conn, catalog string) (err error) {
	c.table, err = openTable(conn, catalog, "flows", &c.run, &c.id, &c.start, &c.duration, &c.srcHi, &c.src, &c.dstHi, &c.dst, &c.srcPort, &c.dstPort,
		&c.proto, &c.reason, &c.app, &c.tunnel, &c.tunnelID, &c.vlan, &c.packets, &c.fwdPackets, &c.bytes, &c.fwdBytes, &c.name, &c.block, &c.item)
	return err
}

// factColumns are the columns of the table of facts.
type factColumns struct {
	*table
	run                                []uint32
	number                             []uint64
	kind                               []uint8
	flow                               []uint64
	since, until                       []timeMicros
	clientHi, client, serverHi, server []uint64
	name                               []uint64
	also                               []uint8
}

func (c *factColumns) open(conn driver.Conn, catalog string) (err error) {
	c.table, err = openTable(conn, catalog, "facts", &c.run, &c.number, &c.kind, &c.flow, &c.since, &c.until,
		&c.clientHi, &c.client, &c.serverHi, &c.server, &c.name, &c.also)
	return err
}

// frameColumns are the columns of the table of frames.
type frameColumns struct {
	*table
	run   []uint32
	kind  []uint8
	block []uint32
	place []uint64
	size  []uint32
	count []uint32
}

func (c *frameColumns) open(conn driver.Conn, catalog string) (err error) {
	c.table, err = openTable(conn, catalog, "frames", &c.run, &c.kind, &c.block, &c.place, &c.size, &c.count)
	return err
}

// raw lends the driver's connection of one of database/sql.
func raw(conn *sql.Conn, use func(driver.Conn) error) error {
	return conn.Raw(func(c any) error { return use(c.(driver.Conn)) }) //nolint:forcetypeassert // database/sql knows no others
}
