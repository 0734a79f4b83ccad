package attack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/event"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// crime is an attack that the host ends by ending the villain.
type crime struct {
	attack string
	args   map[string]string
	naked  func(t *testing.T, s *scene, args map[string]string) // shows that it works with nothing around it
	change change
	act    func(a *arena) // Collect when nil
	says   []string       // one of these is the reason that the operator reads
	then   func(a *arena) // what else must hold
	detect bool           // the villain is a detector
	blind  bool           // which was granted nothing
	start  bool           // it attacks before it is ready
	audit  []line         // what the audit log says; when nil, one of says, and when empty, nothing
}

func (c crime) run(t *testing.T, runtime string) {
	t.Helper()
	name := nameOf(t)
	levels(t, name, runtime, func(t *testing.T, level confine.Level) {
		t.Helper()
		s := newScene(t)
		args := s.with(0, c.args)
		if c.naked != nil {
			c.naked(t, s, args)
		}
		ch := c.change
		if c.detect {
			ch.id = "attack/villain-detector"
			if !c.blind {
				ch.grants = []sdk.Permission{{Cap: sdk.CapFlowsRead}}
			}
			if ch.shelf == nil {
				ch.shelf = &shelf{}
			}
			ch.shelf.perms = ch.grants
		}
		a := newArena(t, level, runtime, c.attack, args, ch)
		if c.start {
			a.release()
		} else {
			st := a.ready()
			defer func() {
				if !t.Failed() {
					gone(a, st.PID)
				}
			}()
		}
		switch {
		case c.act != nil:
			c.act(a)
		case c.detect:
			if err := a.inspect(nil); err == nil {
				t.Error("the call came back without an error")
			}
		case !c.start:
			if _, err := a.collect(); err == nil {
				t.Error("the call came back without an error")
			}
		}
		if c.says != nil {
			st := a.reason(c.says...)
			t.Logf("%s: %s", st.State, st.Reason)
		}
		if c.then != nil {
			c.then(a)
		}
		switch {
		case len(c.audit) > 0:
			a.audited(c.audit...)
		case c.audit != nil: // nothing was refused
		case c.says != nil:
			a.auditedAny(c.says...)
		case len(auditsOf(t)) == 0:
			t.Error("the test does not say what the audit log should")
		}
		a.untouched()
	})
}

// gone checks that the process of the villain has ended.
func gone(a *arena, pids ...int) {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				a.t.Fatalf("process %d is still there", pid)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

type findings struct{ list []sdk.Finding }

func (f *findings) Finding(v sdk.Finding) error { f.list = append(f.list, v); return nil }

func (a *arena) inspect(sink *findings) error {
	if sink == nil {
		sink = &findings{}
	}
	flows := make([]sdk.Flow, 10)
	for i := range flows {
		flows[i].ID, flows[i].Start = uint64(i+1), time.Unix(int64(i), 0).UTC()
		flows[i].End = flows[i].Start.Add(time.Second)
	}
	for _, d := range a.Detectors() {
		if d.Instance() == "villain" {
			return d.Inspect(a.t.Context(), "capture", records.AppendFlows(nil, flows), sink)
		}
	}
	a.t.Fatal("no detector")
	return nil
}

// startNaked starts an attack as a program like any other, which ends with the test.
func startNaked(t *testing.T, attack string, args map[string]string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "villain"), "naked", attack, encode(t, args))
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, out
}

// goesOn shows that a program is still there after a while, using the processor.
func goesOn(attack string) func(*testing.T, *scene, map[string]string) {
	return func(t *testing.T, _ *scene, args map[string]string) {
		t.Helper()
		cmd, _ := startNaked(t, attack, args)
		time.Sleep(time.Second)
		if !alive(cmd.Process.Pid) {
			t.Fatal("with nothing around it the attack ends by itself")
		}
		_ = cmd.Process.Kill() // it has shown it, and would slow down what is measured next
		_ = cmd.Wait()
	}
}

// succeeds shows that an attack of attempts works with nothing around it.
func succeeds(attack string) func(*testing.T, *scene, map[string]string) {
	return func(t *testing.T, _ *scene, args map[string]string) {
		t.Helper()
		for _, x := range naked(t, attack, args) {
			if x.OK {
				return
			}
		}
		t.Fatal("with nothing around it the attack fails too, so the test shows nothing")
	}
}

// --- loops ---

