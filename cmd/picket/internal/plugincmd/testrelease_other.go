//go:build !linux

package plugincmd

import "errors"

func confineAndTest(string) error {
	return errors.New("releases are run on Linux only, where they can be confined")
}
