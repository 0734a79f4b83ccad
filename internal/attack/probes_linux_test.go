package attack

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/sdk"
)

// probe is an attack that tries one means after the other and comes back.
type probe struct {
	attack  string            // of the villain
	args    map[string]string // beside those of the scene
	rootful bool              // with nothing around it only root can do it
	hears   bool              // the scene hears of it when it succeeds
	cap     string            // the host notes that this was refused, when it was asked
	grants  []sdk.Permission
	// lets are means that succeed in a confined plugin too, because they do no harm there. Each says why.
	lets map[string]string
	// then checks what else must hold, with what the villain told.
	then func(a *arena, s *scene, told []attempt)
	// audit is what the log says, unheard why it says nothing, by runtime.
	audit   map[string][]line
	unheard map[string]string
	// aimed is whether the target is a process: a stranger when naked, the neighbour when confined.
	aimed bool
}

// run shows that the attack succeeds with nothing around it, and then that it does not in a plugin.
func (p probe) run(t *testing.T, runtime string) {
	t.Helper()
	name := nameOf(t)
	levels(t, name, runtime, func(t *testing.T, level confine.Level) {
		t.Helper()
		p.naked(t)
		s := newScene(t)
		a := newArena(t, level, runtime, p.attack, s.args, change{grants: p.grants, shelf: &shelf{perms: p.grants}})
		neighbour, _ := a.Instance("neighbour")
		a.villain.Config = []byte(encode(t, map[string]string{"attack": p.attack, "args": encode(t, s.with(neighbour.PID, p.args))}))
		a.ready()
		told, err := a.collect()
		must(t, err)
		if len(told) == 0 {
			t.Fatal("the villain tried nothing")
		}
		for _, x := range told {
			if x.OK && p.lets[x.Means] == "" {
				t.Errorf("level %s does not stop %q: %s", level, x.Means, x.Value)
			}
			t.Logf("%s: %v %s %s", x.Means, x.OK, x.Value, x.Error)
		}
		if n := s.heard.Load(); n > 0 {
			t.Errorf("%d connections or datagrams came", n)
		}
		if p.cap != "" {
			a.refused(p.cap)
		}
		if p.then != nil {
			p.then(a, s, told)
		}
		if why := p.unheard[runtime]; why != "" {
			a.unheard(why)
		} else {
			a.audited(p.audit[runtime]...)
		}
		a.untouched()
	})
}

func (p probe) naked(t *testing.T) {
	t.Helper()
	if p.rootful && os.Geteuid() != 0 {
		return // level A has shown it
	}
	s := newScene(t)
	told := naked(t, p.attack, s.with(s.victim(), p.args))
	if !slices.ContainsFunc(told, func(x attempt) bool { return x.OK }) {
		t.Fatalf("with nothing around it the attack fails too, so the test shows nothing: %+v", told)
	}
	if p.hears && s.heard.Load() == 0 {
		t.Fatal("nobody heard of the attack, so the test shows nothing")
	}
}

// refused checks that the host noted a refusal.
func (a *arena) refused(capability string) {
	a.t.Helper()
	e, err := a.Explain("villain")
	must(a.t, err)
	for _, u := range e.Used {
		if u.Count > 0 {
			a.t.Errorf("the host allowed %s %s", u.Cap, u.Detail)
		}
		if u.Cap == capability && u.Denied > 0 && u.LastRefusal != "" {
			return
		}
	}
	a.t.Errorf("the host did not note that it refused %s: %+v", capability, e.Used)
}

// nameOf is the attack that a test is about: TestAttackReadFileWASM is about ReadFile.
func nameOf(t *testing.T) string {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(t.Name(), "TestAttack"), "/")
	return strings.TrimSuffix(strings.TrimSuffix(name, "Process"), "WASM")
}

const (
	process = pluginhost.RuntimeProcess
	wasm    = pluginhost.RuntimeWASM
)

// both is the same in a process and in a guest.
func both(lines ...line) map[string][]line { return map[string][]line{process: lines, wasm: lines} }

// inside is why nobody hears what a guest tries.
var inside = map[string]string{wasm: "it never leaves the guest"}

