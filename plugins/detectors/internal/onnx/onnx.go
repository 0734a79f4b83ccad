// Package onnx runs small networks over pieces of text, without cgo and in guests: in goes an ONNX file whose input is a list of
// numbers of pieces, out come its scores.
//
// It knows the operators of our own models and says of any other file what it does not know: nothing is skipped. A model reads
// like this: the rows of the pieces are gathered from a table of whole numbers and summed up, layers follow, and a sigmoid ends
// it. read.go reads the file, run.go has the operators.
package onnx

import (
	"fmt"
	"slices"
)

// Model is a model that is ready to run, one call at a time.
type Model struct {
	// Metadata are the texts that the file carries beside the network.
	Metadata map[string]string

	input  int
	output int
	values []tensor // constants, and room for what the steps leave
	steps  []step
}

// step is a node with its values by number.
type step struct {
	name string // of the operator
	run  operator
	in   []*tensor
	out  *tensor
	attr attributes
}

// Parse reads a model and tries it once, so that one that cannot run is refused here.
func Parse(data []byte) (*Model, error) {
	file, err := readModel(data)
	if err != nil {
		return nil, fmt.Errorf("read ONNX: %w", err)
	}
	m, err := build(file)
	if err != nil {
		return nil, fmt.Errorf("ONNX: %w", err)
	}
	if _, err := m.Run([]int64{0}); err != nil {
		return nil, fmt.Errorf("ONNX: %w", err)
	}
	m.join()
	return m, nil
}

// maxPieces bounds what is scored at once; the sums of so many whole numbers are exact as floats, too.
const maxPieces = 1 << 16

// Run scores one list of pieces. What it returns is valid until the next call.
func (m *Model) Run(input []int64) ([]float32, error) {
	if len(input) == 0 || len(input) > maxPieces {
		return nil, fmt.Errorf("%d pieces, want 1 to %d", len(input), maxPieces)
	}
	in := &m.values[m.input]
	in.shape = append(in.shape[:0], len(input))
	in.longs = append(in.longs[:0], input...)
	for i := range m.steps {
		s := &m.steps[i]
		if err := s.run(s.out, s.in, &s.attr); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return m.values[m.output].floats, nil
}

// build numbers the values and finds the operators.
func build(g *graph) (*Model, error) {
	if len(g.inputs) != 1 || len(g.outputs) != 1 {
		return nil, fmt.Errorf("%d inputs and %d outputs, want one of each", len(g.inputs), len(g.outputs))
	}
	number := map[string]int{g.inputs[0]: 0}
	m := &Model{Metadata: g.metadata, values: make([]tensor, 1, 1+len(g.constants)+len(g.nodes))}
	m.values[0] = tensor{kind: int64s}
	place := func(name string, t tensor) error {
		if _, twice := number[name]; twice || name == "" {
			return fmt.Errorf("the value %.80q has no name, or two makers", name)
		}
		number[name] = len(m.values)
		m.values = append(m.values, t)
		return nil
	}
	for _, c := range g.constants {
		if err := place(c.name, c.tensor); err != nil {
			return nil, err
		}
	}
	for _, n := range g.nodes {
		s := step{name: n.op, run: operators[n.op], attr: n.attr}
		if s.run == nil {
			return nil, fmt.Errorf("the operator %.80q is not known here", n.op)
		}
		if len(n.outputs) != 1 {
			return nil, fmt.Errorf("%s: %d outputs, want one", n.op, len(n.outputs))
		}
		for _, a := range n.attr {
			if !slices.Contains(known[n.op], a.name) {
				return nil, fmt.Errorf("%s: the attribute %.80q is not known here", n.op, a.name)
			}
		}
		for _, name := range n.inputs {
			at, made := number[name]
			if !made {
				return nil, fmt.Errorf("%s: nothing makes its input %.80q", n.op, name)
			}
			s.in = append(s.in, &m.values[at])
		}
		if err := place(n.outputs[0], tensor{}); err != nil {
			return nil, err
		}
		s.out = &m.values[len(m.values)-1]
		m.steps = append(m.steps, s)
	}
	at, made := number[g.outputs[0]]
	if !made || at <= len(g.constants) {
		return nil, fmt.Errorf("nothing makes the output %.80q", g.outputs[0])
	}
	m.output = at
	return m, nil
}

// join makes one step of gathering rows, casting and summing them up, which each of them would write down for the next: it is nearly
// all the work. The model has run once, so the steps are what they should be.
func (m *Model) join() {
	for i := 0; i+2 < len(m.steps); i++ {
		gather, cast, sum := &m.steps[i], &m.steps[i+1], &m.steps[i+2]
		if gather.name == "Gather" && cast.name == "Cast" && sum.name == "ReduceSum" && m.onlyFor(gather.out, cast) && m.onlyFor(cast.out, sum) {
			m.steps[i] = step{name: "Gather and ReduceSum", run: sumOfRows, in: gather.in, out: sum.out}
			m.steps = slices.Delete(m.steps, i+1, i+3)
		}
	}
}

// onlyFor reports whether a value goes into one step and nowhere else.
func (m *Model) onlyFor(value *tensor, into *step) bool {
	for i := range m.steps {
		if s := &m.steps[i]; slices.Contains(s.in, value) != (s == into) {
			return false
		}
	}
	return value != &m.values[m.output]
}
