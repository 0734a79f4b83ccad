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

func (g gate) send(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return retry(func() error { return unix.Sendto(int(g), data, unix.MSG_NOSIGNAL, nil) })
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

// consent tells the host what was done and waits for its word.
func (g gate) consent(done launch.Applied) error {
	if err := g.send(done); err != nil {
		return err
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
