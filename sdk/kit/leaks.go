package kit

import (
	"fmt"
	"os"
	"runtime"
	"strings"
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

// left returns the goroutines that run and were not there before. They get some time to notice their end.
func left(before map[string]string, patience time.Duration) []string {
	var out []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		out = out[:0]
		for id, stack := range goroutines() {
			if _, known := before[id]; !known {
				out = append(out, stack)
			}
		}
		if len(out) == 0 {
			return nil
		}
	}
	return out
}

// openDescriptors counts the descriptors of a process, -1 where that cannot be seen.
func openDescriptors(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return -1
	}
	return len(entries)
}

// children counts the processes that pid started, -1 where that cannot be seen.
func children(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return -1
	}
	return len(strings.Fields(string(data)))
}

// peakMemory returns the most memory that a process had resident, in bytes; 0 where that cannot be seen.
func peakMemory(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
