package host

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/shirou/gopsutil/v4/common"
	"golang.org/x/sys/unix"
)

// TestAgainstProc reads this machine's /proc by itself before and after a collection: each counter must lie between.
func TestAgainstProc(t *testing.T) {
	c := New()
	plugintest.Configure(t, c, `{"interfaces": {"exclude": []}, "disks": {"exclude": []}}`)
	if err := c.Start(t.Context(), &clock{now: startOfTest}); err != nil {
		t.Fatal(err)
	}
	before := readProc(t)
	got, err := collect(t, c)
	after := readProc(t)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for key, low := range before {
		s, ok := got[key]
		if !ok {
			t.Errorf("%s is in /proc and was not emitted", key)
			continue
		}
		compared++
		high := after[key]
		if s.Type == sdk.Gauge && low > high {
			low, high = high, low
		}
		if s.Value < low || s.Value > high {
			t.Errorf("%s = %v, while /proc said %v before and %v after", key, s.Value, low, high)
		}
	}
	t.Logf("%d series compared, %d emitted", compared, len(got))
	if compared < 10 {
		t.Errorf("only %d series compared", compared)
	}
}

// readProc reads in the plainest way what the collector reads through its library.
func readProc(t *testing.T) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	stat := strings.Fields(firstLine(t, "/proc/stat"))
	for i, mode := range []string{"user", "nice", "system", "idle"} {
		out["system.cpu.time{cpu.mode="+mode+"}"] = parse(t, stat[1+i]) / 100
	}
	for line := range lines(t, "/proc/meminfo") {
		if f := strings.Fields(line); f[0] == "MemTotal:" {
			out["system.memory.limit{}"] = parse(t, f[1]) * 1024
		}
	}
	load := strings.Fields(firstLine(t, "/proc/loadavg"))
	out["system.cpu.load_average.15m{}"] = parse(t, load[2])
	uptime, _, _ := strings.Cut(firstLine(t, "/proc/uptime"), " ")
	out["system.uptime{}"] = parse(t, uptime)
	for line := range lines(t, "/proc/net/dev") {
		name, counters, ok := strings.Cut(line, ":")
		if f := strings.Fields(counters); ok {
			labels := "{network.interface.name=" + strings.TrimSpace(name) + ",network.io.direction="
			out["system.network.io"+labels+"receive}"] = parse(t, f[0])
			out["system.network.io"+labels+"transmit}"] = parse(t, f[8])
		}
	}
	for line := range lines(t, "/proc/diskstats") {
		f := strings.Fields(line)
		if _, err := os.Stat("/sys/class/block/" + f[2] + "/partition"); err == nil || f[3] == "0" {
			continue
		}
		out["system.disk.io{disk.io.direction=write,system.device="+f[2]+"}"] = parse(t, f[9]) * 512
	}
	var root unix.Statfs_t
	if err := unix.Statfs("/", &root); err != nil {
		t.Fatal(err)
	}
	for line := range lines(t, "/proc/self/mountinfo") {
		f := strings.Fields(line)
		if dash := slices.Index(f, "-"); f[4] == "/" && strings.HasPrefix(f[dash+2], "/dev/") && f[dash+2] != "/dev/root" {
			labels := "{system.device=" + f[dash+2] + ",system.filesystem.mode=rw,system.filesystem.mountpoint=/,system.filesystem.type=" + f[dash+1] + "}"
			out["system.filesystem.limit"+labels] = float64(root.Blocks) * float64(root.Bsize)
		}
	}
	return out
}

func parse(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func lines(t *testing.T, name string) func(yield func(string) bool) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Lines(string(b))
}

func firstLine(t *testing.T, name string) string {
	t.Helper()
	for line := range lines(t, name) {
		return strings.TrimSpace(line)
	}
	return ""
}

// TestAgainstNodeExporter reads the /proc that Prometheus's node_exporter keeps for its tests and compares with what
// that program says of it.
func TestAgainstNodeExporter(t *testing.T) {
	shared := filepath.Join("..", "..", "..", "..", "shared", "data", "hostsamples", "proc-sys", "node_exporter")
	if _, err := os.Stat(shared); err != nil {
		t.Skipf("the shared samples are not here: %v", err)
	}
	want := nodeExporter(t, filepath.Join(shared, "e2e-output.txt.gz"))
	c, _ := machine(t, "plain", `{"sections": ["memory", "disk", "load"], "disks": {"exclude": []}, "partitions": true}`)
	c.env = common.EnvMap{common.HostProcEnvKey: filepath.Join(shared, "proc"), common.HostSysEnvKey: filepath.Join("testdata", "none")}
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for key, s := range got {
		theirs := nodeExporterName(s)
		v, ok := want[theirs]
		if theirs == "" || !ok {
			continue
		}
		compared++
		if diff := s.Value - v; diff > 1e-6*v || diff < -1e-6*v {
			t.Errorf("%s = %v, node_exporter says %v for %s", key, s.Value, v, theirs)
		}
	}
	t.Logf("%d series compared", compared)
	if compared < 50 {
		t.Errorf("only %d series compared", compared)
	}
}

func nodeExporterName(s sdk.Sample) string {
	device := s.Labels["system.device"]
	in := s.Labels["disk.io.direction"] == "read"
	pick := func(whenIn, whenOut string) string {
		if in {
			return whenIn + `{device="` + device + `"}`
		}
		return whenOut + `{device="` + device + `"}`
	}
	switch s.Metric {
	case "system.memory.limit":
		return "node_memory_MemTotal_bytes"
	case "system.cpu.load_average.1m":
		return "node_load1"
	case "system.cpu.load_average.15m":
		return "node_load15"
	case "system.disk.io":
		return pick("node_disk_read_bytes_total", "node_disk_written_bytes_total")
	case "system.disk.operations":
		return pick("node_disk_reads_completed_total", "node_disk_writes_completed_total")
	case "system.disk.operation_time":
		return pick("node_disk_read_time_seconds_total", "node_disk_write_time_seconds_total")
	case "system.disk.merged":
		return pick("node_disk_reads_merged_total", "node_disk_writes_merged_total")
	case "system.disk.io_time":
		return pick("", "node_disk_io_time_seconds_total")
	}
	return ""
}

var expositionLine = regexp.MustCompile(`^(node_\w+(?:\{[^}]*\})?) (\S+)$`)

func nodeExporter(t *testing.T, name string) map[string]float64 {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for sc := bufio.NewScanner(z); sc.Scan(); {
		if m := expositionLine.FindStringSubmatch(sc.Text()); m != nil {
			out[m[1]] = parse(t, m[2])
		}
	}
	return out
}
