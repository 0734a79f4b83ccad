//go:build !linux

package wire

import "net"

// Quiet returns the connection. On Linux it is woken less often.
func Quiet(conn net.Conn) net.Conn { return conn }
