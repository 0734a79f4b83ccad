//go:build !linux

package client

import (
	"errors"
	"io"
	"os"

	"github.com/picketwatch/picket/registry"
)

var errNotHere = errors.New("plugins under development run on Linux")

// SealUnsigned is there on Linux.
func SealUnsigned(io.Reader, registry.Artifact) (*os.File, error) { return nil, errNotHere }

// Reopen is there on Linux.
func Reopen(*os.File) (*os.File, error) { return nil, errNotHere }
