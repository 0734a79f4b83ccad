package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/disk"
)

// readFilesystems asks every chosen file system at once, each on its own goroutine: statfs on a dead network mount
// does not come back, and its neighbours must not wait for it. The mounts get three quarters of the section's time so
// that their answers still arrive in it.
func (c *Collector) readFilesystems(ctx context.Context, out *samples) error {
	mounts, err := c.mounts(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout()*3/4, errors.New("the file system does not answer"))
	defer cancel()

	pending := make([]*reading, len(mounts))
	for i, m := range mounts {
		pending[i] = c.readings.start("mount "+m.Mountpoint, c.now(), func() (*samples, error) {
			one := &samples{}
			u, err := c.usage(ctx, m.Mountpoint)
			if err == nil {
				one.filesystem(m, u)
				one.stamp(c.now())
			}
			return one, err
		})
	}
	var failed []error
	for i, r := range pending {
		one, err := r.result(ctx)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", mounts[i].Mountpoint, err))
			continue
		}
		out.list = append(out.list, one.list...)
	}
	return errors.Join(failed...)
}

// mounts returns the chosen mounts, each device once: a bind mount shows the same space again, so the shortest path
// stands for all.
func (c *Collector) mounts(ctx context.Context) ([]disk.PartitionStat, error) {
	all, err := disk.PartitionsWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	all = c.reached(ctx, all)
	sort.SliceStable(all, func(i, j int) bool { return len(all[i].Mountpoint) < len(all[j].Mountpoint) })
	seenDevice, seenPath := map[string]bool{}, map[string]bool{}
	var out []disk.PartitionStat
	for _, m := range all {
		f := c.config.Filesystems
		if !f.Types.allows(m.Fstype) || !f.Mounts.allows(m.Mountpoint) || !f.Devices.allows(m.Device) {
			continue
		}
		// Pseudo devices ("tmpfs", "overlay") share a name without sharing space; only real ones are the same twice.
		real := len(m.Device) > 0 && (m.Device[0] == '/' || slices.Contains(m.Opts, "bind"))
		if seenPath[m.Mountpoint] || real && seenDevice[m.Device] {
			continue
		}
		seenPath[m.Mountpoint], seenDevice[m.Device] = true, true
		out = append(out, m)
	}
	return out, nil
}

// reached leaves out what the machine has mounted and this process does not see: at that path it would measure another file system.
func (c *Collector) reached(ctx context.Context, all []disk.PartitionStat) []disk.PartitionStat {
	if len(c.env) > 0 { // a tree of files stands for the machine
		return all
	}
	own, err := disk.PartitionsWithContext(context.WithValue(ctx, common.EnvKey, common.EnvMap{common.HostProcMountinfo: ownMounts}), true)
	if err != nil { // not on Linux, where there is one view
		return all
	}
	seen := map[string]bool{}
	for _, m := range own {
		seen[m.Mountpoint] = true
	}
	return slices.DeleteFunc(all, func(m disk.PartitionStat) bool { return !seen[m.Mountpoint] })
}

// ownMounts lists what this process sees.
const ownMounts = "/proc/self/mountinfo"

// filesystem adds the readings of one mount. One without blocks of its own (a pseudo file system that was asked for)
// gives nothing.
func (s *samples) filesystem(m disk.PartitionStat, u *disk.UsageStat) {
	if u.Total == 0 {
		return
	}
	access := "rw"
	if slices.Contains(m.Opts, "ro") {
		access = "ro"
	}
	labels := []label{
		{"system.device", m.Device},
		{"system.filesystem.type", m.Fstype},
		{"system.filesystem.mode", access},
		{"system.filesystem.mountpoint", m.Mountpoint},
	}
	s.gauge("system.filesystem.limit", "By", float64(u.Total), labels...)
	var reserved uint64 // for the superuser: neither used nor free to others
	if u.Used+u.Free < u.Total {
		reserved = u.Total - u.Used - u.Free
	}
	for _, st := range []struct {
		name  string
		bytes uint64
	}{{"used", u.Used}, {"free", u.Free}, {"reserved", reserved}} {
		with := append(slices.Clone(labels), label{"system.filesystem.state", st.name})
		s.gauge("system.filesystem.usage", "By", float64(st.bytes), with...)
		s.gauge("system.filesystem.utilization", "1", float64(st.bytes)/float64(u.Total), with...)
	}
	if u.InodesTotal == 0 { // btrfs and others have no fixed number
		return
	}
	for _, st := range []struct {
		name   string
		inodes uint64
	}{{"used", u.InodesUsed}, {"free", u.InodesFree}} {
		with := append(slices.Clone(labels), label{"system.filesystem.state", st.name})
		s.gauge("system.filesystem.inodes.usage", "{inodes}", float64(st.inodes), with...)
	}
}