func shortDeadlines(c *pluginhost.Config) {
	d := &c.Deadlines
	d.Collect, d.Inspect, d.Drain = time.Second, time.Second, time.Second
}

func TestAttackLoopInCollectProcess(t *testing.T) { loopInCollect.run(t, process) }
func TestAttackLoopInCollectWASM(t *testing.T)    { loopInCollect.run(t, wasm) }
func TestAttackLoopInInspectProcess(t *testing.T) { loopInInspect.run(t, process) }
func TestAttackLoopInInspectWASM(t *testing.T)    { loopInInspect.run(t, wasm) }
func TestAttackLoopInStopProcess(t *testing.T)    { loopInStop.run(t, process) }
func TestAttackLoopInStopWASM(t *testing.T)       { loopInStop.run(t, wasm) }

var (
	loopInCollect = crime{attack: "loop-collect", naked: goesOn("loop-collect"), change: change{config: shortDeadlines}, says: []string{"did not answer Collect within 1s"}}
	loopInInspect = crime{attack: "loop-inspect", naked: goesOn("loop-collect"), change: change{config: shortDeadlines}, says: []string{"did not answer Inspect within 1s"}, detect: true}
	loopInStop    = crime{attack: "loop-stop", naked: goesOn("loop-collect"), change: change{config: shortDeadlines}, act: takeAway, audit: []line{{"plugin.killed", "did not stop within 1s"}}}
)

// takeAway unassigns the villain, which is asked to stop.
func takeAway(a *arena) {
	a.t.Helper()
	st, _ := a.Instance("villain")
	must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
	gone(a, st.PID)
	a.reason("") // draining
	deadline := time.Now().Add(patience)
	for {
		if _, there := a.Instance("villain"); !there {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatal("the instance is still there")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAttackIgnoreSIGTERMProcess(t *testing.T) {
	crime{attack: "ignore-sigterm", change: change{config: shortDeadlines}, audit: []line{{"plugin.killed", "did not stop within 1s"}}, act: func(a *arena) {
		a.t.Helper()
		_, err := a.collect()
		must(a.t, err)
		st, _ := a.Instance("villain")
		must(a.t, syscall.Kill(st.PID, syscall.SIGTERM))
		time.Sleep(100 * time.Millisecond)
		takeAway(a)
	}, naked: func(t *testing.T, _ *scene, args map[string]string) {
		t.Helper()
		cmd, _ := startNaked(t, "ignore-sigterm", args)
		time.Sleep(300 * time.Millisecond)
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		time.Sleep(300 * time.Millisecond)
		if !alive(cmd.Process.Pid) {
			t.Fatal("with nothing around it, it ends by SIGTERM")
		}
	}}.run(t, process)
}

// --- memory, threads ---

func small(l registry.Limits) change { return change{shelf: &shelf{limits: l}} }

func TestAttackAllocateProcess(t *testing.T) {
	crime{attack: "allocate", naked: succeeds("allocate"), change: small(registry.Limits{Memory: "96Mi"}), says: []string{"memory", "signal 9"}}.run(t, process)
}

func TestAttackAllocateWASM(t *testing.T) {
	crime{attack: "allocate", naked: succeeds("allocate"), change: small(registry.Limits{Memory: "96Mi"}), says: []string{"out of memory", "memory"}}.run(t, wasm)
}

func TestAttackThreadsProcess(t *testing.T) {
	crime{attack: "threads", args: map[string]string{"n": "2000"}, naked: succeeds("threads"), says: []string{"thread", "exited with status 2", "memory"}}.run(t, process)
}

// --- floods ---

func TestAttackFloodLogsProcess(t *testing.T) { floodLogs.run(t, process) }
func TestAttackFloodLogsWASM(t *testing.T)    { floodLogs.run(t, wasm) }

var floodLogs = crime{attack: "flood-logs", naked: func(t *testing.T, _ *scene, args map[string]string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "villain"), "naked", "flood-logs", encode(t, args))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Run())
	if n := bytes.Count(stderr.Bytes(), []byte("\n")); n < 100_000 {
		t.Fatalf("with nothing around it only %d lines come out", n)
	}
}, act: func(a *arena) {
	a.t.Helper()
	if _, err := a.collect(); err != nil {
		a.t.Logf("the call ended with %v", err)
	}
	st := a.until("villain", "dropped lines", func(s pluginhost.Status) bool {
		return s.Ledger.LogDropped > 0 || slices.ContainsFunc(s.LogTail, func(l pluginhost.LogLine) bool { return strings.Contains(l.Text, "lines of the plugin were dropped") })
	})
	size := 0
	for _, l := range st.LogTail {
		size += len(l.Text)
	}
	if size > 1<<20 {
		a.t.Errorf("the host keeps %d bytes of its lines", size)
	}
	a.audited(line{"plugin.limit", "log_lines_per_second"})
	must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
}}

