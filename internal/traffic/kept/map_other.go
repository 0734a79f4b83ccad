//go:build !linux

package kept

import (
	"os"

	"github.com/picketwatch/picket/internal/packetsocket"
)

// Map returns packetsocket.ErrUnsupported.
func Map(*os.File, bool) ([]byte, error) { return nil, packetsocket.ErrUnsupported }
