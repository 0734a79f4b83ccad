//go:build !linux

package worker

import (
	"context"
	"io"
	"os"

	"github.com/picketwatch/picket/internal/packetsocket"
)

// Live is a ring of packets, which this system does not have.
type Live struct {
	Ring, Wake *os.File
	Geometry   packetsocket.Geometry
	Skip       bool
	Keep       []byte
}

// RunLive returns packetsocket.ErrUnsupported.
func RunLive(context.Context, Live, io.Writer, Options) error {
	return packetsocket.ErrUnsupported
}
