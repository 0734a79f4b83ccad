package traffic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// Wanted is what is asked of a worker besides flows. Nobody pays for what is not.
type Wanted struct {
	Packets  []sdk.PacketSubscription
	Facts    []string // kinds of sdk.FactKinds
	First    []string // of these, the kinds of which the first FirstFacts of each flow do
	Without  []string // parts of sdk.FactParts that nobody looks at
	Features bool     // the further features of flows
}

// FirstFacts is how many facts of a kind from one flow do for the store and for observers. A flow that has told all that
// anybody wants is read no further.
const FirstFacts = 64

// WantFirst adds kinds of which the first facts of each flow do; of a kind that is wanted already, all are still told.
// Of logins all are told to everybody: who guesses passwords may do so in one flow.
func (w *Wanted) WantFirst(kinds ...string) {
	for _, kind := range kinds {
		if slices.Contains(w.Facts, kind) {
			continue
		}
		w.Facts = append(w.Facts, kind)
		if kind != sdk.FactsLogins {
			w.First = append(w.First, kind)
		}
	}
}

// Args is how picket-traffic is told.
func (w Wanted) Args() []string {
	var args []string
	for _, p := range w.Packets {
		args = append(args, "--packets", fmt.Sprintf("%s:%d", strings.Join(p.Layers, ","), p.SnapLen))
	}
	if len(w.Facts) > 0 {
		kinds := slices.Clone(w.Facts)
		for i, kind := range kinds {
			if slices.Contains(w.First, kind) {
				kinds[i] = fmt.Sprintf("%s:%d", kind, FirstFacts)
			}
		}
		args = append(args, "--facts", strings.Join(kinds, ","))
	}
	if len(w.Without) > 0 {
		args = append(args, "--without", strings.Join(w.Without, ","))
	}
	if w.Features {
		args = append(args, "--features")
	}
	return args
}