func TestAttackFloodRecordsProcess(t *testing.T) { floodRecords.run(t, process) }
func TestAttackFloodRecordsWASM(t *testing.T)    { floodRecords.run(t, wasm) }

var floodRecords = crime{attack: "flood-records", naked: succeeds("flood-records"), change: small(registry.Limits{RecordsPerSecond: 1000}), act: func(a *arena) {
	a.t.Helper()
	var sink samples
	began := time.Now()
	err := a.collectInto(&sink)
	took := time.Since(began).Seconds()
	if err == nil || !strings.Contains(err.Error(), "records a second") && !strings.Contains(err.Error(), "died") {
		a.t.Errorf("the call ended with %v", err)
	}
	a.t.Logf("%d records passed in %.1f s: %v", sink.n, took, err)
	if float64(sink.n) > 1100*(took+1) {
		a.t.Errorf("%d records passed in %.1f s with a limit of 1000 a second", sink.n, took)
	}
	st, _ := a.Instance("villain")
	if st.Ledger.Dropped == 0 {
		a.t.Errorf("the ledger counts no dropped record: %+v", st.Ledger)
	}
	a.audited(line{"plugin.limit", "more than 1000 records a second"})
	must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
}}

// --- the record plane and the broker ---

// wrote shows that the villain really sends those bytes: naked, they go to whoever reads its output.
func wrote(attack string) func(*testing.T, *scene, map[string]string) {
	return func(t *testing.T, _ *scene, args map[string]string) {
		t.Helper()
		out, err := exec.Command(filepath.Join(programs, "villain"), "naked", attack, encode(t, args)).Output()
		if err != nil || len(out) == 0 {
			t.Fatalf("it wrote %d bytes, %v", len(out), err)
		}
	}
}

func planes(t *testing.T, messages ...string) {
	t.Helper()
	// All of them belong to one attack: one cell of the table, and none may pass.
	for _, m := range messages {
		t.Run(strings.ReplaceAll(m, " ", "-"), func(t *testing.T) {
			crime{attack: "plane", args: map[string]string{"message": m}, naked: wrote("plane"), act: func(a *arena) {
				_, _ = a.collect() // whether the answer or the end comes first is a matter of luck
			}, says: []string{"broke the rules of the record plane"}}.run(t, process)
		})
	}
}

func TestAttackMalformedMessagesProcess(t *testing.T) {
	planes(t, "garbage", "magic", "type", "flags", "reserved", "hello twice", "direction", "ring", "bad frame", "short samples")
}

func TestAttackOversizedMessagesProcess(t *testing.T) {
	planes(t, "too long", "four gigabytes", "many samples")
}

func TestAttackOutOfOrderMessagesProcess(t *testing.T) {
	planes(t, "unasked result", "result gap", "sample gap", "channel", "no credit")
}

func TestAttackBrokerNonsenseProcess(t *testing.T) {
	for _, m := range []string{"garbage", "no id", "negative", "long", "largest", "deep"} {
		t.Run(strings.ReplaceAll(m, " ", "-"), func(t *testing.T) {
			crime{attack: "broker", args: map[string]string{"message": m}, naked: wrote("broker"), act: func(a *arena) {
				_, _ = a.collect()
			}, says: []string{"broke the protocol of the broker"}}.run(t, process)
		})
	}
}

// openFiles is how many descriptors this process has.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func TestAttackSendDescriptorsProcess(t *testing.T) {
	for _, attack := range []string{"plane-descriptors", "broker-descriptors"} {
		t.Run(attack, func(t *testing.T) {
			before := 0
			crime{attack: attack, act: func(a *arena) {
				a.t.Helper()
				before = openFiles(a.t)
				_, _ = a.collect()
			}, says: []string{"plane", "broker"}, then: func(a *arena) {
				if now := openFiles(a.t); now > before+20 {
					a.t.Errorf("the host had %d descriptors and has %d", before, now)
				}
			}}.run(t, process)
		})
	}
}

