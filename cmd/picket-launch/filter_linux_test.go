package main

import (
	"encoding/binary"
	"math"
	"testing"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

const (
	allowed     = unix.SECCOMP_RET_ALLOW
	forbidden   = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	unknown     = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	testedFD    = 1024
	highBits    = 1 << 32
	closeOnExec = unix.SOCK_CLOEXEC
)

// TestFilter runs the program that the kernel gets, on what the kernel would give it.
func TestFilter(t *testing.T) {
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	native := uint32(info.ID)
	number := func(name string) uint32 {
		n, ok := info.SyscallNames[name]
		if !ok {
			t.Skipf("this processor has no %s", name)
		}
		return uint32(n)
	}
	for name, c := range map[string]struct {
		call    string
		number  uint32 // instead of call
		arch    uint32
		args    [6]uint64
		netlink bool
		want    uint32
	}{
		"read":                       {call: "read", want: allowed},
		"mmap":                       {call: "mmap", want: allowed},
		"accept":                     {call: "accept4", want: allowed},
		"bind":                       {call: "bind", want: allowed},
		"connect":                    {call: "connect", want: forbidden},
		"ptrace":                     {call: "ptrace", want: forbidden},
		"bpf":                        {call: "bpf", want: forbidden},
		"execve":                     {call: "execve", want: forbidden},
		"a thread":                   {call: "clone", args: [6]uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}, want: allowed},
		"a process":                  {call: "clone", args: [6]uint64{uint64(unix.SIGCHLD)}, want: forbidden},
		"a process as vfork":         {call: "clone", args: [6]uint64{unix.CLONE_VM | unix.CLONE_VFORK}, want: forbidden},
		"clone3":                     {call: "clone3", want: unknown},
		"execute the program":        {call: "execveat", args: [6]uint64{testedFD, 0, 0, 0, unix.AT_EMPTY_PATH}, want: allowed},
		"execute another":            {call: "execveat", args: [6]uint64{3, 0, 0, 0, unix.AT_EMPTY_PATH}, want: forbidden},
		"execute by path":            {call: "execveat", args: [6]uint64{testedFD, 0, 0, 0, 0}, want: forbidden},
		"execute, more flags":        {call: "execveat", args: [6]uint64{testedFD, 0, 0, 0, unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW}, want: forbidden},
		"execute, surplus bits":      {call: "execveat", args: [6]uint64{highBits | 3, 0, 0, 0, unix.AT_EMPTY_PATH}, want: forbidden},
		"name a thread":              {call: "prctl", args: [6]uint64{unix.PR_SET_NAME}, want: allowed},
		"allow a tracer":             {call: "prctl", args: [6]uint64{unix.PR_SET_PTRACER}, want: allowed},
		"outlive the host":           {call: "prctl", args: [6]uint64{unix.PR_SET_PDEATHSIG}, want: forbidden},
		"outlive it, surplus bits":   {call: "prctl", args: [6]uint64{highBits | unix.PR_SET_PDEATHSIG}, want: forbidden},
		"a filter":                   {call: "seccomp", args: [6]uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}, want: forbidden},
		"a filter for all threads":   {call: "seccomp", args: [6]uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC}, want: forbidden},
		"a filter, the old way":      {call: "prctl", args: [6]uint64{unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER}, want: forbidden},
		"a filter, surplus bits":     {call: "prctl", args: [6]uint64{highBits | unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER}, want: forbidden},
		"whether there is a filter":  {call: "prctl", args: [6]uint64{unix.PR_GET_SECCOMP}, want: allowed},
		"Unix stream":                {call: "socket", args: [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM | closeOnExec}, want: allowed},
		"Unix packets":               {call: "socket", args: [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET}, want: allowed},
		"Unix datagram":              {call: "socket", args: [6]uint64{unix.AF_UNIX, unix.SOCK_DGRAM | closeOnExec}, want: forbidden},
		"Unix raw, a datagram":       {call: "socket", args: [6]uint64{unix.AF_UNIX, unix.SOCK_RAW}, want: forbidden},
		"Unix datagram, high bits":   {call: "socket", args: [6]uint64{unix.AF_UNIX, highBits | unix.SOCK_DGRAM}, want: forbidden},
		"Internet":                   {call: "socket", args: [6]uint64{unix.AF_INET, unix.SOCK_STREAM}, want: forbidden},
		"Internet, high bits":        {call: "socket", args: [6]uint64{highBits | unix.AF_INET, unix.SOCK_STREAM}, want: forbidden},
		"a packet socket":            {call: "socket", args: [6]uint64{unix.AF_PACKET, unix.SOCK_RAW}, want: forbidden},
		"vsock":                      {call: "socket", args: [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, want: forbidden},
		"netlink":                    {call: "socket", args: [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, want: forbidden},
		"routes for host.metrics":    {call: "socket", netlink: true, args: [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, want: allowed},
		"audit for host.metrics":     {call: "socket", netlink: true, args: [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, want: forbidden},
		"Internet for host.metrics":  {call: "socket", netlink: true, args: [6]uint64{unix.AF_INET, unix.SOCK_DGRAM}, want: forbidden},
		"datagrams for host.metrics": {call: "socket", netlink: true, args: [6]uint64{unix.AF_UNIX, unix.SOCK_DGRAM}, want: forbidden},
		"signal itself":              {call: "kill", args: [6]uint64{1, 15}, want: allowed},
		"signal its group":           {call: "kill", args: [6]uint64{0, 15}, want: allowed},
		"signal another":             {call: "kill", args: [6]uint64{4711, 0}, want: forbidden},
		"signal everybody":           {call: "kill", args: [6]uint64{math.MaxUint64, 9}, want: forbidden},
		"signal itself, high bits":   {call: "kill", args: [6]uint64{highBits | 1, 15}, want: forbidden},
		"a mode":                     {call: "fchmod", want: forbidden},
		"a mode, younger":            {call: "fchmodat2", want: forbidden},
		"an owner":                   {call: "fchown", want: forbidden},
		"an attribute":               {call: "fsetxattr", want: forbidden},
		"a time":                     {call: "utimensat", want: forbidden},
		"a mark":                     {call: "ioctl", args: [6]uint64{3, setFlags}, want: forbidden},
		"a mark, high bits":          {call: "ioctl", args: [6]uint64{3, highBits | setFlags}, want: forbidden},
		"a seal for ever":            {call: "ioctl", args: [6]uint64{3, enableVerity}, want: forbidden},
		"whether it is a terminal":   {call: "ioctl", args: [6]uint64{3, unix.TCGETS}, want: allowed},
		"a claim on a file":          {call: "fcntl", args: [6]uint64{3, unix.F_SETLEASE}, want: forbidden},
		"a claim, high bits":         {call: "fcntl", args: [6]uint64{3, highBits | unix.F_SETLEASE}, want: forbidden},
		"close on exec":              {call: "fcntl", args: [6]uint64{3, unix.F_SETFD, unix.FD_CLOEXEC}, want: allowed},
		"a pair":                     {call: "socketpair", args: [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, want: allowed},
		"a pair of datagrams":        {call: "socketpair", args: [6]uint64{unix.AF_UNIX, unix.SOCK_DGRAM}, want: forbidden},
		"a 32-bit call":              {number: 2, arch: uint32(arch.I386.ID), want: unknown},
		"a call of another machine":  {number: 0, arch: uint32(arch.ARM.ID), want: unknown},
		"an x32 call":                {number: 0x40000000 | 59, want: unknown},
		"a call that is not known":   {number: 5000, want: unknown},
	} {
		t.Run(name, func(t *testing.T) {
			nr, machine := c.number, c.arch
			if c.call != "" {
				nr = number(c.call)
			}
			if machine == 0 {
				machine = native
			}
			data := seccompData(nr, machine, c.args)
			if got := runFilter(t, c.netlink, errnoPerm, data); got != c.want {
				t.Fatalf("got %#x; want %#x", got, c.want)
			}
			want := c.want
			if want == forbidden || machine != native {
				want = unix.SECCOMP_RET_USER_NOTIF
			}
			if got := runFilter(t, c.netlink, tell, data); got != want {
				t.Fatalf("with a listener: got %#x; want %#x", got, want)
			}
		})
	}
}

// Each call that is refused for some arguments has words for it.
func TestConditionsAreDeeds(t *testing.T) {
	for _, c := range conditions(testedFD, true) {
		if launch.DeedOf(c.Name) == "" {
			t.Errorf("%s stands for nothing", c.Name)
		}
	}
}

func runFilter(t *testing.T, netlink bool, refused seccomp.Action, data []byte) uint32 {
	t.Helper()
	raw, err := filter(testedFD, netlink, refused)
	if err != nil {
		t.Fatal(err)
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("not understood")
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

// seccompData lies as the kernel lays it on a little-endian machine, each word turned round for the interpreter, which
// reads in the order of networks.
func seccompData(nr, machine uint32, args [6]uint64) []byte {
	var b []byte
	put := func(v uint32) { b = binary.BigEndian.AppendUint32(b, v) }
	put(nr)
	put(machine)
	put(0) // the instruction pointer
	put(0)
	for _, a := range args {
		put(uint32(a))
		put(uint32(a >> 32))
	}
	return b
}

func TestLandlockRules(t *testing.T) {
	c := launch.Confinement{
		Program: 9, View: launch.ViewMinimal, SocketDir: "/tmp/s", Execute: []string{"/lib64/ld.so"},
		Binds: []launch.Bind{{Path: "/var/lib/x", Write: true}, {Path: "/srv/y"}},
	}
	rights := map[string]uint64{}
	for _, r := range landlockRules(c) {
		rights[r.path] = r.rights
	}
	if rights[""] != landExecute || rights["/lib64/ld.so"] != landExecute || rights["/"] != landRead || rights["/var/lib/x"] != landWrite {
		t.Errorf("%v", rights)
	}
	if rights["/tmp"] != 0 || rights["/var/tmp"] != landWrite {
		t.Errorf("the folder of the socket lies in what may be written: %v", rights)
	}
	if _, ok := rights["/srv/y"]; ok {
		t.Error("a folder to read has rights of its own")
	}
	c.View = launch.ViewHost
	for _, r := range landlockRules(c) {
		if r.path == "/" || r.path == "/tmp" || r.path == "/var/tmp" {
			t.Errorf("the host's %s is open: %#x", r.path, r.rights)
		}
	}
}

func TestGateRefuses(t *testing.T) {
	for name, c := range map[string]struct{ answers []string }{
		"closed":   {nil},
		"nonsense": {[]string{"nonsense"}},
		"no":       {[]string{`{"program":3}`, `{"go":false}`}},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range c.answers {
				if err := unix.Send(pair[1], []byte(a), 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := unix.Shutdown(pair[1], unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(pair[0])
			defer unix.Close(pair[1])
			g := gate(pair[0])
			_, err = g.hello()
			if err == nil {
				err = g.consent(launch.Applied{}, -1)
			}
			if err == nil {
				t.Fatal("passed")
			}
		})
	}
}
