package confine

import (
	"fmt"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// RunnerMemory is what picket-wasm may need beside the memory of its guest, which it holds to the limit itself: the
// runtime, the guest's machine code, and the compiler at the first start.
const RunnerMemory = 256 << 20

// Limits are the resources of one instance. Zero means "not stated".
type Limits struct {
	Memory            int64         // bytes
	CPU               float64       // cores
	Deadline          time.Duration // of one call
	RecordsPerSecond  int
	OpenFiles         int
	LogLinesPerSecond int
	Tasks             int // threads; not in manifests
}

// Defaults are the limits of a plugin whose manifest states none.
func Defaults(kind sdk.Kind) Limits {
	l := Limits{
		Memory: 512 << 20, CPU: 1, Deadline: 30 * time.Second, RecordsPerSecond: 100_000, OpenFiles: 1024,
		LogLinesPerSecond: 50, Tasks: 256,
	}
	if kind == sdk.KindDetector {
		l.CPU = 2
	}
	return l
}

// Merge gives the limits of an instance: what the operator states, else what the manifest states, else the default of the
// kind, and never more than the node's maximum. An operator can go beyond the manifest, which is only what the author
// thinks enough; nobody can go beyond the node.
func Merge(kind sdk.Kind, manifest registry.Limits, operator, node Limits) (Limits, error) {
	m, err := FromManifest(manifest)
	if err != nil {
		return Limits{}, fmt.Errorf("limits of the manifest: %w", err)
	}
	d := Defaults(kind)
	return Limits{
		Memory:            pick(operator.Memory, m.Memory, d.Memory, node.Memory),
		CPU:               pick(operator.CPU, m.CPU, d.CPU, node.CPU),
		Deadline:          pick(operator.Deadline, m.Deadline, d.Deadline, node.Deadline),
		RecordsPerSecond:  pick(operator.RecordsPerSecond, m.RecordsPerSecond, d.RecordsPerSecond, node.RecordsPerSecond),
		OpenFiles:         pick(operator.OpenFiles, m.OpenFiles, d.OpenFiles, node.OpenFiles),
		LogLinesPerSecond: pick(operator.LogLinesPerSecond, m.LogLinesPerSecond, d.LogLinesPerSecond, node.LogLinesPerSecond),
		Tasks:             pick(operator.Tasks, m.Tasks, d.Tasks, node.Tasks),
	}, nil
}

// FromManifest reads what a manifest states.
func FromManifest(l registry.Limits) (Limits, error) {
	memory, err := l.MemoryBytes()
	if err != nil {
		return Limits{}, err
	}
	deadline, err := l.DeadlineDuration()
	if err != nil {
		return Limits{}, err
	}
	return Limits{
		Memory: memory, CPU: l.CPU, Deadline: deadline, RecordsPerSecond: l.RecordsPerSecond, OpenFiles: l.OpenFiles,
		LogLinesPerSecond: l.LogLinesPerSecond,
	}, nil
}

// Garbage is how much of its memory a Go program takes before it looks for garbage all the time.
func Garbage(memory int64) int64 { return memory / 10 * 9 }

func pick[T int | int64 | float64 | time.Duration](operator, manifest, standard, most T) T {
	v := standard
	switch {
	case operator > 0:
		v = operator
	case manifest > 0:
		v = manifest
	}
	if most > 0 {
		v = min(v, most)
	}
	return v
}
