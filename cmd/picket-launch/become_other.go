//go:build !linux

package main

import (
	"errors"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

func become(launch.Spec) error {
	return errors.New("plugins can only be started on Linux so far")
}
