package agent

import "golang.org/x/sys/windows"

// diskFree is how many bytes this user may still write to the disk of a folder.
func diskFree(dir string) (free uint64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	return free, windows.GetDiskFreeSpaceEx(path, &free, nil, nil)
}
