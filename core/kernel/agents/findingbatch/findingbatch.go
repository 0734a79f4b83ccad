// Package findingbatch is how what detectors find on an agent travels to its server, which believes nothing of it: an agent
// may be somebody else's by now.
package findingbatch

import (
	"fmt"

	"github.com/picketwatch/picket/sdk"
)

// Bounds of a batch.
const (
	MaxFindings = 1000
	maxName     = 255
	maxText     = 4096
	maxList     = 10_000 // packets, flows
	maxFeatures = 256    // and techniques
)

// Found is what was found in one run of a live capture.
type Found struct {
	Run       string        `json:"run"` // within which packets and flows are numbered
	Interface string        `json:"interface"`
	Findings  []sdk.Finding `json:"findings"`
}

// Error says what is wrong with a batch.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

func wrong(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Check reports the first thing that is wrong.
func (b *Found) Check() error {
	switch {
	case b.Run == "" || len(b.Run) > maxName:
		return wrong("the run must have 1 to %d bytes", maxName)
	case len(b.Interface) > maxName:
		return wrong("the interface has more than %d bytes", maxName)
	case len(b.Findings) > MaxFindings:
		return wrong("there are %d findings, at most %d go into a batch", len(b.Findings), MaxFindings)
	}
	for i := range b.Findings {
		if err := check(&b.Findings[i]); err != nil {
			return wrong("finding %d: %s", i, err)
		}
	}
	return nil
}

// From reports the first finding of a detector that the sender was not told to run: whoever has taken over an agent speaks for
// what runs there, and for nothing else.
func (b *Found) From(assigned map[string]bool) error {
	for i := range b.Findings {
		if d := b.Findings[i].Detector; !assigned[d] {
			return wrong("finding %d: the detector %q is not enabled on this agent", i, d)
		}
	}
	return nil
}

func check(f *sdk.Finding) error {
	for name, text := range map[string]string{"detector": f.Detector, "rule": f.Rule} {
		if text == "" || len(text) > maxName {
			return wrong("its %s must have 1 to %d bytes", name, maxName)
		}
	}
	for name, text := range map[string]string{"id": f.ID, "source": f.Src, "destination": f.Dst} {
		if len(text) > maxName {
			return wrong("its %s has more than %d bytes", name, maxName)
		}
	}
	switch {
	case len(f.Summary) > maxText:
		return wrong("its summary has more than %d bytes", maxText)
	case len(f.Packets) > maxList || len(f.Flows) > maxList:
		return wrong("it rests on more than %d packets or flows", maxList)
	case len(f.Techniques) > maxFeatures || len(f.Features) > maxFeatures:
		return wrong("it names more than %d techniques or features", maxFeatures)
	case f.Start.IsZero() || f.End.Before(f.Start):
		return wrong("it must begin at some time, and end no earlier")
	}
	for _, text := range f.Techniques {
		if len(text) > maxName {
			return wrong("a technique has more than %d bytes", maxName)
		}
	}
	return nil
}
