//go:build !linux

package packetsocket

import "os"

// Socket cannot be opened on this system.
type Socket struct{}

// Open returns ErrUnsupported.
func Open(Config) (*Socket, error) { return nil, ErrUnsupported }

// Geometry is empty.
func (*Socket) Geometry() Geometry { return Geometry{} }

// Files are none.
func (*Socket) Files() (ring, wake *os.File) { return nil, nil }

// Counts are none.
func (*Socket) Counts() (Counts, error) { return Counts{}, ErrUnsupported }

// Gone is always true.
func (*Socket) Gone() bool { return true }

// Close does nothing.
func (*Socket) Close() error { return nil }
