package anomaly

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// ModelSchema is the version of the model's form; a model of another one is refused.
const ModelSchema = 1

// Model is a set of isolation forests, one for each class of flows.
type Model struct {
	Schema   int               `json:"schema"`
	Card     Card              `json:"card"`
	Features []string          `json:"features"`
	Depth    int               `json:"depth"` // of every tree
	Classes  map[string]Forest `json:"classes"`
}

// Card says what a model is, so that nobody has to guess.
type Card struct {
	Name        string         `json:"name"`
	Version     string         `json:"version"`
	Method      string         `json:"method"`
	Trained     string         `json:"trained"` // on what
	Flows       map[string]int `json:"flows"`   // of the training, by class
	Calibrated  string         `json:"calibrated"`
	Limits      string         `json:"limits"`
	Reproducing string         `json:"reproducing"`
}

// Forest judges one class. A score from Threshold on is unusual.
type Forest struct {
	Threshold float64 `json:"threshold"`
	Norm      float64 `json:"norm"` // the mean depth of a search among as many flows as a tree was grown from
	Trees     []Tree  `json:"trees"`
}

// Tree is a complete binary tree: node i has the children 2i+1 and 2i+2, the leaves follow the nodes. What is above the
// threshold of a node goes right.
type Tree struct {
	Feature   []uint8   `json:"f"`
	Threshold []float64 `json:"t"`
	Leaf      []float64 `json:"l"` // the depth that a flow here stands for
}

// ParseModel reads a model and checks that no flow can lead outside of it.
func ParseModel(data []byte) (*Model, error) {
	var m Model
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read the model: %w", err)
	}
	switch {
	case m.Schema != ModelSchema:
		return nil, fmt.Errorf("read the model: schema %d, expected %d", m.Schema, ModelSchema)
	case !slices.Equal(m.Features, FeatureNames):
		return nil, fmt.Errorf("read the model: it was made for the features %q", m.Features)
	case m.Depth < 1 || m.Depth > 10:
		return nil, fmt.Errorf("read the model: depth %d", m.Depth)
	}
	nodes := 1<<m.Depth - 1
	for name, f := range m.Classes {
		if len(f.Trees) == 0 || f.Norm <= 0 || f.Threshold <= 0 {
			return nil, fmt.Errorf("read the model: class %s is empty", name)
		}
		for i, t := range f.Trees {
			if len(t.Feature) != nodes || len(t.Threshold) != nodes || len(t.Leaf) != nodes+1 || slices.Max(t.Feature) >= uint8(len(FeatureNames)) {
				return nil, fmt.Errorf("read the model: class %s, tree %d has not the form of depth %d", name, i, m.Depth)
			}
		}
	}
	return &m, nil
}

// Score is between 0 and 1: how quickly random cuts set the flow apart from what the forest knows.
func (f *Forest) Score(x *[numFeatures]float64, depth int) float64 {
	sum := 0.0
	for i := range f.Trees {
		sum += f.Trees[i].path(x, depth)
	}
	return math.Pow(2, -sum/float64(len(f.Trees))/f.Norm)
}

// path walks without a branch that depends on the flow: the comparison is turned into the number of the child.
func (t *Tree) path(x *[numFeatures]float64, depth int) float64 {
	i := 0
	for range depth {
		right := 0
		if x[t.Feature[i]&featureMask] > t.Threshold[i] {
			right = 1
		}
		i = 2*i + 1 + right
	}
	return t.Leaf[i-len(t.Feature)]
}
