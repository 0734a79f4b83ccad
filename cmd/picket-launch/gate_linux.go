package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// gate is our end of the conversation with the host.
type gate int

func (g gate) send(message any) error { return g.sendWith(message, -1) }

// sendWith sends a descriptor along, unless it is -1.
func (g gate) sendWith(message any, fd int) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	return retry(func() error { return unix.Sendmsg(int(g), data, rights, nil, unix.MSG_NOSIGNAL) })
}

// receive reads one message. An end of file means that the host refused, or is gone.
func (g gate) receive(message any) error {
	buf := make([]byte, launch.MaxGateMessage+1)
	var n int
	err := retry(func() (err error) {
		n, err = unix.Read(int(g), buf)
		return err
	})
	switch {
	case err != nil:
		return err
	case n == 0:
		return errors.New("the host closed it: it refused, or is gone")
	case n > launch.MaxGateMessage:
		return fmt.Errorf("a message of more than %d bytes", launch.MaxGateMessage)
	}
	return json.Unmarshal(buf[:n], message)
}

// hello tells the host that we are there and waits for what it wants.
func (g gate) hello() (c launch.Confinement, err error) {
	if err := g.send(launch.Hello{Version: config.Version}); err != nil {
		return c, err
	}
	err = g.receive(&c)
	return c, err
}

// consent tells the host what was done, hands it the listener, and waits for its word. The program inherits no listener:
// whoever holds one could answer for the host.
func (g gate) consent(done launch.Applied, listener int) error {
	if err := g.sendWith(done, listener); err != nil {
		return err
	}
	if listener >= 0 {
		unix.Close(listener)
	}
	var word launch.Go
	if err := g.receive(&word); err != nil {
		return err
	}
	if !word.Go {
		return errors.New("the host refused")
	}
	return nil
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
