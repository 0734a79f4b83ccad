package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// errHeld is what tryLock says while another process holds the lock.
var errHeld = errors.New("held by another process")

// lockPoll is how often Lock asks again. The kernel's blocking call would not hear ctx.
const lockPoll = 20 * time.Millisecond

// Lock takes the exclusive lock of the file at path, which it creates, and returns its release. Locks belong to open
// files, so that the kernel drops them with a process that dies.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	for {
		err := tryLock(f)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, errHeld) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w (%w)", path, err, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}
