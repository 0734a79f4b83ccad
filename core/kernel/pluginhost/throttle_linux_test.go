package pluginhost

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// What a process owes is counted, not timed: the clock of this test is its own.
func TestShareOfTheProcessor(t *testing.T) {
	for _, c := range []struct {
		name    string
		cores   float64
		threads float64 // that never wait
		rests   bool
		share   float64 // how much of its share it gets in the end, at most
	}{
		{"no limit", 0, 8, false, 0},
		{"below its share", 0.5, 0.25, false, 0},
		{"exactly its share", 0.5, 0.5, false, 0},
		{"one core, allowed a half", 0.5, 1, true, 1.05},
		{"four cores, allowed one", 1, 4, true, 1.05},
		{"four cores, allowed a tenth", 0.1, 4, true, 1.1},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, used, rests, next := time.Unix(0, 0), time.Duration(0), 0, guardEvery
			s := newShare(c.cores, now)
			for range 4000 {
				now, used, next = now.Add(next), used+time.Duration(c.threads*float64(next)), guardEvery
				if rest := s.owes(now, used); rest > 0 {
					if rest > longRest+time.Millisecond {
						t.Fatalf("rests for %s at once", rest)
					}
					now, next = now.Add(rest), guardSoon
					rests++
				}
			}
			if (rests > 0) != c.rests {
				t.Fatalf("%d rests", rests)
			}
			if got := used.Seconds() / now.Sub(time.Unix(0, 0)).Seconds() / c.cores; c.rests && got > c.share {
				t.Errorf("it got %.2f times its share", got)
			}
		})
	}
}

func TestPauseAndResume(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it is killed
	defer killGroup(cmd.Process.Pid)
	state := func(want byte) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[0][0]; got == want {
				return
			} else if time.Now().After(end) {
				t.Fatalf("its state is %c, want %c", got, want)
			}
		}
	}
	pauseGroup(cmd.Process.Pid)
	state('T')
	resumeGroup(cmd.Process.Pid)
	state('S')
}

// A plugin that takes more than its share is held back and goes on living, whether a control group holds it or the host.
func TestAPluginIsHeldToItsShare(t *testing.T) {
	for name, here := range map[string]bool{"by whatever there is": false, "by the host": true} {
		t.Run(name, func(t *testing.T) {
			f := upgradable(t, map[string]string{"1.1.0": "busy"}, func(c *Config) { c.ration = here })
			a := versionedAssignment("busy", "versioned/collector", "1.1.0")
			a.Limits.CPU = 0.05 // less than what a machine full of other work gives it
			f.apply(a)
			before := f.untilState("busy", Ready)
			for range 40 { // each round needs 0.2 s of the processor, whatever the machine
				if _, err := f.collect("busy"); err != nil {
					t.Fatal(err)
				}
				if st, _ := f.Instance("busy"); st.Ledger.ThrottledSeconds > 0 {
					if st.PID != before.PID {
						t.Error("it was killed for it")
					}
					return
				}
			}
			t.Error("it used the processor for as long as it liked")
		})
	}
}
