package onnx

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// message puts fields behind each other.
func message(fields ...[]byte) []byte { return slices.Concat(fields...) }

func bytesField(n protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
}

func text(n protowire.Number, s string) []byte { return bytesField(n, []byte(s)) }

func number(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

// file is a model of a graph.
func file(opset uint64, graph ...[]byte) []byte {
	return message(number(1, 8), bytesField(7, message(graph...)), bytesField(8, number(2, opset)), bytesField(14, message(text(1, "k"), text(2, "v"))))
}

func op(kind, in, out string, attributes ...[]byte) []byte {
	var b []byte
	for name := range strings.FieldsSeq(in) {
		b = append(b, text(1, name)...)
	}
	b = append(append(b, text(2, out)...), text(4, kind)...)
	for _, a := range attributes {
		b = append(b, bytesField(5, a)...)
	}
	return bytesField(1, b)
}

func attr(name string, v uint64) []byte { return message(text(1, name), number(3, v)) }

func floats(name string, shape []int, values ...float32) []byte {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return tensorOf(name, float32s, shape, raw)
}

func tensorOf(name string, k kind, shape []int, raw []byte) []byte {
	var b []byte
	for _, d := range shape {
		b = append(b, number(1, uint64(d))...)
	}
	return bytesField(5, message(b, number(2, uint64(k)), text(8, name), bytesField(9, raw)))
}

var (
	input  = bytesField(11, text(1, "pieces"))
	output = bytesField(12, text(1, "score"))
	table  = tensorOf("table", int8s, []int{3, 2}, []byte{1, 2, 0xff, 4, 5, 6})
	over   = tensorOf("over", int64s, []int{1}, make([]byte, 8))
)

// network has every operator: score = sigmoid(relu(sum of the rows * 0.5 + (1, 1)) · (2, 3) − 4).
func network() [][]byte {
	return [][]byte{
		input, output, table, over, floats("half", []int{1}, 0.5), floats("b1", []int{2}, 1, 1), floats("w2", []int{2, 1}, 2, 3), floats("b2", []int{1}, -4),
		op("Gather", "table pieces", "rows"), op("Cast", "rows", "numbers", attr("to", 1)), op("ReduceSum", "numbers over", "sum", attr("keepdims", 1)),
		op("Mul", "sum half", "scaled"), op("Add", "scaled b1", "a1"), op("Relu", "a1", "h1"), op("Gemm", "h1 w2 b2", "logit"), op("Sigmoid", "logit", "score"),
	}
}

func TestRun(t *testing.T) {
	m, err := Parse(file(17, network()...))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		pieces []int64
		logit  float64
	}{{[]int64{0}, 2*1.5 + 3*2 - 4}, {[]int64{1}, 2*0.5 + 3*3 - 4}, {[]int64{1, 1, 1, 1}, 3*9 - 4}, {[]int64{0, 1, 2, 0}, 2*4 + 3*8 - 4}} {
		got, err := m.Run(test.pieces)
		if want := 1 / (1 + math.Exp(-test.logit)); err != nil || len(got) != 1 || math.Abs(float64(got[0])-want) > 1e-6 {
			t.Errorf("%v: %v, %v, want %v", test.pieces, got, err, want)
		}
	}
	if len(m.steps) != len(operators)-2 {
		t.Errorf("%d steps", len(m.steps))
	}
	if m.Metadata["k"] != "v" {
		t.Errorf("metadata %v", m.Metadata)
	}
	for _, pieces := range [][]int64{nil, {3}, {-1}, {1 << 40}} {
		if _, err := m.Run(pieces); err == nil {
			t.Errorf("%v was scored", pieces)
		}
	}
}

