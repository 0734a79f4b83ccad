package attack

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
)

var update = flag.Bool("update", false, "write the table of docs/threat-model.md")

const page = "../../docs/threat-model.md"

// cell is what became of one attack in one runtime at one level.
type cell struct {
	Attack, Runtime string
	Level           confine.Level
	OK, Skipped     bool
	Audit           []string // what the audit log said of it
}

func (c cell) file() string {
	return filepath.Join(programs, "results", c.Attack+"-"+c.Runtime+"-"+string(c.Level))
}

// record writes down what becomes of the test, for the page. Of several tests of one attack every one must pass.
func record(t *testing.T, attack, runtime string, level confine.Level) {
	t.Helper()
	t.Cleanup(func() {
		c := cell{attack, runtime, level, !t.Failed() && !t.Skipped(), t.Skipped(), auditsOf(t)}
		defer lockResults(t)()
		if before, ok := c.read(); ok {
			if !before.OK {
				return
			}
			for _, text := range before.Audit {
				if !slices.Contains(c.Audit, text) {
					c.Audit = append(c.Audit, text)
				}
			}
		}
		data, err := json.Marshal(c)
		if err == nil {
			err = os.WriteFile(c.file(), data, 0o644) //nolint:gosec // two users read it
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// lockResults keeps two tests of one attack, which may be two processes, from writing at the same time.
func lockResults(t *testing.T) (unlock func()) {
	t.Helper()
	dir, err := os.Open(filepath.Join(programs, "results"))
	if err != nil {
		t.Error(err)
		return func() {}
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Error(err)
	}
	return func() { dir.Close() }
}

func (c cell) read() (cell, bool) {
	data, err := os.ReadFile(c.file())
	if err != nil {
		return c, false
	}
	err = json.Unmarshal(data, &c)
	return c, err == nil
}

// rows are the attacks in the order of the page: what is tried, whether a guest can try it at all, and who says no.
var rows = []struct {
	attack, what  string
	process, wasm bool
	by            string
}{
	{"ReadFile", "read a file outside its grant", true, true, "view, Landlock; broker, which notes it"},
	{"ReadFileWithHostView", "the same with `host.metrics`", true, false, "Landlock; broker, which notes it"},
	{"WriteFile", "write, link, rename, remove outside its state", true, true, "view, Landlock"},
	{"WriteFileWithHostView", "the same with `host.metrics`", true, false, "read-only view, Landlock"},
	{"FillDisk", "fill the disk", true, true, "folders in memory of 8 MiB, watched"},
	{"FillState", "fill its state, keys as paths", true, true, "quota of the broker"},
	{"TCP", "TCP, also by hand, listening", true, true, "no network, filter; broker, which notes it"},
	{"UDP", "UDP", true, true, "no network, filter; broker, which notes it"},
	{"DNS", "carry data out by names", true, true, "broker: a name without grant is never looked up"},
	{"Reaim", "turn a granted connection to another address", true, false, "filter; the host holds the connection, the plugin a pair"},
	{"RawSocket", "raw, packet, netlink sockets", true, false, "filter"},
	{"UnixSocket", "Unix and abstract sockets", true, true, "filter; broker, which notes it"},
	{"Signal", "signal the host or a sibling", true, false, "own process namespace, filter"},
	{"Ptrace", "trace the host or a sibling", true, false, "own process namespace, filter"},
	{"ReadMemory", "read another's memory or descriptors", true, false, "own process namespace, filter"},
	{"Environment", "read another's environment", true, true, "own process namespace; empty environment"},
	{"Exec", "execute a program, itself, a memory file", true, true, "filter, nothing that can be executed"},
	{"Fork", "fork without end", true, false, "filter"},
	{"Threads", "threads without end", true, false, "limit of tasks; it crashes"},
	{"Descriptors", "open files without end", true, false, "limit of open files, watched"},
	{"Namespaces", "new namespaces, mounts, user 0, modules", true, false, "no capabilities, filter"},
	{"OwnFilter", "put a filter of its own over its calls", true, false, "filter"},
	{"Allocate", "allocate without end", true, true, "control group or limit; it is ended"},
	{"LoopInCollect", "loop without end", true, true, "deadline; it is ended"},
	{"LoopInInspect", "loop without end in a batch", true, true, "deadline; it is ended"},
	{"LoopInStop", "loop without end in `Stop`", true, true, "deadline; it is ended"},
	{"LoopAtStart", "loop without end before the first call", false, true, "deadline; it is ended"},
	{"FloodLogs", "flood logs", true, true, "lines a second; the rest is dropped and counted"},
	{"FloodRecords", "flood records", true, true, "records a second; size of an answer"},
	{"OversizedResult", "answer with 200 MiB", true, true, "size of an answer"},
	{"MalformedMessages", "malformed messages of the record plane", true, false, "it is ended"},
	{"OversizedMessages", "oversized messages of the record plane", true, false, "it is ended"},
	{"OutOfOrderMessages", "messages out of order, without credit", true, false, "it is ended"},
	{"BrokerNonsense", "nonsense to the broker", true, false, "it is ended"},
	{"FloodBroker", "flood the broker", true, false, "requests a second"},
	{"SendDescriptors", "send descriptors to the host", true, false, "it is ended"},
	{"UnknownImports", "import a call of the system", false, true, "refused before it runs"},
	{"BadPointers", "bad addresses, lengths, recursion", false, true, "it is ended"},
	{"NoGuest", "be no guest at all", false, true, "refused before it runs"},
	{"OutliveHost", "outlive the host: cancel the signal, ignore the lifeline, new session, fork", true, false, "parent-death signal, kept by the filter"},
	{"OutliveHostInALoop", "outlive the host in a loop", true, true, "parent-death signal"},
	{"IgnoreSIGTERM", "ignore SIGTERM, and the request to stop", true, false, "deadline; it is ended"},
	{"LieAboutIdentity", "be another plugin than the signed one", true, true, "refused"},
	{"SpeakForAnother", "findings in another's name", true, true, "the host writes the name"},
	{"ReadFlows", "flows that it asks for and was not granted", true, true, "the host sends none"},
	{"LieAboutVersion", "another protocol, another address, silence", true, false, "refused or ended"},
	{"LieAboutSchema", "another schema than the signed one", true, true, "refused; the signed one counts"},
	{"ServerGrantsExec", "hostile server: `exec`", true, false, "ceiling; not enforced, so never given"},
	{"ServerGrantsWriting", "hostile server: `fs.write`", true, false, "ceiling; not enforced, so never given"},
	{"ServerGrantsShadow", "hostile server: /etc/shadow, a link to it", true, false, "ceiling; broker"},
	{"ServerDialsMetadata", "hostile server: 169.254.169.254, by name too", true, false, "ceiling; broker"},
	{"ServerPushesUnsigned", "hostile server: unsigned bytes", true, false, "registry"},
}

// auditColumn is what the log calls an attack; what it calls that of a guest stands behind, where that is something else.
func auditColumn(said map[string][]string) string {
	text := func(runtime string) string {
		list := slices.Sorted(slices.Values(said[runtime]))
		for i, a := range list {
			if strings.HasPrefix(a, "plugin.") {
				list[i] = "`" + a + "`"
			}
		}
		return strings.Join(list, ", ")
	}
	p, w := text(process), text(wasm)
	switch {
	case p == "" || p == w:
		return w
	case w == "":
		return p
	}
	return p + "; WASM: " + w
}

var (
	between       = regexp.MustCompile(`(?s)(<!-- attacks begin -->\n).*(<!-- attacks end -->)`)
	betweenWorker = regexp.MustCompile(`(?s)(<!-- worker begin -->\n).*(<!-- worker end -->)`)
)

// workerRows are the attacks by way of a hole in the traffic worker, in the order of the page.
var workerRows = []struct{ attack, what, by string }{
	{"Server", "read the server's keys, data, memory, descriptors; signal it", "view, own process namespace, filter"},
	{"Inherited", "use what it was started with: write to the capture, open it again, find another descriptor", "capture open for reading, nothing else handed on, Landlock, filter"},
	{"ReadFile", "read a file, also by handle, by a mount, by io_uring", "view, Landlock, filter"},
	{"WriteFile", "write, link, rename, remove", "view, Landlock, limit of file size"},
	{"TCP", "TCP, also by hand, listening", "no network, filter"},
	{"UDP", "UDP", "no network, filter"},
	{"UnixSocket", "Unix and abstract sockets", "filter"},
	{"RawSocket", "raw, packet, netlink, XDP sockets", "filter"},
	{"Signal", "signal another process, with SIGKILL", "own process namespace, filter"},
	{"Ptrace", "trace the server or a stranger", "own process namespace, filter"},
	{"ReadMemory", "read another's memory or descriptors", "own process namespace, filter"},
	{"Environment", "read another's environment", "own process namespace; empty environment"},
	{"Exec", "execute a program, itself, a memory file", "filter, nothing that can be executed"},
	{"Fork", "fork without end", "filter"},
	{"Threads", "threads without end", "limit of tasks; its job fails"},
	{"Descriptors", "open files without end", "limit of open files"},
	{"Namespaces", "new namespaces, mounts, user 0, modules", "no capabilities, filter"},
	{"OwnFilter", "put a filter of its own over its calls", "filter"},
}

// workerTable also says whether a row was not shown.
func workerTable() (text string, bad bool) {
	var b strings.Builder
	b.WriteString("| The code in the worker tries to | A | B | Who says no |\n|---|---|---|---|\n")
	for _, r := range workerRows {
		fmt.Fprintf(&b, "| %s |", r.what)
		for _, level := range []confine.Level{confine.LevelA, confine.LevelB} {
			text := "stopped"
			if c, ok := (cell{Attack: r.attack, Runtime: holeRuntime, Level: level}).read(); !ok || !c.OK {
				text, bad = "NOT SHOWN", true
				fmt.Fprintf(os.Stderr, "TestAttackWorker%s, level %s: not passed\n", r.attack, level)
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		fmt.Fprintf(&b, " %s |\n", r.by)
	}
	return b.String(), bad
}

// checkPage compares the page with what was seen, or writes it. A run of some of the tests says nothing about it.
func checkPage() int {
	if run := flag.Lookup("test.run"); run != nil && run.Value.String() != "" || os.Geteuid() != 0 {
		return 0
	}
	bad := 0
	var b strings.Builder
	b.WriteString("| The plugin tries to | process A | process B | WASM A | WASM B | Who says no | Audit log |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r.what)
		said := map[string][]string{}
		for _, column := range []struct {
			runtime string
			there   bool
		}{{process, r.process}, {wasm, r.wasm}} {
			for _, level := range []confine.Level{confine.LevelA, confine.LevelB} {
				text := "no such call"
				if !column.there {
					if r.wasm {
						text = "–"
					}
				} else if c, ok := (cell{Attack: r.attack, Runtime: column.runtime, Level: level}).read(); ok && c.OK && len(c.Audit) > 0 {
					text = "stopped"
					for _, a := range c.Audit {
						if !slices.Contains(said[column.runtime], a) {
							said[column.runtime] = append(said[column.runtime], a)
						}
					}
				} else {
					text = "NOT SHOWN"
					bad = 1
					fmt.Fprintf(os.Stderr, "TestAttack%s, %s, level %s: not passed (skipped: %v)\n", r.attack, column.runtime, level, c.Skipped)
				}
				fmt.Fprintf(&b, " %s |", text)
			}
		}
		fmt.Fprintf(&b, " %s | %s |\n", r.by, auditColumn(said))
	}
	old, err := os.ReadFile(page)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	worker, notShown := workerTable()
	if notShown {
		bad = 1
	}
	want := between.ReplaceAll(old, []byte("${1}"+strings.ReplaceAll(b.String(), "$", "$$")+"${2}"))
	want = betweenWorker.ReplaceAll(want, []byte("${1}"+strings.ReplaceAll(worker, "$", "$$")+"${2}"))
	switch {
	case string(want) == string(old):
	case *update && bad == 0:
		if err := os.WriteFile(page, want, 0o644); err != nil { //nolint:gosec // everybody reads it
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	default:
		fmt.Fprintln(os.Stderr, "docs/threat-model.md does not say what the attacks showed; run: go test ./internal/attack -update")
		bad = 1
	}
	return bad
}
