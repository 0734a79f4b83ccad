//go:build !linux

package plugincmd

import "errors"

func confined([]string, ...string) error {
	return errors.New("releases are run on Linux only, where they can be confined")
}
