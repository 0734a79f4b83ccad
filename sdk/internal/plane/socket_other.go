//go:build !linux

package plane

import (
	"os"
	"time"
)

// socket is nothing on this system.
type socket struct{}

func openSocket(*os.File) (*socket, error)          { return nil, errNotHere }
func (*socket) Read([]byte) (int, error)            { return 0, errNotHere }
func (*socket) write([][]byte, []byte) (int, error) { return 0, errNotHere }
func (*socket) peek([]byte) (int, error)            { return 0, errNotHere }
func (*socket) recvFD([]byte) (int, error)          { return -1, errNotHere }
func (*socket) sendFD([]byte, int) error            { return errNotHere }
func (*socket) setReadDeadline(time.Time) error     { return errNotHere }
func (*socket) setWriteDeadline(time.Time) error    { return errNotHere }
func (*socket) Close() error                        { return errNotHere }
func (*socket) setPatient(bool)                     {}
