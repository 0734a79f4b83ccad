package flowscmd

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // reads the files back

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
)

// Another program reads what Parquet holds: each column by its name, with the value of the flow, and its unit.
func TestDuckDBReadsTheParquet(t *testing.T) {
	name := filepath.Join(t.TempDir(), "flows.parquet")
	if err := os.WriteFile(name, print(t, "parquet", scan), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT * EXCLUDE (capture) FROM read_parquet(?) ORDER BY id", name)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	want := flowsOf(t, scan)
	slices.SortFunc(want, func(a, b sdk.Flow) int { return int(a.ID) - int(b.ID) })
	all, n := columns.All(), 0
	for ; rows.Next(); n++ {
		values := make([]any, len(all))
		into := make([]any, len(all))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if got, cell := fmt.Sprint(values[i]), fmt.Sprint(valueOf(&all[i], &want[n])); got != cell {
				t.Errorf("flow %d: %s is %s, want %s", want[n].ID, all[i].Name, got, cell)
			}
		}
	}
	if rows.Err() != nil || n != len(want) {
		t.Errorf("%d rows, want %d; %v", n, len(want), rows.Err())
	}
	var unit string
	err = db.QueryRow("SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'picket.column.packet_rate.unit'", name).Scan(&unit)
	if err != nil || unit != "{packet}/s" {
		t.Errorf("unit %q, %v", unit, err)
	}
}

func valueOf(c *columns.Column, f *sdk.Flow) any {
	switch {
	case c.Text != nil:
		return c.Text(f)
	case c.Whole != nil:
		return c.Whole(f)
	case c.Real != nil:
		return c.Real(f)
	case c.Bool != nil:
		return c.Bool(f)
	}
	return c.Time(f)
}
