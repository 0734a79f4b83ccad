//go:build !wasip1

package serve

import (
	"fmt"
	"os"
	"strconv"

	"github.com/picketwatch/picket/sdk/internal/wire"
)

// exitHostGone is the exit code of a plugin whose host went away.
const exitHostGone = 5

// watchLifeline ends the process when the descriptor that only the host holds open is closed: a host that was killed
// leaves no plugin behind. The goroutine lives as long as the process.
func watchLifeline(exit func(int)) error {
	text, ok := os.LookupEnv(wire.LifelineEnv)
	if !ok {
		return nil
	}
	if err := os.Unsetenv(wire.LifelineEnv); err != nil {
		return err
	}
	fd, err := strconv.ParseUint(text, 10, 16)
	if err != nil || fd < 3 {
		return fmt.Errorf("%s=%q is not a descriptor", wire.LifelineEnv, text)
	}
	keepFromChildren(int(fd))
	f := os.NewFile(uintptr(fd), "lifeline")
	if _, err := f.Stat(); err != nil {
		return fmt.Errorf("%s=%s: %w", wire.LifelineEnv, text, err)
	}
	go func() {
		var b [1]byte
		for {
			if n, err := f.Read(b[:]); n == 0 || err != nil {
				exit(exitHostGone)
				return
			}
		}
	}()
	return nil
}
