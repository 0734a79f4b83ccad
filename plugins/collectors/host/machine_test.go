package host

import (
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
)

// lessBusy is the reading before that of testdata/plain: since then 1 s of user time less what is given, and 3 s idle.
func lessBusy(user float64) cpu.TimesStat {
	return cpu.TimesStat{CPU: "cpu-total", User: user - 1, Nice: .2, System: .3, Idle: 37, Iowait: .5, Irq: .06, Softirq: .07, Steal: .08}
}

// plainMachine is what testdata/plain must give, worked out by hand from its files.
var plainMachine = map[string]float64{
	"system.cpu.time{cpu.mode=user}":      1, // 100 ticks of 10 ms
	"system.cpu.time{cpu.mode=nice}":      .2,
	"system.cpu.time{cpu.mode=system}":    .3,
	"system.cpu.time{cpu.mode=idle}":      40,
	"system.cpu.time{cpu.mode=iowait}":    .5,
	"system.cpu.time{cpu.mode=interrupt}": .13,
	"system.cpu.time{cpu.mode=steal}":     .08,

	"system.cpu.utilization{cpu.mode=user}":      .25,
	"system.cpu.utilization{cpu.mode=idle}":      .75,
	"system.cpu.utilization{cpu.mode=nice}":      0,
	"system.cpu.utilization{cpu.mode=system}":    0,
	"system.cpu.utilization{cpu.mode=iowait}":    0,
	"system.cpu.utilization{cpu.mode=interrupt}": 0,
	"system.cpu.utilization{cpu.mode=steal}":     0,

	"system.cpu.logical.count{}":      2,
	"system.cpu.physical.count{}":     2,
	"system.cpu.load_average.1m{}":    .25,
	"system.cpu.load_average.5m{}":    .5,
	"system.cpu.load_average.15m{}":   1.75,
	"system.uptime{}":                 12345.67,
	"system.memory.limit{}":           1000 * 1024,
	"system.memory.linux.available{}": 600 * 1024,
	"system.memory.linux.shared{}":    10 * 1024,

	"system.memory.usage{system.memory.state=used}":          400 * 1024,
	"system.memory.usage{system.memory.state=free}":          200 * 1024,
	"system.memory.usage{system.memory.state=cached}":        325 * 1024,
	"system.memory.usage{system.memory.state=buffers}":       50 * 1024,
	"system.memory.utilization{system.memory.state=used}":    .4,
	"system.memory.utilization{system.memory.state=free}":    .2,
	"system.memory.utilization{system.memory.state=cached}":  .325,
	"system.memory.utilization{system.memory.state=buffers}": .05,

	"system.paging.faults{system.paging.fault.type=major}":                                 40,
	"system.paging.faults{system.paging.fault.type=minor}":                                 960,
	"system.paging.operations{system.paging.direction=in,system.paging.fault.type=major}":  11,
	"system.paging.operations{system.paging.direction=out,system.paging.fault.type=major}": 22,
	"system.paging.usage{system.device=/dev/sda2,system.paging.state=used}":                250 * 1024,
	"system.paging.usage{system.device=/dev/sda2,system.paging.state=free}":                750 * 1024,
	"system.paging.utilization{system.device=/dev/sda2,system.paging.state=used}":          .25,
	"system.paging.utilization{system.device=/dev/sda2,system.paging.state=free}":          .75,

	"system.disk.io{disk.io.direction=read,system.device=sda}":              20 * 512,
	"system.disk.io{disk.io.direction=write,system.device=sda}":             50 * 512,
	"system.disk.operations{disk.io.direction=read,system.device=sda}":      10,
	"system.disk.operations{disk.io.direction=write,system.device=sda}":     40,
	"system.disk.operation_time{disk.io.direction=read,system.device=sda}":  .3,
	"system.disk.operation_time{disk.io.direction=write,system.device=sda}": .6,
	"system.disk.merged{disk.io.direction=read,system.device=sda}":          1,
	"system.disk.merged{disk.io.direction=write,system.device=sda}":         2,
	"system.disk.io_time{system.device=sda}":                                .7,

	"system.network.io{network.interface.name=eth0,network.io.direction=receive}":                               1000,
	"system.network.io{network.interface.name=eth0,network.io.direction=transmit}":                              2000,
	"system.network.packet.count{network.interface.name=eth0,network.io.direction=receive,system.device=eth0}":  10,
	"system.network.packet.count{network.interface.name=eth0,network.io.direction=transmit,system.device=eth0}": 20,
	"system.network.errors{network.interface.name=eth0,network.io.direction=receive}":                           1,
	"system.network.errors{network.interface.name=eth0,network.io.direction=transmit}":                          3,
	"system.network.packet.dropped{network.interface.name=eth0,network.io.direction=receive}":                   2,
	"system.network.packet.dropped{network.interface.name=eth0,network.io.direction=transmit}":                  4,
}

func init() {
	for _, mount := range []string{
		"system.device=/dev/sda1,system.filesystem.mode=rw,system.filesystem.mountpoint=/,MOREsystem.filesystem.type=ext4",
		"system.device=/dev/sdb1,system.filesystem.mode=ro,system.filesystem.mountpoint=/mnt/cd rom,MOREsystem.filesystem.type=ext4",
		"system.device=server:/export,system.filesystem.mode=rw,system.filesystem.mountpoint=/mnt/dead,MOREsystem.filesystem.type=nfs4",
	} {
		plainFilesystem(mount)
	}
}

// plainFilesystem adds what each mount gives: of 1000 bytes 600 used and 350 free, of 10 inodes 4 used.
func plainFilesystem(mount string) {
	with := func(state string) string {
		if state != "" {
			state = "system.filesystem.state=" + state + ","
		}
		return "{" + strings.Replace(mount, "MORE", state, 1) + "}"
	}
	plainMachine["system.filesystem.limit"+with("")] = 1000
	for state, bytes := range map[string]float64{"used": 600, "free": 350, "reserved": 50} {
		plainMachine["system.filesystem.usage"+with(state)] = bytes
		plainMachine["system.filesystem.utilization"+with(state)] = bytes / 1000
	}
	plainMachine["system.filesystem.inodes.usage"+with("used")] = 4
	plainMachine["system.filesystem.inodes.usage"+with("free")] = 6
}