// What is not known is named, not skipped.
func TestWhatIsNotKnownIsRefused(t *testing.T) {
	with := func(at int, instead ...[]byte) []byte {
		n := network()
		return file(17, slices.Concat(n[:at], instead, n[at+1:])...)
	}
	for want, data := range map[string][]byte{
		"0 graphs":                     number(1, 8),
		"version 9 of the operators":   file(9, network()...),
		"version 99 of the operators":  file(99, network()...),
		"functions":                    append(file(17, network()...), text(25, "f")...),
		"sparse":                       file(17, append(network(), text(15, "s"))...),
		`operator "Conv" is not known`: with(15, op("Conv", "logit", "score")),
		`operators of "com.acme"`:      with(15, bytesField(1, message(text(1, "logit"), text(2, "score"), text(4, "Sigmoid"), text(7, "com.acme")))),
		"nothing makes its input":      with(15, op("Sigmoid", "other", "score")),
		"two makers":                   with(14, op("Gemm", "h1 w2 b2", "h1")),
		"0 inputs and 1 outputs":       with(0),
		"nothing makes the output":     with(1, bytesField(12, text(1, "other"))),
		"5 bytes for the shape":        with(2, tensorOf("table", int8s, []int{3, 2}, make([]byte, 5))),
		"type 10":                      with(2, tensorOf("table", 10, []int{3, 2}, make([]byte, 12))),
		"of type 1, want 3":            with(2, floats("table", []int{1, 1}, 1)),
		"the dimension":                with(2, tensorOf("table", int8s, []int{1 << 40}, nil)),
		"raw_data":                     with(2, bytesField(5, message(text(8, "table"), text(13, "elsewhere")))),
		"more than":                    with(2, tensorOf("table", int8s, []int{1 << 20, 1 << 20}, nil)),
		"to type 11":                   with(9, op("Cast", "rows", "numbers", attr("to", 11))),
		"want the rows":                with(3, tensorOf("over", int64s, []int{1}, []byte{1, 0, 0, 0, 0, 0, 0, 0})),
		"do not go together":           with(5, floats("b1", []int{3}, 1, 1, 1)),
		"alpha and beta":               with(14, op("Gemm", "h1 w2 b2", "logit", attr("transB", 1))),
		`attribute "saturate"`:         with(9, op("Cast", "rows", "numbers", attr("to", 1), attr("saturate", 1))),
		"not one number":               with(9, op("Cast", "rows", "numbers", message(text(1, "to"), text(4, "x")))),
		"2 inputs, want 3":             with(14, op("Gemm", "h1 w2", "logit")),
		"unexpected EOF":               file(17, network()...)[:60],
	} {
		if _, err := Parse(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

// Steps in one say the same as each by itself, also where a value goes elsewhere, too.
func TestJoinedSteps(t *testing.T) {
	one, err := Parse(file(17, network()...))
	if err != nil {
		t.Fatal(err)
	}
	g, err := readModel(file(17, network()...))
	if err != nil {
		t.Fatal(err)
	}
	each, err := build(g)
	if err != nil {
		t.Fatal(err)
	}
	for _, pieces := range [][]int64{{0}, {1, 1, 2}, {0, 1, 2, 0, 1, 2, 2, 2}} {
		a, errA := one.Run(pieces)
		b, errB := each.Run(pieces)
		if errA != nil || errB != nil || !slices.Equal(a, b) {
			t.Errorf("%v: %v and %v (%v, %v)", pieces, a, b, errA, errB)
		}
	}
	n := network()
	twice, err := Parse(file(17, slices.Concat(n[:15], [][]byte{op("Relu", "numbers", "aside")}, n[15:])...))
	if err != nil || len(twice.steps) != 9 {
		t.Errorf("%v, %d steps", err, len(twice.steps))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(17, network()...), int64(1))
	for i := range network() {
		f.Add(file(17, slices.Delete(network(), i, i+1)...), int64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece int64) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		for range 2 {
			if out, err := m.Run([]int64{piece, 0, piece}); err == nil && len(out) > maxNumbers {
				t.Errorf("%d numbers", len(out))
			}
		}
	})
}
