//go:build !linux

package pluginhost

func machineMemory() int64 { return 0 }
