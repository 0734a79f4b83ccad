package launch

// Deed is what a plugin is up to that makes one of these calls of the kernel, in words that fit after "it".
type Deed struct {
	Words string
	// Calls are never allowed. A processor may not have all of them.
	Calls []string
	// Sometimes are allowed with other arguments; the filter of picket-launch says with which.
	Sometimes []string
}

// Deeds are the calls that no plugin has a use for, sorted by what they would be good for. There are few enough to name
// each one in an audit log that takes a bounded number of lines.
var Deeds = []Deed{
	{"tried to run a program or make a process", []string{"fork", "vfork", "execve", "uselib"}, []string{"clone", "execveat"}},
	{"tried to trace another process or read its memory", []string{
		"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd",
	}, nil},
	{"tried to signal another process", []string{"pidfd_open", "pidfd_send_signal"}, []string{"kill"}},
	{"tried to outlive its host", nil, []string{"prctl"}},
	// The youngest of several filters that tell somebody decides, so one of the plugin's own could let pass what ours refuses,
	// or refuse it in silence.
	{OwnFilter, []string{"seccomp"}, nil},
	{"tried to open a socket", nil, []string{"socket", "socketpair"}},
	{"tried to connect a socket", []string{"connect"}, nil}, // a plugin accepts the host and connects to nobody
	{"tried to make a file in memory", []string{"memfd_create", "memfd_secret"}, nil},
	{"tried to come to files past their folders", []string{"open_by_handle_at", "name_to_handle_at", "fanotify_init", "mknod", "mknodat"}, nil},
	// What a file is: at level B a file that the host opened for reading has the plugin's own user as its owner, who could let
	// himself write it, or change its marks.
	{"tried to change the mode, owner, time or marks of a file", []string{
		"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat",
		"setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat",
		"utime", "utimes", "futimesat", "utimensat", "utimensat_time64", "file_setattr",
	}, []string{"ioctl", "fcntl"}},
	{"tried to change namespaces or mounts", []string{
		"unshare", "setns", "mount", "umount", "umount2", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount",
		"fspick", "mount_setattr", "pivot_root", "chroot", "statmount", "listmount",
	}, nil},
	{"tried to use wide or young parts of the kernel", []string{
		"io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "bpf", "perf_event_open", "userfaultfd",
		"keyctl", "add_key", "request_key", "lookup_dcookie", "nfsservctl", "lsm_set_self_attr", "personality", "modify_ldt",
	}, nil},
	// It would outlive the plugin.
	{"tried to share memory or messages by name", []string{"shmget", "shmat", "msgget", "semget", "mq_open"}, nil},
	{"tried to change the machine", []string{
		"init_module", "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load", "reboot", "swapon",
		"swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "sethostname", "setdomainname", "settimeofday", "stime",
		"clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex", "iopl", "ioperm", "vhangup",
	}, nil},
}

// OwnFilter is the deed of a program that puts a filter of calls over ours: by seccomp, or the old way by prctl.
const OwnFilter = "tried to put a filter of its own over its calls"

// ExitNoGuest is how picket-wasm ends when it was to compile what is no guest.
const ExitNoGuest = 5

// GuestCode is how picket-wasm makes machine code of a guest. What was made another way is not used: whoever changes what
// is made, as by package gojumps, raises it.
const GuestCode = "2"

// ForeignCall is the deed of a program that calls the kernel as another processor's programs do, past a filter of names.
const ForeignCall = "made calls of another processor's kind"

// DeedOf says what a call is good for.
func DeedOf(call string) string { return deeds[call] }

var deeds = func() map[string]string {
	all := map[string]string{}
	for _, d := range Deeds {
		for _, calls := range [][]string{d.Calls, d.Sometimes} {
			for _, c := range calls {
				all[c] = d.Words
			}
		}
	}
	return all
}()
