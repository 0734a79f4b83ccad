//go:build !linux

package brokerwire

import (
	"errors"
	"net"
	"os"
)

var errNoBroker = errors.New("there is a broker on Linux only")

// Conn is one end of a socket of packets that may bring descriptors.
type Conn struct{}

// NewConn fails: the broker needs sockets that only Linux has.
func NewConn(f *os.File) (*Conn, error) {
	f.Close()
	return nil, errNoBroker
}

// Socket fails.
func Socket(f *os.File) (*net.UnixConn, error) {
	f.Close()
	return nil, errNoBroker
}

// Socket returns nil.
func (c *Conn) Socket() *net.UnixConn { return nil }

// Close does nothing.
func (c *Conn) Close() error { return nil }

// Send fails.
func (c *Conn) Send(any, *os.File) error { return errNoBroker }

// Receive fails.
func (c *Conn) Receive(bool) ([]byte, *os.File, error) { return nil, nil, errNoBroker }

// Pair fails.
func Pair(bool) (a, b *os.File, err error) { return nil, nil, errNoBroker }
