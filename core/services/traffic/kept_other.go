//go:build !linux

package traffic

import (
	"os"

	"github.com/picketwatch/picket/internal/packetsocket"
)

func newMemory(int64) (*os.File, error)   { return nil, packetsocket.ErrUnsupported }
func readOnly(*os.File) (*os.File, error) { return nil, packetsocket.ErrUnsupported }
