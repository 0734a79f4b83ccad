package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/disk"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/host") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/host"), sdktest.Options{})
}

// clock is a host of which the collector may use nothing but the time.
type clock struct {
	sdk.Host
	now time.Time
}

func (c *clock) Now() time.Time { return c.now }

var startOfTest = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// recorder gathers samples by "metric{label=value,...}".
type recorder map[string]sdk.Sample

func (r recorder) Sample(s sdk.Sample) error {
	key := seriesKey(s)
	if _, twice := r[key]; twice {
		return fmt.Errorf("%s was emitted twice", key)
	}
	r[key] = s
	return nil
}

func seriesKey(s sdk.Sample) string {
	var labels []string
	for name, value := range s.Labels {
		labels = append(labels, name+"="+value)
	}
	sort.Strings(labels)
	return s.Metric + "{" + strings.Join(labels, ",") + "}"
}

// machine returns a started collector of the made-up machine in testdata/<name>.
func machine(t *testing.T, name, config string) (*Collector, *clock) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the made-up machines have a Linux /proc")
	}
	c := New()
	root := filepath.Join("testdata", name)
	c.env = common.EnvMap{
		common.HostProcEnvKey: filepath.Join(root, "proc"),
		common.HostSysEnvKey:  filepath.Join(root, "sys"),
	}
	c.usage = func(_ context.Context, path string) (*disk.UsageStat, error) {
		return &disk.UsageStat{Path: path, Total: 1000, Used: 600, Free: 350, InodesTotal: 10, InodesUsed: 4, InodesFree: 6}, nil
	}
	plugintest.Configure(t, c, config)
	clk := &clock{now: startOfTest}
	if err := c.Start(t.Context(), clk); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c, clk
}

func collect(t *testing.T, c *Collector) (recorder, error) {
	t.Helper()
	r := recorder{}
	err := c.Collect(t.Context(), sdk.CollectRequest{}, r)
	return r, err
}

// A case is a folder: the files of a made-up machine, a configuration, and the series it must give. The numbers of
// testdata/plain were worked out by hand; PICKET_UPDATE=1 writes new ones, to be looked at.
func TestCases(t *testing.T) {
	for _, name := range []string{"plain", "nothing"} {
		t.Run(name, func(t *testing.T) {
			c, clk := machine(t, name, "{}")
			busyFor(c, 1, 3)
			clk.now = clk.now.Add(500 * time.Millisecond)
			got, err := collect(t, c)
			if err != nil {
				t.Fatal(err)
			}
			for key, s := range got {
				if !s.Time.Equal(clk.now) {
					t.Errorf("%s has the time %v", key, s.Time)
				}
			}
			compare(t, filepath.Join("testdata", name, "want.json"), got)
		})
	}
}

// busyFor makes the collector believe that since its last reading the processors were busy and idle for some seconds.
func busyFor(c *Collector, user, idle float64) {
	prev := c.cpu.last["cpu-total"]
	prev.User -= user
	prev.Idle -= idle
	c.cpu.last["cpu-total"] = prev
}

// series is a sample without what differs from run to run.
type series struct {
	Value float64        `json:"value"`
	Unit  string         `json:"unit"`
	Type  sdk.MetricType `json:"type"`
}

