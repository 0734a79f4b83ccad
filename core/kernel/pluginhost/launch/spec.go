// Package launch is the agreement between the plugin host and the helper program picket-launch: what the host asks
// for goes in as a Spec, the helper's command line comes out, and back. It is pure, so that the helper stays tiny.
package launch

import (
	"fmt"
	"strconv"
	"strings"
)

// Spec says how picket-launch prepares itself before it becomes the plugin.
type Spec struct {
	// Parent is the process id of the host. The helper leaves when it finds another parent: the host died meanwhile.
	Parent int
	// Lifeline is the read end of a pipe that only the host can write to; its end of file means that the host is gone.
	// The plugin inherits it. 0 means that there is none.
	Lifeline int
	// Gate is the socket over which the host says the rest and gives its consent; see Confinement. 0 means that there is
	// none, and no confinement either.
	Gate int
	// Keep are further descriptors that the plugin inherits. Everything else from 3 on is closed.
	Keep []int
	// Limits are resource limits, soft and hard alike. Core dumps are always off.
	Limits []Limit
	// Name becomes argv[0] of the plugin; empty means the program's path.
	Name string
	// Program is the path to execute, for verified bytes /proc/self/fd/N.
	Program string
	Args    []string
}

// Limit is one resource limit.
type Limit struct {
	Resource Resource
	Value    uint64
}

// Resource names what a Limit bounds.
type Resource string

const (
	OpenFiles    Resource = "nofile"
	AddressSpace Resource = "as"
	Data         Resource = "data" // private memory that can be written
	FileSize     Resource = "fsize"
	Tasks        Resource = "nproc" // threads of the plugin's user
)

func (r Resource) known() bool {
	return r == OpenFiles || r == AddressSpace || r == Data || r == FileSize || r == Tasks
}

// CommandLine is the helper's argument list, without its own name.
func (s Spec) CommandLine() []string {
	var line []string
	add := func(flag string, value string) { line = append(line, flag, value) }
	if s.Parent != 0 {
		add("--parent", strconv.Itoa(s.Parent))
	}
	if s.Lifeline != 0 {
		add("--lifeline-fd", strconv.Itoa(s.Lifeline))
	}
	if s.Gate != 0 {
		add("--gate-fd", strconv.Itoa(s.Gate))
	}
	for _, fd := range s.Keep {
		add("--keep-fd", strconv.Itoa(fd))
	}
	for _, l := range s.Limits {
		add("--rlimit-"+string(l.Resource), strconv.FormatUint(l.Value, 10))
	}
	if s.Name != "" {
		add("--name", s.Name)
	}
	return append(append(line, "--", s.Program), s.Args...)
}

// Parse reads what CommandLine wrote.
func Parse(line []string) (Spec, error) {
	var s Spec
	for len(line) > 0 && line[0] != "--" {
		if len(line) < 2 {
			return Spec{}, fmt.Errorf("%s needs a value", line[0])
		}
		if err := s.set(line[0], line[1]); err != nil {
			return Spec{}, err
		}
		line = line[2:]
	}
	if len(line) < 2 {
		return Spec{}, fmt.Errorf("no program to start: end with -- PROGRAM [ARGUMENT...]")
	}
	s.Program, s.Args = line[1], line[2:]
	return s, nil
}

func (s *Spec) set(flag, value string) error {
	var err error
	switch {
	case flag == "--parent":
		s.Parent, err = positive(value)
	case flag == "--lifeline-fd":
		s.Lifeline, err = descriptor(value)
	case flag == "--gate-fd":
		s.Gate, err = descriptor(value)
	case flag == "--keep-fd":
		var fd int
		fd, err = descriptor(value)
		s.Keep = append(s.Keep, fd)
	case flag == "--name":
		s.Name = value
	case strings.HasPrefix(flag, "--rlimit-"):
		l := Limit{Resource: Resource(strings.TrimPrefix(flag, "--rlimit-"))}
		if !l.Resource.known() {
			return fmt.Errorf("unknown option %s", flag)
		}
		l.Value, err = strconv.ParseUint(value, 10, 63)
		s.Limits = append(s.Limits, l)
	default:
		return fmt.Errorf("unknown option %s", flag)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", flag, value, err)
	}
	return nil
}

func positive(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err == nil && n <= 0 {
		err = fmt.Errorf("must be positive")
	}
	return n, err
}

func descriptor(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err == nil && (n < 3 || n > 1<<16) {
		err = fmt.Errorf("must be a descriptor from 3 on")
	}
	return n, err
}
