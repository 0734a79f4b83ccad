package host

import (
	"slices"

	"github.com/picketwatch/picket/plugins/internal/wildcard"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets. In all patterns * stands for any run of characters, slashes included, and ? for one.
type Config struct {
	Sections    []string        `json:"sections" default:"cpu,memory,paging,filesystem,disk,network,load,uptime,sensors,power" min:"1" enum:"cpu,memory,paging,filesystem,disk,network,load,uptime,sensors,power" doc:"What to measure."`
	PerCPU      bool            `json:"per_cpu" default:"false" doc:"Measure each logical processor by itself instead of all together."`
	Timeout     config.Duration `json:"timeout" default:"5s" min:"100ms" max:"1m" doc:"How long a section may take; one that takes longer is reported and the others go on."`
	Partitions  bool            `json:"partitions" default:"false" doc:"Count the partitions of a disk as well as the disk."`
	Disks       Disks           `json:"disks"`
	Interfaces  Interfaces      `json:"interfaces"`
	Filesystems Filesystems     `json:"filesystems"`
}

// Disks chooses block devices by their kernel name.
type Disks struct {
	Include []string `json:"include" doc:"Patterns of disks to measure; an empty list means all."`
	Exclude []string `json:"exclude" default:"loop*,ram*,zram*,sr*,fd*" doc:"Patterns of disks to leave out."`
}

// Interfaces chooses network interfaces by name.
type Interfaces struct {
	Include []string `json:"include" doc:"Patterns of interfaces to measure; an empty list means all."`
	Exclude []string `json:"exclude" default:"lo,lo0,veth*,ifb*,dummy*" doc:"Patterns of interfaces to leave out."`
}

// Filesystems chooses mounts; what any of the three refuses is left out.
type Filesystems struct {
	Mounts  Mounts  `json:"mounts"`
	Devices Devices `json:"devices"`
	Types   Types   `json:"types"`
}

// Mounts chooses by the path of the mount.
type Mounts struct {
	Include []string `json:"include" doc:"Patterns of mount points to measure; an empty list means all."`
	Exclude []string `json:"exclude" default:"/proc/*,/sys/*,/dev/*,/run/*,/var/lib/docker/*,/var/lib/containers/*,*/containers/storage/*,/var/lib/kubelet/*,/snap/*" doc:"Patterns of mount points to leave out."`
}

// Devices chooses by what is mounted.
type Devices struct {
	Include []string `json:"include" doc:"Patterns of devices to measure; an empty list means all."`
	Exclude []string `json:"exclude" doc:"Patterns of devices to leave out."`
}

// Types chooses by the type of the file system. The default leaves out those that hold no files of their own.
type Types struct {
	Include []string `json:"include" doc:"Patterns of types to measure; an empty list means all."`
	Exclude []string `json:"exclude" default:"autofs,binfmt_misc,bpf,cgroup*,configfs,debugfs,devfs,devpts,devtmpfs,efivarfs,fusectl,fuse.gvfsd-fuse,fuse.lxcfs,hugetlbfs,iso9660,mqueue,nsfs,proc,pstore,ramfs,rpc_pipefs,securityfs,selinuxfs,squashfs,sysfs,tmpfs,tracefs" doc:"Patterns of types to leave out."`
}

func (d Disks) allows(name string) bool      { return wildcard.Allows(name, d.Include, d.Exclude) }
func (i Interfaces) allows(name string) bool { return wildcard.Allows(name, i.Include, i.Exclude) }
func (m Mounts) allows(path string) bool     { return wildcard.Allows(path, m.Include, m.Exclude) }
func (d Devices) allows(name string) bool    { return wildcard.Allows(name, d.Include, d.Exclude) }
func (t Types) allows(name string) bool      { return wildcard.Allows(name, t.Include, t.Exclude) }

func (c *Config) wants(section string) bool { return slices.Contains(c.Sections, section) }

// validate finds what tags cannot say: a section that is measured twice.
func (c *Config) validate() error {
	for i, s := range c.Sections {
		if slices.Contains(c.Sections[:i], s) {
			return sdk.Errorf(sdk.InvalidConfig, "sections[%d]: %s is there twice", i, s)
		}
	}
	return nil
}
