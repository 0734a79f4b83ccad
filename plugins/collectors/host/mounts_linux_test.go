package host

import (
	"testing"

	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/disk"
)

// A mount of the machine that this process does not see is left out; a tree of files that stands for the machine is taken as it is.
func TestMountsOutOfSight(t *testing.T) {
	list := func() []disk.PartitionStat {
		return []disk.PartitionStat{{Mountpoint: "/proc"}, {Mountpoint: "/mounted/for/others"}}
	}
	c := New()
	if got := c.reached(t.Context(), list()); len(got) != 1 || got[0].Mountpoint != "/proc" {
		t.Errorf("%v", got)
	}
	c.env = common.EnvMap{common.HostProcMountinfo: "testdata"}
	if got := c.reached(t.Context(), list()); len(got) != 2 {
		t.Errorf("with a tree of files: %v", got)
	}
}
