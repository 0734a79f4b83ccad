//go:build !linux

package arp

import (
	"runtime"

	"github.com/picketwatch/picket/sdk"
)

func readTable(sdk.Host) ([]neighbour, error) {
	return nil, sdk.Errorf(sdk.Unsupported, "the neighbour table of %s is not read; run picket/arp on Linux", runtime.GOOS)
}
