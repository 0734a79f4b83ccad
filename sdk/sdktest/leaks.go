package sdktest

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// goroutines returns the stacks that run now, by their number.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	out := map[string]string{}
	for _, stack := range strings.Split(string(buf), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		if !ours(stack) {
			out[id] = stack
		}
	}
	return out
}

// ours reports whether the stack belongs to the test itself.
func ours(stack string) bool {
	return strings.Contains(stack, "testing.(*T).Run(") || strings.Contains(stack, "created by testing.")
}

// noneLeft fails the test when goroutines run that were not there before. They get some time to notice their end.
func noneLeft(t *testing.T, before map[string]string, patience time.Duration) {
	t.Helper()
	var left []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		left = left[:0]
		for id, stack := range goroutines() {
			if _, known := before[id]; !known {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines run on after Stop:\n\n%s", len(left), strings.Join(left, "\n\n"))
}
