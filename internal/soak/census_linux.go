package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// census is what the host's process holds.
type census struct {
	RSS         uint64 `json:"rss_bytes"`
	Heap        uint64 `json:"heap_bytes"`
	Descriptors int    `json:"descriptors"`
	Goroutines  int    `json:"goroutines"`
	Processes   int    `json:"processes"` // children
	Zombies     int    `json:"zombies"`
	Threads     int    `json:"threads"`
	Folders     int    `json:"socket_folders"`
	Groups      int    `json:"control_groups"`

	stacks map[string]int // goroutines by where they began and where they wait
}

// take looks at this process. What nobody uses is given back first.
func take(runDir string) census {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c := census{Heap: m.HeapAlloc, Goroutines: runtime.NumGoroutine(), Descriptors: entries("/proc/self/fd") - 1, Threads: entries("/proc/self/task"),
		Folders: entries(runDir)}
	c.RSS = residentMemory()
	c.stacks = goroutines()
	self := []byte(strconv.Itoa(os.Getpid()))
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
		if len(fields) < 2 || !bytes.Equal(fields[1], self) {
			continue
		}
		if c.Processes++; fields[0][0] == 'Z' {
			c.Zombies++
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/", "/sys/fs/cgroup/*/*/"} {
		groups, _ := filepath.Glob(pattern + "picket-" + string(self) + "-*") // the pattern is well formed
		c.Groups = max(c.Groups, len(groups))
	}
	return c
}

// goroutines counts them by the function that each began with and the one outside of the runtime where it is.
func goroutines() map[string]int {
	all := make([]runtime.StackRecord, 2*runtime.NumGoroutine()+64)
	n, ok := runtime.GoroutineProfile(all)
	if !ok {
		return nil
	}
	out := map[string]int{}
	for i := range all[:n] {
		frames := runtime.CallersFrames(all[i].Stack())
		at, began := "", ""
		for {
			f, more := frames.Next()
			if inside := strings.HasPrefix(f.Function, "runtime."); f.Function != "" && !inside {
				if began = f.Function; at == "" {
					at = f.Function
				}
			}
			if !more {
				break
			}
		}
		out[began+" at "+at]++
	}
	return out
}

// more lists what there is more of than before.
func (c *census) more(before *census) (out []string) {
	for where, n := range c.stacks {
		if d := n - before.stacks[where]; d > 0 {
			out = append(out, fmt.Sprintf("%d more of %s", d, where))
		}
	}
	slices.Sort(out)
	return out
}

func residentMemory() uint64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	if f := bytes.Fields(data); len(f) > 1 {
		n, _ := strconv.ParseUint(string(f[1]), 10, 40) // the kernel wrote it
		return n * uint64(os.Getpagesize())
	}
	return 0
}

func entries(dir string) int {
	list, _ := os.ReadDir(dir) // one that is not there has none
	return len(list)
}
