package launch

import "strings"

// The gate is a socket of type SOCK_SEQPACKET between the host and picket-launch. Each message is one JSON value of at
// most MaxGateMessage bytes, in this order:
//
//	launch → host  Hello        the kernel adds the sender's process id
//	host → launch  Confinement  the process is in its control group by now
//	launch → host  Applied      everything is done but the exec; with the listener of refused calls
//	host → launch  Go           the host has compared; without it nothing is executed
//
// Either side that closes the socket instead has refused.

// MaxGateMessage bounds one message.
const MaxGateMessage = 64 << 10

// The views of the file system that a process may have.
const (
	ViewMinimal = "minimal" // a root folder with next to nothing
	ViewHost    = "host"    // the host's mounts, read-only; Landlock says which files
)

// Hello opens the conversation.
type Hello struct {
	Version string `json:"version"`
}

// Confinement is what picket-launch takes away from itself, after its Spec and before it executes the program.
type Confinement struct {
	// Program is the descriptor that is executed.
	Program int `json:"program"`
	// View is one of the views; empty leaves the file system as it is.
	View string `json:"view,omitempty"`
	// SocketDir is where the plugin finds a small folder in memory for its socket. The folders in the host's are there too.
	SocketDir string `json:"socket_dir,omitempty"`
	Binds     []Bind `json:"binds,omitempty"`
	// Execute are files that the kernel loads together with the program, such as the dynamic linker.
	Execute []string `json:"execute,omitempty"`
	// Read are descriptors of files that may be opened anew through /proc, such as an archive for an interpreter.
	Read []int `json:"read,omitempty"`
	// UID and GID are who the process becomes; 0 leaves it who it is.
	UID int `json:"uid,omitempty"`
	GID int `json:"gid,omitempty"`
	// NoCapabilities drops every capability for good.
	NoCapabilities bool `json:"no_capabilities,omitempty"`
	// LandlockABI is the version of Landlock to apply; 0 is none.
	LandlockABI int `json:"landlock_abi,omitempty"`
	// Seccomp installs the filter; Netlink lets it pass sockets that read routes and interfaces.
	Seccomp bool `json:"seccomp,omitempty"`
	Netlink bool `json:"netlink,omitempty"`
	// Listen asks for the descriptor over which the host answers refused calls, which comes with Applied. A kernel that
	// cannot give one answers them itself; Missing says so.
	Listen bool `json:"listen,omitempty"`
}

// CallsUncounted is what Applied.Missing says when refused calls are answered by the kernel and nobody hears of them.
const CallsUncounted = "refused calls are not counted"

// Scratch is where the plugin may keep files in memory. It is never above the folder of the socket or what was bound:
// the right to write would extend to those.
func Scratch(c Confinement) string {
	paths := []string{c.SocketDir}
	for _, b := range c.Binds {
		paths = append(paths, b.Path)
	}
	for _, p := range paths {
		if strings.HasPrefix(p, "/tmp/") {
			return "/var/tmp"
		}
	}
	return "/tmp"
}

// Bind is a file or folder of the host that the process sees at its own path, read-only unless Write.
type Bind struct {
	Path     string `json:"path"`
	Write    bool   `json:"write,omitempty"`
	Exec     bool   `json:"exec,omitempty"`     // code in it may be mapped; what may be executed Landlock says
	Optional bool   `json:"optional,omitempty"` // may be missing
}

// Applied is what picket-launch has done. The host believes only what it cannot see for itself.
type Applied struct {
	Error       string   `json:"error,omitempty"` // nothing else counts then
	View        string   `json:"view,omitempty"`
	LandlockABI int      `json:"landlock_abi,omitempty"`
	Missing     []string `json:"missing,omitempty"` // what the machine did not give, though nothing needs it
}

// Go lets the program run.
type Go struct {
	Go bool `json:"go"`
}
