package store

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// conditions is a WHERE clause that is being written. Numbers are written as literals of their column's type, because with
// anything else in their place DuckDB would no longer skip blocks; all text is a parameter.
type conditions struct {
	parts []string
	// either are conditions of one column or another. DuckDB skips nothing by them and looks at every row that is left.
	either []string
	args   []any
}

func (c *conditions) add(format string, args ...any) {
	c.parts = append(c.parts, fmt.Sprintf(format, args...))
}

// or adds that one of two conditions holds. DuckDB looks at the second only where the first does not hold, which it does not do
// for an OR.
func (c *conditions) or(one, other string) {
	c.either = append(c.either, "CASE WHEN "+one+" THEN true ELSE "+other+" END")
}

func (c *conditions) String() string {
	return all(append(slices.Clone(c.parts), c.either...))
}

// only is the clause for the rows that another condition chooses, which is cheap and chooses few: the rest is not looked at for
// the others.
func (c *conditions) only(chosen string) string {
	return all(append(slices.Clone(c.parts), "CASE WHEN "+chosen+" THEN "+all(c.either)+" ELSE false END"))
}

func all(conditions []string) string {
	if len(conditions) == 0 {
		return "true"
	}
	return strings.Join(conditions, " AND ")
}

// runs narrows to runs that somebody may see. It costs next to nothing: a block's rows are mostly of one run.
func (c *conditions) runs(list []*run) {
	c.add("%s", idList("run", "UINTEGER", list, func(r *run) uint64 { return uint64(r.id) }))
}

// idList writes a condition for numbers that ascend, those without a gap as a range.
func idList[T any](column, kind string, list []T, id func(T) uint64) string {
	if len(list) == 0 {
		return "false"
	}
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && id(list[j+1]) == id(list[j])+1 {
			j++
		}
		if i == j {
			parts = append(parts, fmt.Sprintf("%s = %d::%s", column, id(list[i]), kind))
		} else {
			parts = append(parts, fmt.Sprintf("%s BETWEEN %d::%s AND %d::%s", column, id(list[i]), kind, id(list[j]), kind))
		}
		i = j + 1
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// span narrows to [from, to).
func (c *conditions) span(column string, from, to time.Time) {
	if !from.IsZero() {
		c.add("%s >= %s", column, timestamp(ceilMicros(from)))
	}
	if !to.IsZero() {
		c.add("%s < %s", column, timestamp(ceilMicros(to)))
	}
}

// Times beyond these are no times of packets, and cannot be written as text of the usual form.
const (
	minMicros = -62135596800_000_000 // year 1
	maxMicros = 253402300799_999_999 // year 9999
)

// ceilMicros rounds up, so that a stored time compares with it as the exact one does.
func ceilMicros(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		us++
	}
	return min(max(us, minMicros), maxMicros)
}

// side is a condition that one address of a flow lies within a network.
func side(column string, p netip.Prefix) string {
	low := p.Masked().Addr().As16()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	high := low
	for i := bits; i < 128; i++ {
		high[i/8] |= 0x80 >> (i % 8)
	}
	u64 := binary.BigEndian.Uint64
	if bits >= 64 {
		return fmt.Sprintf("%[1]s_hi = %[2]d::UBIGINT AND %[3]s", column, u64(low[:]), between(column, u64(low[8:]), u64(high[8:])))
	}
	return between(column+"_hi", u64(low[:]), u64(high[:]))
}

func between(column string, low, high uint64) string {
	if low == high {
		return fmt.Sprintf("%s = %d::UBIGINT", column, low)
	}
	return fmt.Sprintf("%[1]s >= %[2]d::UBIGINT AND %[1]s <= %[3]d::UBIGINT", column, low, high)
}

// hosts narrows to networks of either side, of the one and of the other.
func (c *conditions) hosts(one, other string, either, first, second netip.Prefix) {
	if either.IsValid() {
		c.or(side(one, either), side(other, either))
	}
	if first.IsValid() {
		c.add("%s", side(one, first))
	}
	if second.IsValid() {
		c.add("%s", side(other, second))
	}
}

func (c *conditions) anyOf(column, kind string, list []uint64) {
	if len(list) > 0 {
		c.add("%s", oneOf(column, kind, list))
	}
}

// oneOf is a condition for one or more numbers, in any order. The least and the largest are there for blocks to be skipped by.
func oneOf(column, kind string, list []uint64) string {
	if len(list) == 1 {
		return fmt.Sprintf("%s = %d::%s", column, list[0], kind)
	}
	var parts []string
	for _, v := range list {
		parts = append(parts, strconv.FormatUint(v, 10)+"::"+kind)
	}
	return fmt.Sprintf("%[1]s BETWEEN %[2]d::%[3]s AND %[4]d::%[3]s AND %[1]s IN (%[5]s)", column, slices.Min(list), kind, slices.Max(list), strings.Join(parts, ", "))
}

// within narrows a column to numbers between two, either of which may be 0 for none.
func (c *conditions) within(column, kind string, least, most uint64) {
	if least > 0 {
		c.add("%s >= %d::%s", column, min(least, maxCount), kind)
	}
	if most > 0 {
		c.add("%s <= %d::%s", column, min(most, maxCount), kind)
	}
}

func numbers[T ~uint8 | ~uint16](list []T) []uint64 {
	var out []uint64
	for _, v := range list {
		out = append(out, uint64(v))
	}
	return out
}

// narrow writes the filter, all but its runs and its text. It reports whether any flow can be admitted.
func (c *conditions) narrow(q FlowFilter, words []string) bool {
	c.span("start", q.From, q.To)
	c.hosts("src", "dst", q.Host, q.Src, q.Dst)
	if q.Port != 0 {
		c.or(fmt.Sprintf("src_port = %d::USMALLINT", q.Port), fmt.Sprintf("dst_port = %d::USMALLINT", q.Port))
	}
	for _, p := range []struct {
		column string
		value  uint16
	}{{"src_port", q.SrcPort}, {"dst_port", q.DstPort}, {"vlan", q.VLAN}} {
		if p.value != 0 {
			c.add("%s = %d::USMALLINT", p.column, p.value)
		}
	}
	c.anyOf("proto", "UTINYINT", numbers(q.Protos))
	c.anyOf("reason", "UTINYINT", numbers(q.Reasons))
	c.within("bytes", "BIGINT", q.MinBytes, q.MaxBytes)
	c.within("packets", "BIGINT", q.MinPackets, q.MaxPackets)
	c.within("duration", "UBIGINT", ceilDuration(q.MinDuration), uint64(max(q.MaxDuration, 0).Microseconds()))
	return c.spoken("app", q.Apps, words) && c.spoken("tunnel", q.Tunnels, words)
}

// ceilDuration is in µs, rounded up as ceilMicros does.
func ceilDuration(d time.Duration) uint64 {
	return uint64((max(d, 0) + time.Microsecond - 1) / time.Microsecond)
}

// spoken narrows a column of words. It reports false when none of them was ever seen.
func (c *conditions) spoken(column string, wanted, words []string) bool {
	if len(wanted) == 0 {
		return true
	}
	var ids []uint64
	for _, w := range wanted {
		if i := slices.Index(words, w); i >= 0 {
			ids = append(ids, uint64(i))
		}
	}
	slices.Sort(ids)
	c.anyOf(column, "USMALLINT", ids)
	return len(ids) > 0
}