var (
	readFile = probe{attack: "read-file", cap: sdk.CapFSRead, audit: map[string][]line{
		process: {{"plugin.call", "past their folders"}, {"plugin.permission", "fs.read /etc/shadow"}}, wasm: {{"plugin.permission", "fs.read /etc/shadow"}},
	}}
	writeFile = probe{attack: "write-file", then: sceneIsWhole, unheard: inside, audit: map[string][]line{
		process: {{"plugin.call", "the mode, owner, time or marks of a file"}},
	}}
	fillDisk  = probe{attack: "fill-disk", unheard: inside, audit: map[string][]line{process: {{"plugin.limit", "files: its folder in memory is full"}}}}
	fillState = probe{attack: "fill-state", then: nothingEscaped, audit: both(line{"plugin.limit", "state: "})}
	tcp       = probe{attack: "tcp", hears: true, cap: sdk.CapNetDial, audit: map[string][]line{
		process: {{"plugin.permission", "net.dial tcp"}, {"plugin.permission", "net.listen tcp"}, {"plugin.call", "a socket for the network (IPv4)"}, {"plugin.call", "vsock"}},
		wasm:    {{"plugin.permission", "net.dial tcp"}},
	}}
	udp = probe{attack: "udp", hears: true, cap: sdk.CapNetDial, audit: map[string][]line{
		process: {{"plugin.permission", "net.dial udp"}, {"plugin.call", "a socket for the network (IPv4)"}}, wasm: {{"plugin.permission", "net.dial udp"}},
	}}
	dns = probe{attack: "dns", hears: true, cap: sdk.CapNetDial, audit: map[string][]line{
		process: {{"plugin.permission", "secret.attack.test"}, {"plugin.call", "a socket for the network (IPv4)"}}, wasm: {{"plugin.permission", "secret.attack.test"}},
	}}
	unixSocket = probe{attack: "unix-socket", hears: true, cap: sdk.CapUnixConnect, audit: map[string][]line{
		process: {{"plugin.permission", "unix.connect"}, {"plugin.call", "tried to connect a socket"}, {"plugin.call", "Unix datagrams"}}, wasm: {{"plugin.permission", "unix.connect"}},
	}}
	raw = probe{attack: "raw", rootful: true, audit: map[string][]line{process: {
		{"plugin.call", "a socket for raw packets of the network"}, {"plugin.call", "a socket for packets"}, {"plugin.call", "a socket for netlink"}, {"plugin.permission", "net.raw"},
	}}}
	environ = probe{attack: "environment", aimed: true, audit: both(line{"plugin.permission", "/environ"})}
	execute = probe{attack: "exec", then: stillRuns, unheard: inside, audit: map[string][]line{
		process: {{"plugin.call", "tried to run a program"}, {"plugin.call", "a file in memory"}},
	}}
)

func calls(says string) map[string][]line { return map[string][]line{process: {{"plugin.call", says}}} }

func TestAttackReadFileProcess(t *testing.T) { readFile.run(t, process) }
func TestAttackReadFileWASM(t *testing.T)    { readFile.run(t, wasm) }

// A plugin for the machine's figures sees the host's mounts, and must read no more than what they are about.
func TestAttackReadFileWithHostViewProcess(t *testing.T) {
	p := readFile
	p.grants = []sdk.Permission{{Cap: sdk.CapHostMetrics}}
	p.run(t, process)
}

func TestAttackWriteFileProcess(t *testing.T) { writeFile.run(t, process) }
func TestAttackWriteFileWASM(t *testing.T)    { writeFile.run(t, wasm) }
func TestAttackWriteFileWithHostViewProcess(t *testing.T) {
	p := writeFile
	p.grants = []sdk.Permission{{Cap: sdk.CapHostMetrics}}
	p.run(t, process)
}

func TestAttackFillDiskProcess(t *testing.T)   { fillDisk.run(t, process) }
func TestAttackFillDiskWASM(t *testing.T)      { fillDisk.run(t, wasm) }
func TestAttackFillStateProcess(t *testing.T)  { fillState.run(t, process) }
func TestAttackFillStateWASM(t *testing.T)     { fillState.run(t, wasm) }
func TestAttackTCPProcess(t *testing.T)        { tcp.run(t, process) }
func TestAttackTCPWASM(t *testing.T)           { tcp.run(t, wasm) }
func TestAttackUDPProcess(t *testing.T)        { udp.run(t, process) }
func TestAttackUDPWASM(t *testing.T)           { udp.run(t, wasm) }
func TestAttackDNSProcess(t *testing.T)        { dns.run(t, process) }
func TestAttackDNSWASM(t *testing.T)           { dns.run(t, wasm) }
func TestAttackUnixSocketProcess(t *testing.T) { unixSocket.run(t, process) }
func TestAttackUnixSocketWASM(t *testing.T)    { unixSocket.run(t, wasm) }
func TestAttackRawSocketProcess(t *testing.T)  { raw.run(t, process) }
func TestAttackEnvironmentProcess(t *testing.T) {
	environ.run(t, process)
}
func TestAttackEnvironmentWASM(t *testing.T) { environ.run(t, wasm) }
func TestAttackExecProcess(t *testing.T)     { execute.run(t, process) }
func TestAttackExecWASM(t *testing.T)        { execute.run(t, wasm) }

func TestAttackSignalProcess(t *testing.T) {
	for _, signal := range []string{"0", "9"} {
		p := probe{attack: "signal", args: map[string]string{"signal": signal}, then: stillRuns, lets: map[string]string{
			"everybody": "alone in its process namespace it finds nobody",
		}, audit: calls("tried to signal another process")}
		if signal == "0" {
			p.naked(t)
			continue
		}
		p.run(t, process)
	}
}

