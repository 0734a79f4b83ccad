package store

import (
	"context"
	"database/sql/driver"
	"strings"
	"testing"
)

// A table takes more rows than a chunk and the appender hold, in columns of every type, and refuses columns that are not its own.
func TestTableTakesRowsByColumns(t *testing.T) {
	e, err := openEngine(t.Context(), TelemetryConfig{Dir: t.TempDir()}.withDefaults())
	must(t, err)
	defer e.close()
	conn, err := e.db.Conn(t.Context())
	must(t, err)
	defer conn.Close()
	do := func(text string) {
		_, err := conn.ExecContext(context.Background(), text)
		must(t, err)
	}
	do("CREATE TABLE x (a UTINYINT, b USMALLINT, c UINTEGER, d UBIGINT, e BIGINT, f TIMESTAMP)")
	var (
		a   []uint8
		b   []uint16
		c   []uint32
		d   []uint64
		e64 []int64
		f   []timeMicros
	)
	open := func(columns ...any) (x *table, err error) {
		return x, raw(conn, func(dc driver.Conn) (err error) {
			x, err = openTable(dc, "memory", "x", columns...)
			return err
		})
	}
	fill := func(rows int) *table {
		x, err := open(&a, &b, &c, &d, &e64, &f)
		must(t, err)
		for i := range rows {
			n, err := x.next()
			must(t, err)
			a[n], b[n], c[n], d[n], e64[n], f[n] = uint8(i), uint16(i), uint32(i), uint64(i), -int64(i), timeMicros(i)
		}
		return x
	}
	const rows = flushRows + 3000
	must(t, fill(rows).Close())
	var n, wrong int
	must(t, conn.QueryRowContext(t.Context(), `SELECT count(*), count(*) FILTER (a <> c % 256 OR b <> c % 65536 OR d <> c OR e <> -c::BIGINT OR epoch_us(f) <> c) FROM x`).Scan(&n, &wrong))
	if n != rows || wrong != 0 {
		t.Errorf("%d rows, %d of them wrong", n, wrong)
	}
	must(t, fill(100).drop())
	must(t, conn.QueryRowContext(t.Context(), "SELECT count(*) FROM x").Scan(&n))
	if n != rows {
		t.Errorf("%d rows after some were dropped", n)
	}
	for want, columns := range map[string][]any{
		"has 6 columns, not 1":      {&a},
		"column 1 of table x is no": {&a, &c, &c, &d, &e64, &f},
	} {
		if _, err := open(columns...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
