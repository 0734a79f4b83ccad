//go:build !windows

package service

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxDepth  = 4 // system.slice/system-getty.slice/getty@tty1.service
	maxGroups = 4096
)

// services are those that have processes in a control group of their own: they are active. ok is false where systemd makes no
// control groups.
func services(root string) (units []unit, ok bool) {
	for _, hierarchy := range []string{"", "unified", "systemd"} { // version 2, both, and version 1 of control groups
		dir := filepath.Join(root, hierarchy, "system.slice")
		if _, err := os.Stat(dir); err == nil {
			left := maxGroups
			return below(dir, 1, &left, nil), true
		}
	}
	return nil, false
}

func below(dir string, depth int, left *int, units []unit) []unit {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return units
	}
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(dir, name)
		switch *left--; {
		case *left < 0:
			return units
		case !e.IsDir() || len(name) > maxName:
		case strings.HasSuffix(name, ".service"):
			u := unit{name: strings.ToValidUTF8(name, "?")}
			if populated(path) {
				u.state = active
			}
			units = append(units, u)
		case strings.HasSuffix(name, ".slice") && depth < maxDepth:
			units = below(path, depth+1, left, units)
		}
	}
	return units
}

// populated reports whether a control group has a process. Version 2 says so of all below it; in version 1 it is asked of itself.
func populated(group string) bool {
	if events, err := head(filepath.Join(group, "cgroup.events")); err == nil {
		return bytes.Contains(events, []byte("populated 1"))
	}
	processes, err := head(filepath.Join(group, "cgroup.procs"))
	return err == nil && len(processes) > 0
}

func head(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 256))
}
