package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// site is a network of machines, each a network namespace of its own on one bridge.
type site struct {
	t        *testing.T // the test that goes on now
	whole    *testing.T // the one that set the site up: machines and programs last as long as it
	dir      string
	programs string
	hub      string
}

func newSite(t *testing.T) *site {
	t.Helper()
	programs := filepath.Dir(bin(t, "picketd"))
	if os.Geteuid() != 0 {
		t.Skip("machines of their own need root")
	}
	s := &site{t: t, whole: t, dir: t.TempDir(), programs: programs, hub: fmt.Sprintf("pk%d-hub", os.Getpid())}
	s.must("ip", "netns", "add", s.hub)
	t.Cleanup(func() { _, _ = s.try("ip", "netns", "del", s.hub) })
	s.must("ip", "-n", s.hub, "link", "add", "br0", "type", "bridge")
	s.must("ip", "-n", s.hub, "link", "set", "br0", "up")
	return s
}

// test lets a test go on at this site, one after the other.
func (s *site) test(name string, work func()) {
	s.whole.Run(name, func(t *testing.T) {
		s.t = t
		defer func() { s.t = s.whole }()
		work()
	})
}

func (s *site) try(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}

func (s *site) must(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// machine adds a machine with an address to the network.
func (s *site) machine(name, address string) *machine {
	s.t.Helper()
	m := &machine{site: s, ns: fmt.Sprintf("pk%d-%s", os.Getpid(), name), address: address, dir: filepath.Join(s.dir, name),
		port: fmt.Sprintf("v%s%d", name, os.Getpid()%1000)}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.must("ip", "netns", "add", m.ns)
	s.whole.Cleanup(func() { _, _ = s.try("ip", "netns", "del", m.ns) })
	s.must("ip", "-n", s.hub, "link", "add", m.port, "type", "veth", "peer", "name", "eth0", "netns", m.ns)
	s.must("ip", "-n", s.hub, "link", "set", m.port, "master", "br0", "up")
	s.must("ip", "-n", m.ns, "address", "add", address+"/24", "dev", "eth0")
	s.must("ip", "-n", m.ns, "link", "set", "eth0", "up")
	s.must("ip", "-n", m.ns, "link", "set", "lo", "up")
	return m
}

type machine struct {
	*site
	ns, address, dir string
	port             string // of the hub, where its cable is
}

// cut takes its cable out of the hub: packets are lost, and nobody is told. plug puts it back.
func (m *machine) cut()  { m.must("ip", "-n", m.hub, "link", "set", m.port, "nomaster") }
func (m *machine) plug() { m.must("ip", "-n", m.hub, "link", "set", m.port, "master", "br0") }

// here is a command as this machine runs it.
func (m *machine) here(program string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", m.ns, program}, args...)...)
}

func (m *machine) start(program string, args ...string) *program {
	m.t.Helper()
	return start(m.whole, "ip", append([]string{"netns", "exec", m.ns, filepath.Join(m.programs, program)}, args...)...)
}

// picket runs the command line on this machine.
func (m *machine) picket(args ...string) (string, error) {
	out, err := m.here(filepath.Join(m.programs, "picket"), args...).CombinedOutput()
	return string(out), err
}

func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.picket(args...)
	if err != nil {
		m.t.Fatalf("picket %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (m *machine) file(name, text string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// processes counts the programs on this machine whose command line has a word in it.
func (m *machine) processes(word string) int {
	m.t.Helper()
	n := 0
	for pid := range strings.FieldsSeq(m.must("ip", "netns", "pids", m.ns)) {
		line, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline")) // gone by now: not there
		if strings.Contains(string(line), word) {
			n++
		}
	}
	return n
}
