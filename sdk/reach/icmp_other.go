//go:build !linux && !wasip1

package reach

import "net"

func listenICMP(network string) (net.PacketConn, error) { return listenRaw(network) }
