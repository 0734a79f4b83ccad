package worker

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/kept"
	"github.com/picketwatch/picket/internal/traffic/live"
)

// Live is a ring of packets that the parent opened.
type Live struct {
	Ring, Wake *os.File
	Geometry   packetsocket.Geometry
	Skip       bool   // the first block: a worker before this one died on it
	Keep       []byte // where the newest packets are kept; nil keeps none
}

// attemptTime is how long a connection that nothing came of is waited for. Whoever watches a scan or a flood of half-open
// connections cannot wait until ordinary flows are quiet for too long; a client repeats its first packet after 1, 2 and 4 seconds.
const attemptTime = 10 * time.Second

// lingerTime is how long a connection that has ended waits for stragglers, which come within a second or not at all.
const lingerTime = 2 * time.Second

// RunLive reads packets until ctx ends, which closes all flows, and sends what Run sends. Progress comes ten times a second,
// also when no packet does.
func RunLive(ctx context.Context, in Live, out io.Writer, wanted Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ring, err := live.Open(ctx, in.Ring, in.Wake, in.Geometry, in.Skip)
	if err != nil {
		return err
	}
	defer ring.Close()
	r, err := newRun(out, wanted)
	if err != nil {
		return err
	}
	r.failed = cancel
	var keep *kept.Writer
	if in.Keep != nil {
		keep = kept.NewWriter(in.Keep)
		r.options.Follower = keep
		defer keep.Flush()
	}
	r.options.Flow.Attempt, r.options.Flow.Linger = attemptTime, lingerTime
	r.options.Progress = func(p traffic.Progress) {
		_ = r.facts.Flush() // those of no flow are not waited for; what stops it is in r.sent
		said := Progress{Packets: p.Packets, Bytes: p.Bytes, Flows: p.Flows}
		if keep != nil {
			keep.Flush()
			said.Kept = int64(keep.Span())
		}
		_ = r.try(func() error { return r.json(KindProgress, said) })
	}
	return r.finish(traffic.AnalyzeSource(context.WithoutCancel(ctx), ring, r.options, r.flows))
}