func TestAttackFloodBrokerProcess(t *testing.T) {
	crime{attack: "broker-flood", args: map[string]string{"n": "20000"}, naked: wrote("broker-flood"), change: change{config: func(c *pluginhost.Config) {
		c.Deadlines.Collect = 5 * time.Second
	}}, act: func(a *arena) {
		a.t.Helper()
		_, err := a.collect()
		a.t.Logf("the call ended with %v", err)
		e, err := a.Explain("villain")
		must(a.t, err)
		if len(e.Used) > 100 {
			a.t.Errorf("the host tells %d uses apart", len(e.Used))
		}
		for _, u := range e.Used {
			if u.Count > 0 {
				a.t.Errorf("the host allowed %s %s", u.Cap, u.Detail)
			}
		}
		a.audited(line{"plugin.limit", "more than 2000 times a second"}, line{"plugin.permission", "net.dial tcp 203.0.113."})
		must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
	}}.run(t, process)
}

// --- lies ---

func TestAttackLieAboutIdentityProcess(t *testing.T) {
	for id, says := range map[string]string{"attack/bank": "does not serve collector attack/bank", "attack/neighbour-detector": "does not serve detector"} {
		t.Run(strings.ReplaceAll(id, "/", "-"), func(t *testing.T) {
			crime{attack: "nothing", change: change{id: id}, start: true, says: []string{says}}.run(t, process)
		})
	}
}

func TestAttackLieAboutIdentityWASM(t *testing.T) {
	crime{attack: "nothing", change: change{id: "attack/bank"}, start: true, says: []string{"does not serve collector attack/bank"}}.run(t, wasm)
}

// A finding carries the name of the instance's plugin, whatever the plugin writes.
func TestAttackSpeakForAnotherProcess(t *testing.T) { speakForAnother.run(t, process) }
func TestAttackSpeakForAnotherWASM(t *testing.T)    { speakForAnother.run(t, wasm) }

var speakForAnother = crime{attack: "nothing", detect: true, audit: []line{}, act: func(a *arena) {
	a.t.Helper()
	noteAudit(a.t, "– (the name never leaves the plugin)")
	var sink findings
	must(a.t, a.inspect(&sink))
	if len(sink.list) == 0 || sink.list[0].Detector != "attack/villain-detector" {
		a.t.Errorf("the findings say %+v", sink.list)
	}
	must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
}}

// A detector asks for flows and was not granted them: it is shown none, and says something of each batch that it is shown.
func TestAttackReadFlowsProcess(t *testing.T) { readFlows.run(t, process) }
func TestAttackReadFlowsWASM(t *testing.T)    { readFlows.run(t, wasm) }

var readFlows = crime{attack: "nothing", detect: true, blind: true, audit: []line{}, act: func(a *arena) {
	a.t.Helper()
	noteAudit(a.t, "– (they are never sent)")
	var sink findings
	must(a.t, a.inspect(&sink))
	if st, _ := a.Instance("villain"); len(sink.list) != 0 || st.Ledger.Records != 0 {
		a.t.Errorf("it was shown %d records and says %+v", st.Ledger.Records, sink.list)
	}
	must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
}}

// The library cuts what a detector answers; who writes past the library is ended for the length that he announces.
func TestAttackOversizedResultProcess(t *testing.T) {
	t.Run("cut", func(t *testing.T) { oversizedResult.run(t, process) })
	t.Run("by-hand", func(t *testing.T) {
		crime{attack: "oversized-answer", detect: true, says: []string{"RESULT with a body of 209715200 bytes"}}.run(t, process)
	})
}

func TestAttackOversizedResultWASM(t *testing.T) {
	t.Run("cut", func(t *testing.T) { oversizedResult.run(t, wasm) })
	t.Run("by-hand", func(t *testing.T) {
		strange(t, map[string][]byte{"200-MiB": bigGuest(fine, answer(0, 200<<20))}, "plugin.crash", "the guest answers with 209715200 bytes, at most")
	})
}

var oversizedResult = crime{attack: "oversized-result", detect: true, audit: []line{}, act: func(a *arena) {
	a.t.Helper()
	var sink findings
	err := a.inspect(&sink)
	size := 0
	for _, f := range sink.list {
		size += len(f.Summary)
	}
	a.t.Logf("%d findings with %d bytes, %v", len(sink.list), size, err)
	if size > 20<<20 {
		a.t.Errorf("the host took %d bytes", size)
	}
	must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
}}

