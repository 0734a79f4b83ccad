package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
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
}

// take looks at this process. What nobody uses is given back first.
func take(runDir string) census {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c := census{Heap: m.HeapAlloc, Goroutines: runtime.NumGoroutine(), Descriptors: entries("/proc/self/fd") - 1, Threads: entries("/proc/self/task"),
		Folders: entries(runDir)}
	c.RSS = residentMemory()
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
