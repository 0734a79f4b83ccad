//go:build !linux

package worker

import (
	"context"
	"io"
	"os"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/sdk"
)

// Live is a ring of packets, which this system does not have.
type Live struct {
	Ring, Wake *os.File
	Geometry   packetsocket.Geometry
	Skip       bool
}

// RunLive returns packetsocket.ErrUnsupported.
func RunLive(context.Context, Live, io.Writer, []sdk.PacketSubscription) error {
	return packetsocket.ErrUnsupported
}
