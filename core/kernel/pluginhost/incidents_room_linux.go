package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lookForRoom notes what a process has used up of what the kernel gives it without a word: files in memory and
// descriptors. It goes on after that, so a look now and then is enough to name it.
func (s *supervisor) lookForRoom(r *run) {
	pid := r.proc.PID()
	for _, dir := range r.plan.Rooms() {
		if full(filepath.Join(r.plan.SocketRoot(pid), dir)) {
			s.incident(IncidentLimit, "files: its folder in memory is full; what it writes there fails")
		}
	}
	if limit := r.limits.OpenFiles; limit > 0 && openFiles(pid) >= limit-limit/10 {
		s.incident(IncidentLimit, fmt.Sprintf("open_files: it has nearly as many files open as it may, which is %d; more are refused", limit))
	}
}

// full reports whether a folder in memory takes no more.
func full(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC && (st.Bavail == 0 || st.Files > 0 && st.Ffree == 0)
}

// openFiles is 0 when nobody knows. Kernels from 6.2 on tell without a list.
func openFiles(pid int) int {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	if info, err := os.Stat(dir); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	return len(entries)
}
