//go:build !unix && !wasip1

package serve

// keepFromChildren has nothing to do: handles are not inherited unless asked for.
func keepFromChildren(int) {}

// stdoutToStderr does nothing: the handle leads where it did.
func stdoutToStderr() {}
