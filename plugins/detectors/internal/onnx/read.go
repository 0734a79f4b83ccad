package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The operators here mean the same in these versions of ONNX's set of operators.
const (
	minOpset = 13
	maxOpset = 22
)

// graph is what of a file the model is built from.
type graph struct {
	metadata        map[string]string
	constants       []constant
	nodes           []node
	inputs, outputs []string
}

type constant struct {
	tensor
	name string
}

type node struct {
	op              string
	inputs, outputs []string
	attr            attributes
}

// attributes are what a node says of its operator.
type attributes []attribute

type attribute struct {
	name   string
	number int64
	float  float32
}

func (a attributes) number(name string, otherwise int64) int64 {
	if i := slices.IndexFunc(a, func(x attribute) bool { return x.name == name }); i >= 0 {
		return a[i].number
	}
	return otherwise
}

func (a attributes) float(name string, otherwise float32) float32 {
	if i := slices.IndexFunc(a, func(x attribute) bool { return x.name == name }); i >= 0 {
		return a[i].float
	}
	return otherwise
}

// field is one field of a message; which of its values counts, its type says.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte
	varint uint64
}

// fields shows each field of a message in turn.
func fields(message []byte, show func(field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(message)
			f.varint = uint64(v)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := show(f); err != nil {
			return err
		}
	}
	return nil
}

// readModel reads a ModelProto.
func readModel(data []byte) (*graph, error) {
	g := &graph{metadata: map[string]string{}}
	opset, graphs := uint64(0), 0
	err := fields(data, func(f field) error {
		switch f.number {
		case 7:
			graphs++
			return g.read(f.bytes)
		case 8:
			return fields(f.bytes, func(f field) error {
				switch f.number {
				case 1:
					if domain := string(f.bytes); domain != "" && domain != "ai.onnx" {
						return fmt.Errorf("operators of %.80q are not known here", domain)
					}
				case 2:
					opset = f.varint
				}
				return nil
			})
		case 14:
			var pair [3][]byte
			if err := fields(f.bytes, func(f field) error {
				if f.number < 3 {
					pair[f.number] = f.bytes
				}
				return nil
			}); err != nil {
				return err
			}
			g.metadata[string(pair[1])] = string(pair[2])
		case 25:
			return errors.New("functions are not known here")
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case graphs != 1:
		return nil, fmt.Errorf("%d graphs, want one", graphs)
	case opset < minOpset || opset > maxOpset:
		return nil, fmt.Errorf("version %d of the operators; %d to %d are known here", opset, minOpset, maxOpset)
	}
	return g, nil
}

// read reads a GraphProto.
func (g *graph) read(message []byte) error {
	return fields(message, func(f field) error {
		switch f.number {
		case 1:
			n, err := readNode(f.bytes)
			g.nodes = append(g.nodes, n)
			return err
		case 5:
			c, err := readConstant(f.bytes)
			if err != nil {
				return fmt.Errorf("the constant %.80q: %w", c.name, err)
			}
			g.constants = append(g.constants, c)
		case 11:
			name, err := valueName(f.bytes)
			g.inputs = append(g.inputs, name)
			return err
		case 12:
			name, err := valueName(f.bytes)
			g.outputs = append(g.outputs, name)
			return err
		case 15:
			return errors.New("sparse constants are not known here")
		}
		return nil
	})
}

func valueName(message []byte) (name string, err error) {
	err = fields(message, func(f field) error {
		if f.number == 1 {
			name = string(f.bytes)
		}
		return nil
	})
	return name, err
}

// readNode reads a NodeProto.
func readNode(message []byte) (n node, err error) {
	err = fields(message, func(f field) error {
		switch f.number {
		case 1:
			n.inputs = append(n.inputs, string(f.bytes))
		case 2:
			n.outputs = append(n.outputs, string(f.bytes))
		case 4:
			n.op = string(f.bytes)
		case 5:
			a, err := readAttribute(f.bytes)
			n.attr = append(n.attr, a)
			return err
		case 7:
			if domain := string(f.bytes); domain != "" && domain != "ai.onnx" {
				return fmt.Errorf("operators of %.80q are not known here", domain)
			}
		}
		return nil
	})
	return n, err
}

// readAttribute reads an AttributeProto that is one number.
func readAttribute(message []byte) (a attribute, err error) {
	err = fields(message, func(f field) error {
		switch f.number {
		case 1:
			a.name = string(f.bytes)
		case 2:
			a.float = math.Float32frombits(uint32(f.varint))
		case 3:
			a.number = int64(f.varint)
		case 13, 20: // what it is for, and its type, which the fields tell
		default:
			return fmt.Errorf("the attribute %.80q is not one number", a.name)
		}
		return nil
	})
	return a, err
}

// readConstant reads a TensorProto whose numbers lie in it as on the wire of ONNX, little endian.
func readConstant(message []byte) (c constant, err error) {
	var raw []byte
	err = fields(message, func(f field) error {
		switch f.number {
		case 1:
			return c.readShape(f)
		case 2:
			c.kind = kind(f.varint)
		case 8:
			c.name = string(f.bytes)
		case 9:
			raw = f.bytes
		case 12: // what it is for
		default:
			return fmt.Errorf("its field %d is not known here: numbers must lie in raw_data", f.number)
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	return c, c.fill(raw)
}

// readShape takes dimensions one by one, or packed.
func (c *constant) readShape(f field) error {
	add := func(d uint64) error {
		if d > maxNumbers || len(c.shape) == 4 {
			return fmt.Errorf("the dimension %d, or more than 4 of them", d)
		}
		c.shape = append(c.shape, int(d))
		return nil
	}
	if f.kind == protowire.VarintType {
		return add(f.varint)
	}
	for rest := f.bytes; len(rest) > 0; {
		d, n := protowire.ConsumeVarint(rest)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := add(d); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (c *constant) fill(raw []byte) error {
	size, taken := map[kind]int{float32s: 4, int8s: 1, int64s: 8}[c.kind]
	if !taken {
		return fmt.Errorf("numbers of type %d are not known here", c.kind)
	}
	n := 1
	for _, d := range c.shape {
		if n *= d; n > maxNumbers {
			return fmt.Errorf("more than %d numbers", maxNumbers)
		}
	}
	if len(raw) != n*size {
		return fmt.Errorf("%d bytes for the shape %v", len(raw), c.shape)
	}
	switch c.kind {
	case int8s:
		c.bytes = raw
	case float32s:
		c.floats = make([]float32, n)
		for i := range c.floats {
			c.floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case int64s:
		c.longs = make([]int64, n)
		for i := range c.longs {
			c.longs[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
	}
	return nil
}
