package sigma

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// mapping is names with values in the order of the document. A value is a mapping, a list ([]any), a text, or nil. Numbers are texts as
// they were written: 1.0 is not 1, nor 007 seven.
type mapping []entry

type entry struct {
	key   string
	value any
}

// maxNested is how deep a document may be.
const maxNested = 32

// readYAML reads a document whose root is a mapping.
func readYAML(text []byte) (mapping, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, fmt.Errorf("%d documents where one was expected", len(file.Docs))
	}
	v, err := valueOf(file.Docs[0].Body, 0)
	if err != nil {
		return nil, err
	}
	m, ok := v.(mapping)
	if !ok {
		return nil, lacks("yaml", "a rule has no names")
	}
	return m, nil
}

func valueOf(n ast.Node, depth int) (any, error) {
	if depth > maxNested {
		return nil, lacks("yaml", "deeper than %d", maxNested)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return mappingOf(n.Values, depth)
	case *ast.MappingValueNode:
		return mappingOf([]*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out := []any{}
		for _, one := range n.Values {
			v, err := valueOf(one, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, nil
	case *ast.NullNode, nil:
		return nil, nil
	}
	return nil, lacks("yaml", "%s is not known in rules", n.Type())
}

func mappingOf(values []*ast.MappingValueNode, depth int) (any, error) {
	out := mapping{}
	for _, one := range values {
		var key string
		switch k := one.Key.(type) {
		case *ast.StringNode:
			key = k.Value
		case *ast.IntegerNode, *ast.BoolNode:
			key = k.GetToken().Value
		default:
			return nil, lacks("yaml", "%s is no name", one.Key.String())
		}
		v, err := valueOf(one.Value, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, entry{key, v})
	}
	return out, nil
}
