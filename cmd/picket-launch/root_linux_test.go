//go:build linux

package main

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// What the host mounts later can be written to as far as Landlock lets: where that cannot keep a plugin from cutting files short, it
// must not come in.
func TestOnlyWhoCanCutNoFileShortSeesLaterMounts(t *testing.T) {
	for _, c := range []struct {
		view string
		abi  int
		want uintptr
	}{
		{launch.ViewHost, 0, unix.MS_PRIVATE},
		{launch.ViewHost, 2, unix.MS_PRIVATE},
		{launch.ViewHost, 3, unix.MS_SLAVE},
		{launch.ViewMinimal, 3, unix.MS_PRIVATE},
	} {
		if got := following(launch.Confinement{View: c.view, LandlockABI: c.abi}); got != c.want {
			t.Errorf("view %s with version %d: %#x, not %#x", c.view, c.abi, got, c.want)
		}
	}
}
