// Package columns lists what is known of a flow as the columns of a table: the same names, in the same order, in CSV, JSON,
// Parquet and the database. docs/features.md is made of the same list.
package columns

import (
	"strconv"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Column is one column; exactly one of the functions is set.
type Column struct {
	Name      string
	Unit      string // UCUM, "" for what is not measured
	Direction string // "forward", "back", "both", or ""
	Formula   string

	Text  func(*sdk.Flow) string
	Whole func(*sdk.Flow) uint64
	Real  func(*sdk.Flow) float64
	Bool  func(*sdk.Flow) bool
	Time  func(*sdk.Flow) time.Time
}

// Flow returns the columns that every flow has.
func Flow() []Column { return all[:plain:plain] }

// All returns the columns of Flow with the further features behind them. Those read Flow.Features, which must be there.
func All() []Column { return all[:len(all):len(all)] }

// Features returns the columns of the further features.
func Features() []Column { return all[plain:len(all):len(all)] }

// AppendText writes the cell as plain text: times in RFC 3339, numbers in the shortest form that reads back equal.
func (c *Column) AppendText(b []byte, f *sdk.Flow) []byte {
	switch {
	case c.Text != nil:
		return append(b, c.Text(f)...)
	case c.Whole != nil:
		return strconv.AppendUint(b, c.Whole(f), 10)
	case c.Real != nil:
		return strconv.AppendFloat(b, c.Real(f), 'g', -1, 64)
	case c.Bool != nil:
		return strconv.AppendBool(b, c.Bool(f))
	}
	return c.Time(f).UTC().AppendFormat(b, time.RFC3339Nano)
}

// list writes numbers as one cell, because CSV has no lists.
func list(numbers []uint64) string {
	var b []byte
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return string(b)
}
