package gates

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// checkModel wants a model to be ONNX by its shape: a protocol buffer with a version, a graph, and a set of operators.
// Whoever loads it still bounds what it does; here pickles in disguise and damage are told apart from models.
func checkModel(f *finding, data []byte) {
	if why := isPickle(data); why != "" {
		f.failf("it is %s, which runs code when it is read; convert the model to ONNX", why)
		return
	}
	if with := sealed(data); with != "" {
		f.failf(notLookedInto, with)
		return
	}
	m, err := readONNX(data)
	if err != nil {
		f.failf("not an ONNX model: %v", err)
		return
	}
	for _, name := range m.external {
		f.failf("it keeps weights in a file %q outside of it", printable(name))
	}
	for _, domain := range m.domains {
		if domain != "" && domain != "ai.onnx" && domain != "ai.onnx.ml" {
			f.warnf("it needs operators of %q, which not every runtime has", printable(domain))
		}
	}
	f.notef("ONNX version %d, %s", m.version, plural(m.nodes, "node"))
}

// onnx is what is read of a model.
type onnx struct {
	version  uint64
	nodes    int
	domains  []string
	external []string // files that it refers to
	graph    bool
}

// The fields of ONNX's ModelProto, GraphProto and TensorProto that are looked at.
const (
	modelVersion, modelGraph, modelOperators = 1, 7, 8
	graphNode, graphTensor                   = 1, 5
	tensorExternal                           = 13
	operatorDomain                           = 1
	pairKey, pairValue                       = 1, 2
)

const maxNodes = 1 << 20

func readONNX(data []byte) (*onnx, error) {
	m := &onnx{}
	err := fields(data, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case modelVersion:
			m.version = v
		case modelGraph:
			m.graph = true
			return m.readGraph(b)
		case modelOperators:
			domain := ""
			err := fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				if n == operatorDomain {
					domain = string(b[:min(len(b), 100)])
				}
				return nil
			})
			m.domains = append(m.domains, domain)
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case m.version == 0 || m.version > 1000:
		return nil, errors.New("it names no version of the format")
	case !m.graph || m.nodes == 0:
		return nil, errors.New("it has no graph")
	case len(m.domains) == 0:
		return nil, errors.New("it names no set of operators")
	}
	return m, nil
}

func (m *onnx) readGraph(graph []byte) error {
	return fields(graph, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case graphNode:
			if m.nodes++; m.nodes > maxNodes {
				return fmt.Errorf("more than %d nodes", maxNodes)
			}
		case graphTensor:
			return m.readTensor(b)
		}
		return nil
	})
}

func (m *onnx) readTensor(tensor []byte) error {
	return fields(tensor, func(n protowire.Number, _ uint64, b []byte) error {
		if n != tensorExternal || len(m.external) >= maxDetails {
			return nil
		}
		key, value := "", ""
		err := fields(b, func(n protowire.Number, _ uint64, b []byte) error {
			switch n {
			case pairKey:
				key = string(b[:min(len(b), 100)])
			case pairValue:
				value = string(b[:min(len(b), 300)])
			}
			return nil
		})
		if key == "location" {
			m.external = append(m.external, value)
		}
		return err
	})
}

// fields walks over one message. Nested ones are walked over by their own calls, so depth is bounded by the caller.
func fields(data []byte, visit func(n protowire.Number, v uint64, b []byte) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(data)
		case protowire.Fixed32Type, protowire.Fixed64Type:
			n = protowire.ConsumeFieldValue(number, kind, data)
		default: // groups are no part of ONNX
			return errors.New("a field has a type that ONNX does not use")
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := visit(number, v, b); err != nil {
			return err
		}
	}
	return nil
}

// isPickle says which pickle the bytes are, "" for none. Joblib and torch files are pickles, packed or not.
func isPickle(data []byte) string {
	switch {
	case len(data) >= 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5 && pickleOpcode(data[2:]):
		return "a Python pickle"
	case bytes.HasPrefix(data, []byte("PK\x03\x04")) && pickleInZip(data):
		return "an archive with a Python pickle (torch, joblib)"
	case bytes.HasPrefix(data, []byte("\x93NUMPY")) && bytes.Contains(data[:min(len(data), 1024)], []byte("|O")):
		return "a NumPy file with Python objects in it"
	case packingOf(data) != nil:
		return packedPickle(data)
	case oldPickle(data):
		return "a Python pickle of protocol 0 or 1"
	}
	return ""
}

// pickleOpcode reports whether what follows the header of a pickle can: a frame, a mark, or something put on its stack.
func pickleOpcode(data []byte) bool {
	return len(data) == 0 || strings.IndexByte("\x95(]}c)K\x8c\x8aXUJGNM.I\x88\x89lCB\x8e\x8f", data[0]) >= 0
}

// oldPickle knows the beginnings of pickles without a header: GLOBAL at once or after marks, and a stop at the end.
func oldPickle(data []byte) bool {
	if len(data) < 4 || data[len(data)-1] != '.' {
		return false
	}
	body := bytes.TrimLeft(data, "(ld")
	if len(body) > 1 && body[0] == 'c' {
		module, rest, ok := bytes.Cut(body[1:min(len(body), 300)], []byte("\n"))
		name, _, ok2 := bytes.Cut(rest, []byte("\n"))
		return ok && ok2 && isIdentifier(module) && isIdentifier(name)
	}
	return false
}

func isIdentifier(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func pickleInZip(data []byte) bool {
	in, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return false // checkZip says what is wrong with it
	}
	for _, entry := range in.File[:min(len(in.File), maxZipFiles)] {
		if strings.HasSuffix(entry.Name, ".pkl") || strings.HasSuffix(entry.Name, ".pickle") || strings.HasSuffix(entry.Name, "data.pkl") {
			return true
		}
	}
	return false
}