func TestAttackPtraceProcess(t *testing.T) {
	probe{attack: "ptrace", then: stillRuns, audit: calls("tried to trace another process")}.run(t, process)
}

func TestAttackReadMemoryProcess(t *testing.T) {
	probe{attack: "memory", then: stillRuns, audit: calls("read its memory")}.run(t, process)
}

// A connection that was granted is the host's: the plugin holds one end of a pair that leads nowhere else.
func TestAttackReaimProcess(t *testing.T) {
	levels(t, nameOf(t), process, func(t *testing.T, level confine.Level) {
		t.Helper()
		reached, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		defer reached.Close()
		allowed := map[string]string{"allowed": reached.LocalAddr().String()}
		s := newScene(t)
		if naked(t, "reaim", s.with(0, allowed)); s.heard.Load() == 0 {
			t.Fatal("with nothing around it the attack fails too, so the test shows nothing")
		}
		s = newScene(t)
		_, port, _ := net.SplitHostPort(allowed["allowed"])
		grants := []sdk.Permission{{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"127.0.0.1:" + port}, "proto": {"udp"}}}}
		a := newArena(t, level, process, "reaim", s.with(0, allowed), change{grants: grants, shelf: &shelf{perms: grants}, config: func(c *pluginhost.Config) {
			c.Ceiling = ceiling(t, "permissions: [{cap: net.dial}]\n")
		}})
		a.ready()
		told, err := a.collect()
		must(t, err)
		dialled := false
		for _, x := range told {
			t.Logf("%s: %v %s %s", x.Means, x.OK, x.Value, x.Error)
			if x.Means == "host: dial what is allowed" {
				dialled = x.OK
			} else if x.OK && !strings.HasPrefix(x.Means, "send elsewhere") { // a pair takes no address: what counts is who hears
				t.Errorf("level %s does not stop %q: %s", level, x.Means, x.Value)
			}
		}
		if !dialled {
			t.Error("it cannot dial what it may, so the rest shows nothing")
		}
		if n := s.heard.Load(); n > 0 {
			t.Errorf("%d datagrams came", n)
		}
		a.audited(line{"plugin.call", "tried to connect a socket (connect)"})
		a.untouched()
	})
}

func TestAttackForkProcess(t *testing.T) {
	probe{attack: "fork", then: stillRuns, audit: calls("make a process")}.run(t, process)
}

func TestAttackDescriptorsProcess(t *testing.T) {
	probe{attack: "descriptors", args: map[string]string{"n": "3000"}, then: stillRuns, audit: map[string][]line{process: {{"plugin.limit", "open_files"}}}}.run(t, process)
}

func TestAttackNamespacesProcess(t *testing.T) {
	probe{attack: "namespaces", rootful: true, then: stillRuns, audit: map[string][]line{process: {{"plugin.call", "namespaces or mounts"}, {"plugin.call", "change the machine"}}}}.run(t, process)
}

// The youngest of several filters that tell somebody decides what becomes of a call: one of the plugin's own would take the
// host's place.
func TestAttackOwnFilterProcess(t *testing.T) {
	probe{attack: "own-filter", then: stillRuns, audit: map[string][]line{process: {
		{"plugin.call", "tried to put a filter of its own over its calls"},
	}}}.run(t, process)
}

// sceneIsWhole: nothing in the scene was changed, and nothing new is there.
func sceneIsWhole(a *arena, s *scene, _ []attempt) {
	a.t.Helper()
	text, err := os.ReadFile(s.args["path"])
	if err != nil || string(text) != "a secret of this machine" {
		a.t.Errorf("the file is %q now, %v", text, err)
	}
	entries, err := os.ReadDir(s.folder)
	must(a.t, err)
	for _, e := range entries {
		if !slices.Contains([]string{"secret", "victim", "u", "g"}, e.Name()) {
			a.t.Errorf("there is %s now", e.Name())
		}
	}
	for _, name := range []string{"/villain", "/etc/villain", "/usr/villain", "/dev/villain"} {
		if _, err := os.Lstat(name); err == nil {
			a.t.Errorf("there is %s now", name)
		}
	}
}

// nothingEscaped: no file of the state lies outside of its folder.
func nothingEscaped(a *arena, s *scene, _ []attempt) {
	a.t.Helper()
	for dir := s.folder; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, s.args["escape"])); err == nil {
			a.t.Errorf("a key of the state became a file in %s", dir)
		}
	}
}

// stillRuns: the villain itself is as it was, so it became nothing else and nobody else ended either.
func stillRuns(a *arena, _ *scene, _ []attempt) {
	a.t.Helper()
	time.Sleep(50 * time.Millisecond)
	if st, _ := a.Instance("villain"); st.State != pluginhost.Ready || st.Restarts > 0 {
		a.t.Errorf("the villain is %s (%s) after %d restarts", st.State, st.Reason, st.Restarts)
	}
}
