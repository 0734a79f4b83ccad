package worker

import (
	"context"
	"io"
	"os"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/live"
	"github.com/picketwatch/picket/sdk"
)

// Live is a ring of packets that the parent opened.
type Live struct {
	Ring, Wake *os.File
	Geometry   packetsocket.Geometry
	Skip       bool // the first block: a worker before this one died on it
}

// RunLive reads packets until ctx ends, which closes all flows, and sends what Run sends. Progress comes ten times a second,
// also when no packet does.
func RunLive(ctx context.Context, in Live, out io.Writer, packets []sdk.PacketSubscription) error {
	ring, err := live.Open(ctx, in.Ring, in.Wake, in.Geometry, in.Skip)
	if err != nil {
		return err
	}
	defer ring.Close()
	return run(out, packets, func(opts traffic.Options, progress func(traffic.FileProgress), emit func([]sdk.Flow) error) (traffic.Summary, error) {
		opts.Progress = func(p traffic.Progress) { progress(traffic.FileProgress{Progress: p}) }
		return traffic.AnalyzeSource(context.WithoutCancel(ctx), ring, opts, emit)
	})
}
