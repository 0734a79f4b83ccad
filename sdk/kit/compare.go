package kit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// diffFindings compares findings up to 1e-9 in their features, since fused arithmetic differs between platforms.
func diffFindings(want, got []sdk.Finding) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d findings, want %d", len(got), len(want))
	}
	for i := range want {
		a, b := want[i], got[i]
		if !closeFeatures(a.Features, b.Features) {
			return fmt.Sprintf("finding %d of rule %s has features %v, want %v", i, b.Rule, b.Features, a.Features)
		}
		a.Features, b.Features = nil, nil
		if !reflect.DeepEqual(normal(a), normal(b)) {
			return fmt.Sprintf("finding %d is\n%+v\nwant\n%+v", i, b, a)
		}
	}
	return ""
}

// normal makes empty lists equal, whichever way they are written.
func normal(f sdk.Finding) sdk.Finding {
	if len(f.Techniques) == 0 {
		f.Techniques = nil
	}
	if len(f.Packets) == 0 {
		f.Packets = nil
	}
	if len(f.Flows) == 0 {
		f.Flows = nil
	}
	f.Start, f.End = f.Start.UTC(), f.End.UTC()
	return f
}

func closeFeatures(a, b map[string]float64) bool {
	if len(a) != len(b) {
		return false
	}
	for key, x := range a {
		y, ok := b[key]
		if !ok || !closeTo(x, y) {
			return false
		}
	}
	return true
}

func closeTo(x, y float64) bool {
	return max(x-y, y-x) <= 1e-9*max(1, x, -x)
}

// sorted orders findings by what they are about: a detector may emit those of one moment in any order.
func sorted(f []sdk.Finding) []sdk.Finding {
	sort.SliceStable(f, func(i, j int) bool {
		a, b := f[i], f[j]
		if !a.Start.Equal(b.Start) {
			return a.Start.Before(b.Start)
		}
		for _, pair := range [][2]string{{a.Rule, b.Rule}, {a.Src, b.Src}, {a.Dst, b.Dst}} {
			if pair[0] != pair[1] {
				return pair[0] < pair[1]
			}
		}
		return a.ID < b.ID
	})
	return f
}

// sortedSightings orders what an observer saw: it may tell of several devices in one moment in any order.
func sortedSightings(list []sdk.Sighting) []sdk.Sighting {
	slices.SortStableFunc(list, func(a, b sdk.Sighting) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Packet, b.Packet), a.IP.Compare(b.IP), cmp.Compare(a.MAC, b.MAC), cmp.Compare(a.Source, b.Source))
	})
	return list
}

// compareWant compares each finding or sighting with what want.json says about it.
func compareWant(data []byte, what string, got any) string {
	var want []map[string]any
	if err := json.Unmarshal(data, &want); err != nil {
		return err.Error()
	}
	text, err := json.Marshal(got)
	if err != nil {
		return err.Error()
	}
	var have []map[string]any
	if err := json.Unmarshal(text, &have); err != nil {
		return err.Error()
	}
	if len(want) != len(have) {
		return fmt.Sprintf("%d %ss, want %d; found: %s", len(have), what, len(want), text)
	}
	for i := range want {
		if path := differs(want[i], have[i]); path != "" {
			return fmt.Sprintf("%s %d differs at %s; found: %s", what, i, path, mustJSON(have[i]))
		}
	}
	return ""
}

func mustJSON(v any) []byte {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []byte(err.Error())
	}
	return out
}

// differs returns the path of the first thing in want that have has not, "" when there is none.
func differs(want, have any) string {
	switch want := want.(type) {
	case map[string]any:
		m, ok := have.(map[string]any)
		if !ok && len(want) > 0 {
			return "."
		}
		for key, w := range want {
			if path := differs(w, m[key]); path != "" {
				return "." + key + strings.TrimSuffix(path, ".")
			}
		}
		return ""
	case []any:
		list, ok := have.([]any)
		if len(want) != len(list) || !ok && len(want) > 0 {
			return "."
		}
		for i, w := range want {
			if path := differs(w, list[i]); path != "" {
				return fmt.Sprintf("[%d]%s", i, strings.TrimSuffix(path, "."))
			}
		}
		return ""
	case float64:
		h, ok := have.(float64)
		if ok && closeTo(want, h) {
			return ""
		}
		return "."
	}
	if want != have {
		return "."
	}
	return ""
}
