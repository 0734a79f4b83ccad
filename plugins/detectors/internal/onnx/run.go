package onnx

import (
	"fmt"
	"math"
	"slices"
)

// kind is the type of a tensor's numbers, as the file numbers types.
type kind uint64

const (
	float32s kind = 1
	int8s    kind = 3
	int64s   kind = 7
)

// tensor is numbers of one kind in rows.
type tensor struct {
	kind   kind
	shape  []int
	floats []float32
	bytes  []byte // of int8s, those of the file
	longs  []int64
	sums   []int32 // room of sumOfRows
}

// maxNumbers bounds what a step may leave: a short file must not fill the memory.
const maxNumbers = 1 << 22

type operator func(out *tensor, in []*tensor, attr *attributes) error

// operators are what a model may be made of.
var operators = map[string]operator{
	"Add":       elementwise(func(a, b float32) float32 { return a + b }),
	"Cast":      cast,
	"Gather":    gather,
	"Gemm":      gemm,
	"Mul":       elementwise(func(a, b float32) float32 { return a * b }),
	"ReduceSum": reduceSum,
	"Relu":      each(func(v float32) float32 { return max(v, 0) }),
	"Sigmoid":   each(func(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }),
}

// known are the attributes that they have.
var known = map[string][]string{
	"Cast":      {"to"},
	"Gather":    {"axis"},
	"Gemm":      {"alpha", "beta", "transA", "transB"},
	"ReduceSum": {"keepdims", "noop_with_empty_axes"},
}

// take checks how many inputs there are and of what kinds, in their order.
func take(in []*tensor, kinds ...kind) error {
	if len(in) != len(kinds) {
		return fmt.Errorf("%d inputs, want %d", len(in), len(kinds))
	}
	for i, k := range kinds {
		if in[i].kind != k {
			return fmt.Errorf("input %d is of type %d, want %d", i, in[i].kind, k)
		}
	}
	return nil
}

// hold makes room for numbers of a shape.
func (t *tensor) hold(k kind, shape ...int) error {
	n := 1
	for _, d := range shape {
		if n *= d; n > maxNumbers {
			return fmt.Errorf("more than %d numbers", maxNumbers)
		}
	}
	t.kind, t.shape = k, append(t.shape[:0], shape...)
	if k == float32s {
		t.floats = slices.Grow(t.floats[:0], n)[:n]
	} else {
		t.bytes = slices.Grow(t.bytes[:0], n)[:n]
	}
	return nil
}

// gather copies the rows of a table that are asked for.
func gather(out *tensor, in []*tensor, attr *attributes) error {
	if err := take(in, int8s, int64s); err != nil {
		return err
	}
	table, rows := in[0], in[1]
	if len(table.shape) != 2 || len(rows.shape) != 1 || attr.number("axis", 0) != 0 {
		return fmt.Errorf("a table of shape %v by %v, want rows of two dimensions by one", table.shape, rows.shape)
	}
	height, width := int64(table.shape[0]), table.shape[1]
	if err := out.hold(int8s, len(rows.longs), width); err != nil {
		return err
	}
	for i, row := range rows.longs {
		if row < 0 || row >= height {
			return fmt.Errorf("row %d of %d", row, height)
		}
		copy(out.bytes[i*width:(i+1)*width], table.bytes[int(row)*width:])
	}
	return nil
}

// cast makes floats of whole numbers.
func cast(out *tensor, in []*tensor, attr *attributes) error {
	if err := take(in, int8s); err != nil {
		return err
	}
	if to := attr.number("to", 0); to != int64(float32s) {
		return fmt.Errorf("to type %d, want %d", to, float32s)
	}
	if err := out.hold(float32s, in[0].shape...); err != nil {
		return err
	}
	floats := out.floats[:len(in[0].bytes)]
	for i, b := range in[0].bytes {
		floats[i] = float32(int8(b))
	}
	return nil
}

