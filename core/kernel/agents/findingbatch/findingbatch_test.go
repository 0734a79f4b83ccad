package findingbatch

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func good() Found {
	now := time.Unix(1_700_000_000, 0)
	return Found{Run: "r", Interface: "eth0", Findings: []sdk.Finding{{Detector: "picket/x", Rule: "r", Start: now, End: now, Techniques: []string{"T1046"}}}}
}

func TestCheck(t *testing.T) {
	b := good()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 5000)
	for says, change := range map[string]func(*Found){
		"the run":       func(b *Found) { b.Run = "" },
		"the interface": func(b *Found) { b.Interface = long },
		"findings, at":  func(b *Found) { b.Findings = make([]sdk.Finding, MaxFindings+1) },
		"detector":      func(b *Found) { b.Findings[0].Detector = "" },
		"rule":          func(b *Found) { b.Findings[0].Rule = long },
		"id has":        func(b *Found) { b.Findings[0].ID = long },
		"source":        func(b *Found) { b.Findings[0].Src = long },
		"destination":   func(b *Found) { b.Findings[0].Dst = long },
		"summary":       func(b *Found) { b.Findings[0].Summary = long },
		"packets":       func(b *Found) { b.Findings[0].Packets = make([]uint64, maxList+1) },
		"or flows":      func(b *Found) { b.Findings[0].Flows = make([]sdk.FlowRef, maxList+1) },
		"techniques or": func(b *Found) { b.Findings[0].Techniques = make([]string, maxFeatures+1) },
		"a technique":   func(b *Found) { b.Findings[0].Techniques[0] = long },
		"begin":         func(b *Found) { b.Findings[0].Start = time.Time{} },
		"no earlier":    func(b *Found) { b.Findings[0].End = time.Unix(1, 0) },
	} {
		b := good()
		change(&b)
		var wrong *Error
		if err := b.Check(); !errors.As(err, &wrong) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

func TestFrom(t *testing.T) {
	b := good()
	if err := b.From(map[string]bool{"picket/x": true}); err != nil {
		t.Error(err)
	}
	var wrong *Error
	if err := b.From(map[string]bool{"picket/y": true}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), `"picket/x" is not enabled`) {
		t.Errorf("of another's: %v", err)
	}
	if err := b.From(nil); err == nil {
		t.Error("of nobody's: taken")
	}
}

func FuzzCheck(f *testing.F) {
	text, err := json.Marshal(good())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var b Found
		if json.Unmarshal(text, &b) != nil || b.Check() != nil {
			return
		}
		for _, x := range b.Findings {
			if x.Detector == "" || len(x.Summary) > maxText || x.End.Before(x.Start) {
				t.Errorf("taken: %+v", x)
			}
		}
	})
}
