package pluginhost

import "golang.org/x/sys/unix"

// machineMemory is how much memory this machine has, 0 when it does not say.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit)) //nolint:unconvert // of 32 bits on some
}
