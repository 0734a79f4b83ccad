//go:build !linux

package runner

import (
	"errors"
	"time"
)

// guard ends the process when a call runs past its deadline. Here it can only try: a guest in an endless loop may hold
// up every goroutine of this process, and then it is the host's kill that counts.
type guard struct {
	timer *time.Timer
}

func newGuard(fatal func(error)) (*guard, error) {
	g := &guard{timer: time.AfterFunc(time.Hour, func() { fatal(errors.New("the guest is still at work after its deadline")) })}
	g.timer.Stop()
	return g, nil
}

// arm sets the timer; 0 stops it.
func (g *guard) arm(after time.Duration) error {
	if after == 0 {
		g.timer.Stop()
		return nil
	}
	g.timer.Reset(after)
	return nil
}
