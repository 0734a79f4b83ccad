//go:build !linux

package capturecmd

import (
	"context"

	"github.com/picketwatch/picket/internal/packetsocket"
)

func open(context.Context, packetsocket.Config) (source, error) {
	return nil, packetsocket.ErrUnsupported
}
