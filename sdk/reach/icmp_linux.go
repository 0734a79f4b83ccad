package reach

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listenICMP prefers the socket that needs no rights (the kernel sets the identifier and hands over only replies to
// this socket); net.ipv4.ping_group_range says who may open it.
func listenICMP(network string) (net.PacketConn, error) {
	conn, err := listenEcho(network)
	if err == nil {
		return conn, nil
	}
	raw, rawErr := listenRaw(network)
	if rawErr != nil {
		return nil, errors.Join(err, rawErr)
	}
	return raw, nil
}

func listenEcho(network string) (net.PacketConn, error) {
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	var local unix.Sockaddr = &unix.SockaddrInet4{}
	if network == "ip6" {
		family, proto, local = unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, fmt.Errorf("open a socket for echo: %w", err)
	}
	f := os.NewFile(uintptr(fd), "icmp echo")
	defer f.Close() // FilePacketConn makes its own descriptor
	if err := unix.Bind(fd, local); err != nil {
		return nil, fmt.Errorf("bind a socket for echo: %w", err)
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return echoConn{conn}, nil
}