func compare(t *testing.T, name string, samples recorder) {
	t.Helper()
	got := map[string]series{}
	for key, s := range samples {
		got[key] = series{math.Round(s.Value*1e6) / 1e6, s.Unit, s.Type}
	}
	if os.Getenv("PICKET_UPDATE") != "" {
		text, err := json.MarshalIndent(got, "", "  ")
		if err == nil {
			err = os.WriteFile(name, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]series
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestMissingHardwareIsLeftOut(t *testing.T) {
	c, _ := machine(t, "nothing", `{}`)
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	for key := range got {
		for _, absent := range []string{"system.paging.usage", "system.paging.utilization", "system.disk.", "system.network.", "system.filesystem.", "system.cpu.physical", "hw."} {
			if strings.HasPrefix(key, absent) {
				t.Errorf("%s = %v, though the machine has none", key, got[key].Value)
			}
		}
	}
	if _, ok := got["system.memory.limit{}"]; !ok {
		t.Error("what the machine has is missing too")
	}
}

func TestHungMountStallsNothingElse(t *testing.T) {
	c, _ := machine(t, "plain", `{"timeout": "2s"}`)
	var asked atomic.Int32
	revive := make(chan struct{})
	healthy := c.usage
	c.usage = func(ctx context.Context, path string) (*disk.UsageStat, error) {
		if path == "/mnt/dead" {
			asked.Add(1)
			<-revive // as statfs does: no deadline reaches it
		}
		return healthy(ctx, path)
	}

	got, err := collect(t, c)
	if err == nil || !strings.Contains(err.Error(), "filesystem: /mnt/dead: no answer in time") {
		t.Errorf("error %v does not name the mount", err)
	}
	if sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("class %s", sdk.ClassOf(err))
	}
	for _, key := range []string{
		"system.memory.limit{}", "system.cpu.load_average.1m{}",
		"system.filesystem.limit{system.device=/dev/sda1,system.filesystem.mode=rw,system.filesystem.mountpoint=/,system.filesystem.type=ext4}",
	} {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is missing", key)
		}
	}

	// The mount is not asked again, and nobody waits for it again, while the first question hangs.
	if _, err := collect(t, c); err == nil || !strings.Contains(err.Error(), "/mnt/dead: still waiting for the reading begun at 2026-03-01T12:00:00Z") {
		t.Errorf("second collection: %v", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the mount was asked %d times", n)
	}

	close(revive)
	deadline := time.Now().Add(20 * time.Second)
	for {
		got, err = collect(t, c)
		if err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("after the mount came back: %v", err)
	}
	if _, ok := got["system.filesystem.limit{system.device=server:/export,system.filesystem.mode=rw,system.filesystem.mountpoint=/mnt/dead,system.filesystem.type=nfs4}"]; !ok {
		t.Error("after the mount came back it is still not measured")
	}
}

func TestHungSectionStallsNothingElse(t *testing.T) {
	c, _ := machine(t, "plain", `{"sections": ["memory", "load"], "timeout": "100ms"}`)
	hang := make(chan struct{})
	c.sections = append(c.sections, section{"stuck", func(context.Context, *samples) error { <-hang; return nil }})
	got, err := collect(t, c)
	if err == nil || !strings.Contains(err.Error(), "stuck: no answer in time") {
		t.Errorf("error %v", err)
	}
	if len(got) == 0 {
		t.Error("the other sections gave nothing")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Stop(ctx); err == nil {
		t.Error("Stop did not say that a reading is still under way")
	}
	close(hang)
}

func TestFailedSectionIsNamed(t *testing.T) {
	c, _ := machine(t, "plain", `{"sections": ["memory", "disk"]}`)
	c.env[common.HostProcEnvKey] = filepath.Join("testdata", "no such folder")
	_, err := collect(t, c)
	if err == nil || !strings.Contains(err.Error(), "memory:") || !strings.Contains(err.Error(), "disk:") {
		t.Errorf("error %v", err)
	}
}

func TestSinkErrorEndsTheCollection(t *testing.T) {
	c, _ := machine(t, "plain", `{"sections": ["memory"]}`)
	full := errors.New("full")
	if err := c.Collect(t.Context(), sdk.CollectRequest{}, refuse{full}); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

func TestCancelledCollection(t *testing.T) {
	c, _ := machine(t, "plain", `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Collect(ctx, sdk.CollectRequest{}, recorder{}); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), ":") {
		t.Errorf("error %v", err)
	}
}

type refuse struct{ err error }

func (r refuse) Sample(sdk.Sample) error { return r.err }

func TestCPUCountersThatGoBack(t *testing.T) {
	c, clk := machine(t, "plain", `{"sections": ["cpu"]}`)
	prev := c.cpu.last["cpu-total"]
	prev.Iowait += 5 // the kernel's iowait may fall
	prev.User -= 1
	c.cpu.last["cpu-total"] = prev
	clk.now = clk.now.Add(time.Second)
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if v := got["system.cpu.utilization{cpu.mode=iowait}"].Value; v != 0 {
		t.Errorf("iowait = %v", v)
	}
	if v := got["system.cpu.utilization{cpu.mode=user}"].Value; v != 1 {
		t.Errorf("user = %v", v)
	}
}

func TestNoUtilizationWithoutTime(t *testing.T) {
	c, clk := machine(t, "plain", `{"sections": ["cpu"]}`)
	clk.now = clk.now.Add(time.Second) // time passed, and no processor time did
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	for key := range got {
		if strings.HasPrefix(key, "system.cpu.utilization") {
			t.Errorf("%s without any change", key)
		}
	}
}

func TestPerCPU(t *testing.T) {
	c, _ := machine(t, "plain", `{"sections": ["cpu"], "per_cpu": true}`)
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if v := got["system.cpu.time{cpu.logical_number=1,cpu.mode=user}"].Value; v != 0.4 {
		t.Errorf("user time of processor 1 = %v", v)
	}
	if _, ok := got["system.cpu.time{cpu.mode=user}"]; ok {
		t.Error("the sum is there as well: adding up the series would count twice")
	}
}

func TestChoices(t *testing.T) {
	for _, c := range []struct{ what, config, has, hasNot string }{
		{"loopback when asked for", `{"sections": ["network"], "interfaces": {"include": ["lo"], "exclude": []}}`, "=lo,", "=eth0,"},
		{"partitions when asked for", `{"sections": ["disk"], "partitions": true}`, "=sda1}", "=loop0}"},
		{"no partitions", `{"sections": ["disk"]}`, "=sda}", "=sda1}"},
		{"mount points by pattern", `{"sections": ["filesystem"], "filesystems": {"mounts": {"include": ["/mnt/c*"]}}}`, "mountpoint=/mnt/cd rom,", "mountpoint=/,"},
		{"types by pattern", `{"sections": ["filesystem"], "filesystems": {"types": {"exclude": ["nfs*"]}}}`, "mountpoint=/tmp,", "mountpoint=/mnt/dead,"},
		{"bind mount once", `{"sections": ["filesystem"]}`, "mountpoint=/,", "mountpoint=/mnt/again,"},
	} {
		t.Run(c.what, func(t *testing.T) {
			col, _ := machine(t, "plain", c.config)
			got, err := collect(t, col)
			if err != nil {
				t.Fatal(err)
			}
			keys := make([]string, 0, len(got))
			for key := range got {
				keys = append(keys, key)
			}
			all := strings.Join(keys, "\n")
			if !strings.Contains(all, c.has) || strings.Contains(all, c.hasNot) {
				t.Errorf("want %q and not %q in\n%s", c.has, c.hasNot, all)
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{"sections": []}`, `{"sections": ["cpu", "cpu"]}`, `{"sections": ["gpu"]}`, `{"timeout": "1ms"}`, `{"disk": {}}`,
	} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// What is emitted, on whatever system, is declared in the manifest and told in the README.
func TestMetricsAreDeclared(t *testing.T) {
	declared := plugintest.ReadManifest(t).Metrics
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := machine(t, "plain", `{}`)
	busyFor(c, 1, 3)
	c.cpu.at = time.Time{}
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	emitted := map[string]bool{}
	for _, s := range got {
		emitted[s.Metric] = true
	}
	for metric := range emitted {
		if !slices.Contains(declared, metric) {
			t.Errorf("plugin.yaml does not name %s", metric)
		}
		base := metric[strings.LastIndex(metric, "."):]
		if !strings.Contains(string(readme), "`"+metric+"`") && !strings.Contains(string(readme), "`"+base+"`") {
			t.Errorf("README.md does not name %s", metric)
		}
	}
	for _, metric := range declared {
		if !emitted[metric] {
			t.Errorf("plugin.yaml names %s, which the made-up machine does not give", metric)
		}
	}
}