func TestAttackLieAboutVersionProcess(t *testing.T) {
	for mood, says := range map[string]string{"version": "ncompatible", "protocol": "speaks protocol 99", "elsewhere": "not in its folder", "silent": "timeout", "plane": "record plane"} {
		t.Run(mood, func(t *testing.T) {
			crime{attack: "nothing", start: true, change: change{shelf: &shelf{mood: mood}, config: func(c *pluginhost.Config) { c.Deadlines.Start = 2 * time.Second }},
				says: []string{says}, act: func(a *arena) {
					st := a.until("villain", "not to start", func(s pluginhost.Status) bool {
						return s.State == pluginhost.Backoff || s.State == pluginhost.Refused || s.State == pluginhost.Quarantined
					})
					a.t.Logf("%s: %s", st.State, st.Reason)
				}}.run(t, process)
		})
	}
}

// What a plugin may do follows from the schema that was signed. A program that shows another does not run.
func TestAttackLieAboutSchemaProcess(t *testing.T) { lieAboutSchema(t, process) }
func TestAttackLieAboutSchemaWASM(t *testing.T)    { lieAboutSchema(t, wasm) }

func lieAboutSchema(t *testing.T, runtime string) {
	t.Helper()
	schema := json.RawMessage(`{"type":"object","properties":{"attack":{"type":"string","default":"192.0.2.1"},"args":{"type":"string"}}}`)
	dial := sdk.Permission{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"${config.attack}"}, "proto": {"tcp"}}}
	crime{attack: "nothing", start: true, change: change{shelf: &shelf{perms: []sdk.Permission{dial}, schema: schema}, grants: []sdk.Permission{dial}}, act: func(a *arena) {
		a.t.Helper()
		a.villain.Config = []byte(`{"args":"{}"}`)
		a.release()
		st := a.until("villain", "permissions", func(s pluginhost.Status) bool {
			return len(s.Permissions) == 1 && s.Permissions[0].Args["to"][0] == "192.0.2.1"
		})
		a.t.Log(st.Permissions)
		a.until("villain", "refused", func(s pluginhost.Status) bool { return s.State == pluginhost.Refused && s.PID == 0 })
		a.audited(line{"plugin.refused", "the program shows another schema of its configuration than the one that was signed"})
		must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
	}}.run(t, runtime)
}

// --- the end of the host ---

