package process

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	rest := " S 1 2 3 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 12345 1000000 25 18446744073709551615 1 1 0 0 0"
	for _, c := range []struct {
		text, name string
		ok         bool
	}{
		{"7 (bash)" + rest, "bash", true},
		{"7 (a) R 1 (b)" + rest, "a) R 1 (b", true},
		{"7 ((sd-pam))" + rest, "(sd-pam)", true},
		{"7 (bell\x07\n\xff)" + rest, "bell?", true},
		{"7 ()" + rest, "", false},
		{"7 (bash", "", false},
		{"7 bash)", "", false},
		{"7 (bash) S 1", "", false},
		{"7 (bash)" + strings.Replace(rest, " 150 ", " -150 ", 1), "", false},
		{"", "", false},
	} {
		p, ok := parseStat([]byte(c.text), 4096)
		if ok != c.ok || ok && p.name != c.name {
			t.Errorf("%q: %+v, %v", c.text, p, ok)
		}
		if ok && (p.cpu != 2 || p.started != 123.45 || p.memory != 25*4096 || p.state != "sleeping") {
			t.Errorf("%q: %+v", c.text, p)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (bash) S 1 2 3 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 12345 1000000 25 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, ok := parseStat(text, 4096)
		if ok && (p.name == "" || len(p.name) > maxName || p.cpu < 0 || p.memory < 0 || p.started < 0 || math.IsInf(p.cpu, 0)) {
			t.Errorf("%+v", p)
		}
	})
}

// TestAgainstPS starts programs and compares with what ps says of them.
func TestAgainstPS(t *testing.T) {
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("needs ps (Debian package procps)")
	}
	dir := t.TempDir()
	const secret, long = "hunter2-is-the-password", "a-program-with-a-long-name"
	program := filepath.Join(dir, long)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, program); err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		cmd := exec.Command(program, "60")
		cmd.Env = append(os.Environ(), "SECRET="+secret)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)); strings.HasPrefix(long, strings.TrimSpace(string(comm))) {
				break // it is past its exec
			}
		}
		return cmd
	}
	first := start()
	c := New()
	plugintest.Configure(t, c, fmt.Sprintf(`{"top": 50, "watched": ["a-program-with-a-long*", "%s 6?", "no-such-program"]}`, program))
	if err := c.Start(t.Context(), &clock{now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	c.now = time.Now
	collect := func() recorder {
		got := recorder{}
		if err := c.Collect(t.Context(), sdk.CollectRequest{}, got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := collect()
	got.want(t, "process.watched.count{a-program-with-a-long*}", 1)
	got.want(t, "process.watched.count{"+program+" 6?}", 1)
	got.want(t, "process.watched.count{no-such-program}", 0)
	got.want(t, "process.watched.restarts{a-program-with-a-long*}", 0)

	_ = first.Process.Kill()
	_ = first.Wait()
	time.Sleep(20 * time.Millisecond) // a start is counted in hundredths of a second
	start()
	got = collect()
	got.want(t, "process.watched.count{a-program-with-a-long*}", 1)
	got.want(t, "process.watched.restarts{a-program-with-a-long*}", 1)

	compared := 0
	for key, s := range got {
		for name, value := range s.Labels {
			if strings.Contains(value, secret) || strings.Contains(value, dir) && name != "process.executable.name" {
				t.Errorf("%s tells %q", key, value)
			}
		}
		pid := s.Labels["process.pid"]
		if s.Metric != "process.uptime" || pid == "" {
			continue
		}
		out, err := exec.Command("ps", "-o", "etimes=,uid=", "-p", pid).Output()
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(out))
		seconds, err := strconv.ParseFloat(f[0], 64)
		if err != nil || math.Abs(s.Value-seconds) > 3 || s.Labels["process.user.id"] != f[1] {
			t.Errorf("%s = %v of user %s, ps says %s", key, s.Value, s.Labels["process.user.id"], out)
		}
		compared++
	}
	t.Logf("%d processes compared with ps", compared)
	var all float64
	for _, state := range []string{"running", "sleeping", "stopped", "defunct"} {
		all += got["system.process.count{"+state+"}"].Value
	}
	if entries, err := filepath.Glob("/proc/[0-9]*"); err != nil || math.Abs(all-float64(len(entries))) > 50 {
		t.Errorf("%v processes, /proc has %d", all, len(entries))
	}
}

// TestHungCommandLine reads a command line that does not come: a pipe in its place.
func TestHungCommandLine(t *testing.T) {
	s := newSource()
	s.root = t.TempDir()
	if err := os.Mkdir(filepath.Join(s.root, "7"), 0o755); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(s.root, "7", "cmdline")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	p := process{pid: 7, name: "fifteen-letters"}
	if name, command := s.names(t.Context(), p, true); name != p.name || command != "" {
		t.Errorf("%q, %q", name, command)
	}
	if s.hung == nil {
		t.Fatal("nothing says that the reading hangs")
	}
	waiting := s.hung
	s.names(t.Context(), p, true) // nobody waits for it again
	if s.hung != waiting {
		t.Error("a second reading was begun")
	}
	if err := os.WriteFile(pipe, []byte("/bin/fifteen-letters-and-more\x00x\x00"), 0); err != nil {
		t.Fatal(err)
	}
	<-waiting
	if err := os.Remove(pipe); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pipe, []byte("/bin/fifteen-letters-and-more\x00x\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if name, command := s.names(t.Context(), p, true); name != "fifteen-letters-and-more" || command != "/bin/fifteen-letters-and-more x" {
		t.Errorf("after it came back: %q, %q", name, command)
	}
}

func BenchmarkCollect(b *testing.B) {
	c := New()
	plugintest.Configure(b, c, `{"watched": ["sleep"]}`)
	if err := c.Start(b.Context(), &clock{now: time.Now()}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := c.Collect(b.Context(), sdk.CollectRequest{}, discard{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(c.known)), "processes")
}

type discard struct{}

func (discard) Sample(sdk.Sample) error { return nil }
