package traffic

import (
	"fmt"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// Wanted is what is asked of a worker besides flows. Nobody pays for what is not.
type Wanted struct {
	Packets  []sdk.PacketSubscription
	Facts    []string // kinds of sdk.FactKinds
	Features bool     // the further features of flows
}

// Args is how picket-traffic is told.
func (w Wanted) Args() []string {
	var args []string
	for _, p := range w.Packets {
		args = append(args, "--packets", fmt.Sprintf("%s:%d", strings.Join(p.Layers, ","), p.SnapLen))
	}
	if len(w.Facts) > 0 {
		args = append(args, "--facts", strings.Join(w.Facts, ","))
	}
	if w.Features {
		args = append(args, "--features")
	}
	return args
}
