package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// process is what /proc says of one process and of those of its children that have ended.
type process struct {
	name   string
	parent int
	cpu    time.Duration
	rss    int64 // bytes
}

// family are a process and all below it, by their ids.
func family(root int) (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		if p, ok := processOf(text); ok {
			all[pid] = p
		}
	}
	below := map[int]process{}
	for pid, x := range all {
		for p := pid; p > 1; p = all[p].parent {
			if p == root {
				below[pid] = x
				break
			}
		}
	}
	return below, nil
}

// processOf reads /proc/PID/stat. What follows the name, which may hold anything, begins with the state.
func processOf(stat []byte) (p process, ok bool) {
	const parent, utime, cstime, resident, perSecond = 1, 11, 14, 21, 100
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if begin < 0 || end < begin || len(fields) <= resident {
		return p, false
	}
	p.name = string(stat[begin+1 : end])
	for i := utime; i <= cstime; i++ {
		ticks, _ := strconv.ParseInt(fields[i], 10, 64)
		p.cpu += time.Duration(ticks) * time.Second / perSecond
	}
	pages, _ := strconv.ParseInt(fields[resident], 10, 64)
	p.rss = pages * int64(os.Getpagesize())
	p.parent, _ = strconv.Atoi(fields[parent])
	return p, true
}

// cpuOfFamily is the processor time that a process and all below it have used.
func cpuOfFamily(root int) (sum time.Duration, err error) {
	all, err := family(root)
	for _, p := range all {
		sum += p.cpu
	}
	return sum, err
}

// held is the memory of a process and all below it: as each sees it, and with shared pages counted once.
type held struct {
	rss, pss int64            // bytes
	by       map[string]int64 // pss by the name of the process
}

func memoryOfFamily(root int) (held, error) {
	all, err := family(root)
	h := held{by: map[string]int64{}}
	for pid, p := range all {
		n, err := proportional(pid)
		if err != nil {
			n = p.rss // too much rather than too little
		}
		h.rss, h.pss = h.rss+p.rss, h.pss+n
		h.by[title(pid, p)] += n
	}
	return h, err
}

// title is what a process calls itself, which of a plugin is its id; else the name that the kernel has for it.
func title(pid int, p process) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	first, _, _ := bytes.Cut(line, []byte{0})
	if err != nil || len(first) == 0 {
		return p.name
	}
	return filepath.Base(string(first))
}

// String names those that hold most.
func (h held) String() string {
	names := slices.SortedFunc(maps.Keys(h.by), func(a, b string) int { return cmp.Compare(h.by[b], h.by[a]) })
	var words []string
	for _, name := range names[:min(len(names), 6)] {
		words = append(words, fmt.Sprintf("%s %d", name, h.by[name]/megabyte))
	}
	return strings.Join(words, ", ")
}

// proportional is the proportional set size of a process in bytes.
func proportional(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
			kB, err := strconv.ParseInt(fields[1], 10, 64)
			return kB << 10, err
		}
	}
	return 0, fmt.Errorf("the kernel says no proportional set size of process %d", pid)
}
