package durable

import "sync/atomic"

// Op is a step that changes what is on the disk.
type Op string

// The steps of this package. A caller that changes the disk by itself names its own to Step.
const (
	OpCreate  Op = "create"
	OpWrite   Op = "write"
	OpSync    Op = "sync"
	OpRename  Op = "rename"
	OpSyncDir Op = "sync folder"
	OpRemove  Op = "remove"
)

var intercept atomic.Pointer[func(Op, string) error]

// Intercept has f asked before each step, with the path that the step is about; the step fails with what f returns.
// Tests put a full disk or a sudden death there, at each step in turn. Call restore at the end. One at a time.
func Intercept(f func(op Op, path string) error) (restore func()) {
	intercept.Store(&f)
	return func() { intercept.Store(nil) }
}

// Step announces a change of the disk.
func Step(op Op, path string) error {
	if f := intercept.Load(); f != nil {
		return (*f)(op, path)
	}
	return nil
}
