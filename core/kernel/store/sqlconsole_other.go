//go:build !linux

package store

import (
	"errors"
	"os/exec"
)

func alone(*exec.Cmd) {}

func confineSQL() error { return errors.New("the SQL console needs Linux") }