// reduceSum adds up the rows.
func reduceSum(out *tensor, in []*tensor, attr *attributes) error {
	if err := take(in, float32s, int64s); err != nil {
		return err
	}
	if t := in[0]; len(t.shape) != 2 || !slices.Equal(in[1].longs, []int64{0}) || attr.number("keepdims", 1) != 1 || attr.number("noop_with_empty_axes", 0) != 0 {
		return fmt.Errorf("of a shape %v over %v, want the rows of two dimensions", t.shape, in[1].longs)
	}
	width := in[0].shape[1]
	if err := out.hold(float32s, 1, width); err != nil {
		return err
	}
	sums := out.floats
	clear(sums)
	for rest := in[0].floats; width > 0 && len(rest) >= width; rest = rest[width:] {
		for i, v := range rest[:len(sums)] {
			sums[i] += v
		}
	}
	return nil
}

// sumOfRows is gather, cast and reduceSum in one.
func sumOfRows(out *tensor, in []*tensor, _ *attributes) error {
	table, rows := in[0], in[1]
	height, width := int64(table.shape[0]), table.shape[1]
	if err := out.hold(float32s, 1, width); err != nil {
		return err
	}
	if cap(out.sums) < width {
		out.sums = make([]int32, width)
	}
	sums := out.sums[:width]
	clear(sums)
	for _, row := range rows.longs {
		if row < 0 || row >= height {
			return fmt.Errorf("row %d of %d", row, height)
		}
		for i, b := range table.bytes[int(row)*width:][:len(sums)] {
			sums[i] += int32(int8(b))
		}
	}
	for i, v := range sums {
		out.floats[i] = float32(v)
	}
	return nil
}

// elementwise joins numbers with those at the same place, with a row for all rows, or with one number for all.
func elementwise(join func(a, b float32) float32) operator {
	return func(out *tensor, in []*tensor, _ *attributes) error {
		if err := take(in, float32s, float32s); err != nil {
			return err
		}
		a, b := in[0], in[1]
		n := len(b.floats)
		same := slices.Equal(a.shape, b.shape) || len(a.shape) > 0 && n == a.shape[len(a.shape)-1] && len(b.shape) == 1 || n == 1 && len(b.shape) <= len(a.shape)
		if !same || n == 0 {
			return fmt.Errorf("shapes %v and %v do not go together", a.shape, b.shape)
		}
		if err := out.hold(float32s, a.shape...); err != nil {
			return err
		}
		for i, v := range a.floats {
			out.floats[i] = join(v, b.floats[i%n])
		}
		return nil
	}
}

func each(change func(float32) float32) operator {
	return func(out *tensor, in []*tensor, _ *attributes) error {
		if err := take(in, float32s); err != nil {
			return err
		}
		if err := out.hold(float32s, in[0].shape...); err != nil {
			return err
		}
		for i, v := range in[0].floats {
			out.floats[i] = change(v)
		}
		return nil
	}
}

// gemm multiplies rows with a matrix and adds a row.
func gemm(out *tensor, in []*tensor, attr *attributes) error {
	if err := take(in, float32s, float32s, float32s); err != nil {
		return err
	}
	if attr.number("transA", 0) != 0 || attr.number("transB", 0) != 0 || attr.float("alpha", 1) != 1 || attr.float("beta", 1) != 1 {
		return fmt.Errorf("transA, transB, alpha and beta are not known here")
	}
	a, b, c := in[0], in[1], in[2]
	if len(a.shape) != 2 || len(b.shape) != 2 || a.shape[1] != b.shape[0] || len(c.shape) != 1 || c.shape[0] != b.shape[1] {
		return fmt.Errorf("shapes %v, %v and %v do not go together", a.shape, b.shape, c.shape)
	}
	rows, inner, width := a.shape[0], a.shape[1], b.shape[1]
	if rows*inner > maxNumbers/max(width, 1) {
		return fmt.Errorf("more than %d products", maxNumbers)
	}
	if err := out.hold(float32s, rows, width); err != nil {
		return err
	}
	for r := range rows {
		sums := out.floats[r*width : (r+1)*width]
		copy(sums, c.floats)
		for k, v := range a.floats[r*inner : (r+1)*inner] {
			if v == 0 {
				continue // as half of what Relu leaves
			}
			for w, x := range b.floats[k*width : (k+1)*width][:len(sums)] {
				sums[w] += float32(v * x) // rounded each time, so that no processor joins the two
			}
		}
	}
	return nil
}