// playHost runs a villain and a neighbour, lets the villain attack, says who they are and waits to be killed.
func playHost(text string) {
	var args struct {
		Dir, Attack, Runtime string
		Level                confine.Level
		Args                 map[string]string
	}
	err := json.Unmarshal([]byte(text), &args)
	encoded, _ := json.Marshal(args.Args)
	cfg, _ := json.Marshal(map[string]string{"attack": args.Attack, "args": string(encoded)})
	var h *pluginhost.Host
	var log *auditor
	bus := event.New[pluginhost.Status]()
	if err == nil {
		log, _, err = startAuditor(bus)
	}
	mood := ""
	if args.Attack == "linger" {
		mood = "deaf"
	}
	if err == nil {
		h, err = pluginhost.New(pluginhost.Config{Dir: args.Dir, Helpers: programs, Registry: &shelf{mood: mood}, Ceiling: policy.Default(), MostLevel: args.Level, Events: bus,
			Deadlines: pluginhost.Deadlines{Compile: 2 * time.Minute, Configure: time.Minute}})
	}
	if err == nil {
		err = h.Apply(context.Background(), []pluginhost.Assignment{
			{Instance: "villain", Plugin: "attack/villain", Runtime: args.Runtime, Config: cfg},
			{Instance: "neighbour", Plugin: "attack/neighbour", Runtime: process},
		})
	}
	for _, i := range []string{"villain", "neighbour"} {
		if err == nil {
			err = h.WaitReady(context.Background(), i)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	v, _ := h.Instance("villain")
	n, _ := h.Instance("neighbour")
	for _, c := range h.Collectors() {
		if c.Instance() != "villain" {
			continue
		}
		var sink samples
		if strings.HasPrefix(args.Attack, "loop") {
			go func() { _ = c.Collect(context.Background(), sdk.CollectRequest{Time: time.Now()}, &sink) }()
			time.Sleep(300 * time.Millisecond)
		} else {
			if err := c.Collect(context.Background(), sdk.CollectRequest{Time: time.Now()}, &sink); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		if args.Attack == "linger" {
			time.Sleep(500 * time.Millisecond) // it closes its ears
		}
		for _, s := range sink.list {
			fmt.Fprintln(os.Stderr, s.Labels["means"], s.Value, s.Labels["error"])
		}
	}
	fmt.Println(v.PID, n.PID)
	for range 500 { // what it tried before is on the disk by the time that the host dies
		list, err := log.entries("attack/villain")
		if err != nil || len(list) > 0 || args.Attack != "linger" {
			for _, e := range list {
				fmt.Println(e.Action, e.Detail)
			}
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println(".")
	select {}
}

// outlive kills a host and looks for what is left after two seconds.
func outlive(t *testing.T, attack, runtime string, args map[string]string) {
	t.Helper()
	levels(t, nameOf(t), runtime, func(t *testing.T, level confine.Level) {
		t.Helper()
		nakedOutlives(t)
		dir, err := os.MkdirTemp("", "h") //nolint:usetesting // the path of a socket has a bound
		must(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		if runtime == wasm {
			shareCache(t, dir)
		}
		text := encode(t, map[string]any{"Dir": dir, "Attack": attack, "Runtime": runtime, "Level": level, "Args": args})
		host := exec.Command(filepath.Join(programs, "attack.test"))
		host.Env = append(os.Environ(), programsEnv+"="+programs, playHostEnv+"="+text)
		var stderr bytes.Buffer
		host.Stderr = &stderr
		out, err := host.StdoutPipe()
		must(t, err)
		must(t, host.Start())
		defer func() { _ = host.Process.Kill(); _ = host.Wait() }()
		var villain, neighbour int
		said := bufio.NewReader(out)
		if _, err := fmt.Fscanln(said, &villain, &neighbour); err != nil {
			t.Fatalf("the host did not start: %v\n%s", err, &stderr)
		}
		log := ""
		for line, err := "", error(nil); line != ".\n"; log += line {
			if line, err = said.ReadString('\n'); err != nil {
				t.Fatalf("the host did not go on: %v\n%s", err, &stderr)
			}
		}
		t.Logf("audit log: %s", log)
		switch {
		case attack != "linger":
			noteAudit(t, "– (the host is gone)")
		case !strings.Contains(log, "plugin.call villain on this server: it tried to outlive its host (prctl)"):
			t.Errorf("the audit log says %q", log)
		default:
			noteAudit(t, "plugin.call")
		}
		all := append(family(villain), neighbour)
		t.Logf("the villain is %d, its processes and threads are %v\n%s", villain, all, &stderr)
		for _, pid := range all {
			if !alive(pid) {
				t.Fatalf("process %d is gone before the host is", pid)
			}
		}
		must(t, host.Process.Kill())
		killed := time.Now()
		for _, pid := range all {
			for alive(pid) {
				if time.Since(killed) > 2*time.Second {
					t.Errorf("process %d outlives the host by two seconds", pid)
					_ = unix.Kill(pid, unix.SIGKILL)
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		t.Logf("all gone after %s", time.Since(killed).Round(time.Millisecond))
	})
}

// family is a process and all that is in its process namespace.
func family(pid int) []int {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	list := []int{pid}
	if err != nil {
		return list
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n == pid {
			continue
		}
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/pid"); err == nil && ns == own {
			list = append(list, n)
		}
	}
	return list
}

// nakedOutlives: with nothing around it, a program that was started with a parent-death signal and does all that outlives
// the program that started it.
func nakedOutlives(t *testing.T) {
	t.Helper()
	pidFile := filepath.Join(t.TempDir(), "pid")
	script := fmt.Sprintf(`%q naked linger '{}' >/dev/null 2>&1; %q naked sleep >/dev/null 2>&1 & echo $! > %q; sleep 60`, filepath.Join(programs, "villain"), filepath.Join(programs, "villain"), pidFile)
	parent := exec.Command("/bin/sh", "-c", script)
	must(t, parent.Start())
	deadline := time.Now().Add(patience)
	var pid int
	for pid == 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
		data, _ := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	time.Sleep(200 * time.Millisecond)
	if pid == 0 || !alive(pid) {
		t.Fatalf("with nothing around it, process %d goes with its parent", pid)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

func TestAttackOutliveHostProcess(t *testing.T) {
	outlive(t, "linger", process, map[string]string{"fork": "yes"})
}

func TestAttackOutliveHostInALoopProcess(t *testing.T) { outlive(t, "loop-collect", process, nil) }
func TestAttackOutliveHostInALoopWASM(t *testing.T)    { outlive(t, "loop-collect", wasm, nil) }
