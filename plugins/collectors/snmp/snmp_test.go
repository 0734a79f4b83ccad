package snmp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/plugins/internal/snmp/snmptest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/snmp") }

func TestConformance(t *testing.T) {
	a := snmptest.New(t)
	a.Put(t, "lab", strings.NewReader(device))
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(configFor(a.Address, ""))})
}

func configFor(address, more string) string {
	if !strings.Contains(more, "timeout") {
		more += `, "timeout": "200ms"`
	}
	return fmt.Sprintf(`{"targets": [%q], "access": {"community": "lab"}, "retries": 0%s}`, address, more)
}

// device is one with something of everything.
const device = `
1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.9.1.1208
1.3.6.1.2.1.1.3.0|67|360000
1.3.6.1.2.1.2.2.1.2.1|4|Gi0/1
1.3.6.1.2.1.2.2.1.2.2|4|Gi0/2
1.3.6.1.2.1.2.2.1.2.3|4|Gi0/3
1.3.6.1.2.1.2.2.1.2.4|4|lo
1.3.6.1.2.1.2.2.1.5.1|66|4294967295
1.3.6.1.2.1.2.2.1.5.2|66|100000000
1.3.6.1.2.1.2.2.1.7.1|2|1
1.3.6.1.2.1.2.2.1.7.2|2|1
1.3.6.1.2.1.2.2.1.7.3|2|2
1.3.6.1.2.1.2.2.1.8.1|2|1
1.3.6.1.2.1.2.2.1.8.2|2|1
1.3.6.1.2.1.2.2.1.8.3|2|2
1.3.6.1.2.1.2.2.1.10.1|65|1
1.3.6.1.2.1.2.2.1.10.2|65|4294967000
1.3.6.1.2.1.2.2.1.11.2|65|10
1.3.6.1.2.1.2.2.1.12.2|65|3
1.3.6.1.2.1.2.2.1.14.1|65|7
1.3.6.1.2.1.31.1.1.1.1.1|4|Gi0/1
1.3.6.1.2.1.31.1.1.1.6.1|70|9000000000000
1.3.6.1.2.1.31.1.1.1.15.1|66|10000
1.3.6.1.2.1.31.1.1.1.18.1|4|to the roof
1.3.6.1.2.1.25.2.3.1.2.1|6|1.3.6.1.2.1.25.2.1.2
1.3.6.1.2.1.25.2.3.1.3.1|4|RAM
1.3.6.1.2.1.25.2.3.1.4.1|2|1024
1.3.6.1.2.1.25.2.3.1.5.1|2|2000
1.3.6.1.2.1.25.2.3.1.6.1|2|500
1.3.6.1.2.1.25.2.3.1.2.2|6|1.3.6.1.2.1.25.2.1.4
1.3.6.1.2.1.25.2.3.1.3.2|4|/
1.3.6.1.2.1.25.2.3.1.4.2|2|4096
1.3.6.1.2.1.25.2.3.1.5.2|2|-2147483648
1.3.6.1.2.1.25.2.3.1.6.2|2|1073741824
1.3.6.1.2.1.25.3.3.1.2.1|2|42
1.3.6.1.2.1.33.1.2.1.0|2|2
1.3.6.1.2.1.33.1.2.3.0|2|30
1.3.6.1.2.1.33.1.2.4.0|2|97
1.3.6.1.2.1.33.1.4.4.1.5.1|2|12
1.3.6.1.2.1.43.10.2.1.4.1.1|65|1234
1.3.6.1.2.1.43.11.1.1.6.1.1|4|Black
1.3.6.1.2.1.43.11.1.1.8.1.1|2|200
1.3.6.1.2.1.43.11.1.1.9.1.1|2|50
1.3.6.1.2.1.43.11.1.1.6.1.2|4|Waste
1.3.6.1.2.1.43.11.1.1.8.1.2|2|-2
1.3.6.1.2.1.43.11.1.1.9.1.2|2|-3
1.3.6.1.2.1.47.1.1.1.1.7.1001|4|Inlet
1.3.6.1.2.1.99.1.1.1.1.1001|2|8
1.3.6.1.2.1.99.1.1.1.2.1001|2|9
1.3.6.1.2.1.99.1.1.1.3.1001|2|1
1.3.6.1.2.1.99.1.1.1.4.1001|2|235
1.3.6.1.2.1.99.1.1.1.5.1001|2|1
1.3.6.1.2.1.99.1.1.1.1.1002|2|4
1.3.6.1.2.1.99.1.1.1.2.1002|2|8
1.3.6.1.2.1.99.1.1.1.3.1002|2|0
1.3.6.1.2.1.99.1.1.1.4.1002|2|3300
1.3.6.1.2.1.99.1.1.1.5.1002|2|1
1.3.6.1.2.1.99.1.1.1.1.1003|2|8
1.3.6.1.2.1.99.1.1.1.4.1003|2|20
1.3.6.1.2.1.99.1.1.1.5.1003|2|2
1.3.6.1.4.1.9.9.48.1.1.1.2.1|4|Processor
1.3.6.1.4.1.9.9.48.1.1.1.5.1|66|50
1.3.6.1.4.1.9.9.48.1.1.1.6.1|66|150
1.3.6.1.4.1.9.9.109.1.1.1.1.7.1|66|8
1.3.6.1.4.1.12356.101.4.1.3.0|66|99
1.3.6.1.4.1.2021.10.1.2.1|4|Load-1
1.3.6.1.4.1.2021.10.1.5.1|2|125
`

// sink gathers samples as "metric{labels}" without the target.
type sink map[string]float64

func (s sink) Sample(v sdk.Sample) error {
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(v.Labels)) {
		if k != "snmp.target" && k != "hw.type" {
			labels = append(labels, v.Labels[k])
		}
	}
	key := v.Metric + "{" + strings.Join(labels, " ") + "}"
	if _, twice := s[key]; twice {
		return fmt.Errorf("%s is there twice", key)
	}
	s[key] = v.Value
	return nil
}

func collect(t *testing.T, c *Collector) sink {
	t.Helper()
	s := sink{}
	if err := c.Collect(t.Context(), sdk.CollectRequest{}, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDevice(t *testing.T) {
	a := snmptest.New(t)
	a.Put(t, "lab", strings.NewReader(device))
	c := New()
	plugintest.Start(t, c, configFor(a.Address, ""))
	have := collect(t, c)
	for key, want := range map[string]float64{
		"snmp.up{}": 1, "snmp.complete{}": 1, "snmp.uptime{}": 3600,
		"hw.network.io{1 Gi0/1 receive to the roof}": 9e12, "hw.network.bandwidth.limit{1 Gi0/1 to the roof}": 1.25e9, "hw.network.up{1 Gi0/1 to the roof}": 1,
		"hw.errors{all 1 Gi0/1 receive to the roof}": 7, "hw.network.io{2 Gi0/2 receive}": 4294967000, "hw.network.packets{2 Gi0/2 receive}": 13,
		"hw.network.bandwidth.limit{2 Gi0/2}": 12.5e6, "hw.network.up{2 Gi0/2}": 1,
		"snmp.filesystem.limit{2 /}": 1 << 43, "snmp.filesystem.usage{2 /}": 1 << 42, "snmp.filesystem.utilization{2 /}": 0.5,
		"snmp.cpu.utilization{1}": 0.08, "snmp.cpu.load_average.1m{}": 1.25,
		"hw.battery.charge{0}": 0.97, "hw.battery.time_left{0}": 1800, "hw.status{0 ok}": 1, "hw.power.utilization{1}": 0.12,
		"snmp.printer.pages{1.1}": 1234, "snmp.printer.supply{1.1 Black}": 0.25,
		"hw.temperature{1001 Inlet}": 23.5, "hw.voltage{1002}": 3.3,
		"snmp.memory.limit{1 Processor}": 200, "snmp.memory.usage{1 Processor}": 50, "snmp.memory.utilization{1 Processor}": 0.25,
	} {
		if v, ok := have[key]; !ok || v-want > 1e-9 || want-v > 1e-9 {
			t.Errorf("%s: %v %v, want %v", key, v, ok, want)
		}
		delete(have, key)
	}
	delete(have, "snmp.duration{}")
	delete(have, "snmp.requests{}")
	delete(have, "snmp.left_out{}")
	if len(have) > 0 {
		t.Errorf("more than expected: %v", have)
	}
}

// change puts other values into the recording of the device.
func change(values map[string]string) string {
	var out strings.Builder
	for line := range strings.Lines(device) {
		col := strings.Split(strings.TrimSpace(line), "|")
		if v, ok := values[col[0]]; ok {
			line = col[0] + "|" + col[1] + "|" + v + "\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

// A counter of 32 bits goes on when it begins anew, also beyond a restart of the plugin, and goes back with the device.
func TestCounters(t *testing.T) {
	const (
		octets = "hw.network.io{2 Gi0/2 receive}"
		in     = "1.3.6.1.2.1.2.2.1.10.2"
		up     = "1.3.6.1.2.1.1.3.0"
	)
	a := snmptest.New(t)
	a.Put(t, "lab", strings.NewReader(device))
	c := New()
	h := plugintest.Start(t, c, configFor(a.Address, ""))
	see := func(want float64, values map[string]string) {
		t.Helper()
		a.Put(t, "lab", strings.NewReader(change(values)))
		h.Time = h.Time.Add(time.Minute)
		if have := collect(t, c)[octets]; have != want {
			t.Errorf("%.0f, want %.0f", have, want)
		}
	}
	see(4294967000, nil)
	see(turn+100, map[string]string{in: "100", up: "366000"})
	see(2*turn+50, map[string]string{in: "50", up: "372000"})

	restarted := New()
	plugintest.Configure(t, restarted, configFor(a.Address, ""))
	if err := restarted.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	c = restarted
	see(2*turn+60, map[string]string{in: "60", up: "378000"})
	see(5, map[string]string{in: "5", up: "1000"}) // the device was started again
	see(turn+1, map[string]string{in: "1", up: "7000"})
}

// A counter that visits did not come to, because they were cut short, goes on where it was; so does one that they did not come to since
// the plugin was started again. One that is gone is forgotten.
func TestCountersOutlastVisitsCutShort(t *testing.T) {
	c := New()
	h := plugintest.Start(t, c, configFor("192.0.2.1", ""))
	m := remember(h, "a")
	visit := func(whole bool, want float64, values map[string]uint64) {
		t.Helper()
		m.begin(h.Time, m.uptime+6000)
		sum := 0.0
		for name, n := range values {
			sum += m.follow(name, n, false)
		}
		if m.keep(whole); sum != want {
			t.Errorf("%.0f, want %.0f", sum, want)
		}
	}
	visit(true, 4e9+7, map[string]uint64{"octets": 4e9, "other": 7})
	visit(true, turn+1+7, map[string]uint64{"octets": 1, "other": 7})
	for range 3 {
		visit(false, 7, map[string]uint64{"other": 7})
	}
	visit(false, turn+2, map[string]uint64{"octets": 2})
	m = remember(h, "a")
	visit(false, 7, map[string]uint64{"other": 7})
	visit(false, turn+1, map[string]uint64{"other": 1})
	m = remember(h, "a")
	visit(true, turn+3+turn+1, map[string]uint64{"octets": 3, "other": 1})
	visit(true, turn+1, map[string]uint64{"other": 1})
	visit(true, turn+1, map[string]uint64{"other": 1})
	if len(m.Seen) != 1 {
		t.Errorf("%v is remembered", m.Seen)
	}
}

// One device that has more than all may have together takes nothing from the others, and is named.
func TestGreedyDevice(t *testing.T) {
	greedy, good := snmptest.New(t), snmptest.New(t)
	var b strings.Builder
	b.WriteString("1.3.6.1.2.1.1.3.0|67|360000\n")
	const interfaces = 15_000
	for i := 1; i <= interfaces; i++ {
		fmt.Fprintf(&b, "1.3.6.1.2.1.2.2.1.2.%d|4|port %d\n1.3.6.1.2.1.2.2.1.8.%d|2|1\n1.3.6.1.2.1.31.1.1.1.6.%d|70|0\n", i, i, i, i)
	}
	greedy.Put(t, "lab", strings.NewReader(b.String()))
	good.Put(t, "lab", strings.NewReader(device))
	c := New()
	plugintest.Start(t, c, fmt.Sprintf(`{"targets": [%q, %q], "access": {"community": "lab"}, "max_interfaces": 20000, "timeout": "30s", "concurrency": 1}`, greedy.Address, good.Address))
	count, left := map[string]int{}, 0.0
	err := c.Collect(t.Context(), sdk.CollectRequest{}, each(func(s sdk.Sample) {
		count[s.Labels["snmp.target"]]++
		if s.Metric == "snmp.left_out" {
			left += s.Value
		}
	}))
	most := perCollection/4 + perCollection/4
	if count[greedy.Address] != most || left != 2*interfaces+1+aboutVisit-float64(most) || count[good.Address] < 30 {
		t.Errorf("%v, %v left out", count, left)
	}
	if sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), greedy.Address) || strings.Contains(err.Error(), good.Address) {
		t.Error(err)
	}
}

// The clock of a device begins anew after 497 days, which is no start of it.
func TestUptimeBeginsAnew(t *testing.T) {
	m := &memory{uptime: turn - 3000, at: time.Unix(1000, 0)}
	if m.startedAgain(time.Unix(1060, 0), 3000) {
		t.Error("the clock began anew")
	}
	if !m.startedAgain(time.Unix(1600, 0), 3000) {
		t.Error("the device was started again")
	}
}

// An interface whose counters began from 0 does not count a turn.
func TestDiscontinuity(t *testing.T) {
	a := snmptest.New(t)
	c := New()
	plugintest.Start(t, c, configFor(a.Address, ""))
	for i, want := range []float64{4294967000, 7} {
		a.Put(t, "lab", strings.NewReader(change(map[string]string{"1.3.6.1.2.1.2.2.1.10.2": fmt.Sprint(int(want))})+fmt.Sprintf("1.3.6.1.2.1.31.1.1.1.19.2|67|%d\n", i)))
		if have := collect(t, c)["hw.network.io{2 Gi0/2 receive}"]; have != want {
			t.Errorf("%.0f, want %.0f", have, want)
		}
	}
}

// One device that is silent costs the others nothing, and is told as a measurement.
func TestSilentDevice(t *testing.T) {
	good, silent := snmptest.New(t), snmptest.New(t)
	good.Put(t, "lab", strings.NewReader(device))
	c := New()
	plugintest.Start(t, c, fmt.Sprintf(`{"targets": [%q, %q], "access": {"community": "lab"}, "timeout": "100ms", "retries": 0, "concurrency": 2}`, silent.Address, good.Address))
	var up []string
	err := c.Collect(t.Context(), sdk.CollectRequest{}, each(func(s sdk.Sample) {
		if s.Metric == "snmp.up" || s.Metric == "hw.battery.charge" {
			up = append(up, fmt.Sprintln(s.Labels["snmp.target"] == good.Address, s.Metric, s.Value))
		}
	}))
	slices.Sort(up)
	if want := []string{"false snmp.up 0\n", "true hw.battery.charge 0.97\n", "true snmp.up 1\n"}; err != nil || !slices.Equal(up, want) {
		t.Errorf("%q, %v", up, err)
	}
}

type each func(sdk.Sample)

func (f each) Sample(s sdk.Sample) error { f(s); return nil }

// A device that is too slow for its deadline gives what it said until then.
func TestDeadline(t *testing.T) {
	a := snmptest.New(t)
	a.Put(t, "lab", strings.NewReader(device))
	c := New()
	plugintest.Start(t, c, configFor(a.Address, `, "deadline": "1s", "timeout": "30s"`))
	a.Slow(time.Second)
	have := collect(t, c)
	if have["snmp.up{}"] == 0 && have["snmp.complete{}"] != 0 || len(have) > 7 {
		t.Errorf("%v", have)
	}
}

func TestManyInterfaces(t *testing.T) {
	var b strings.Builder
	b.WriteString("1.3.6.1.2.1.1.3.0|67|360000\n")
	for i := 1; i <= 5000; i++ {
		fmt.Fprintf(&b, "1.3.6.1.2.1.2.2.1.2.%d|4|port %d\n1.3.6.1.2.1.2.2.1.8.%d|2|2\n1.3.6.1.2.1.31.1.1.1.6.%d|70|0\n", i, i, i, i)
	}
	a := snmptest.New(t)
	a.Put(t, "lab", strings.NewReader(b.String()))
	c := New()
	plugintest.Start(t, c, configFor(a.Address, `, "max_interfaces": 20000, "timeout": "5s"`))
	if have := collect(t, c); have["hw.network.up{5000 port 5000}"] != 0 || len(have) != 5000+6 || have["snmp.complete{}"] != 1 {
		t.Errorf("%d samples", len(have))
	}
	t.Logf("%d requests", a.Requests())
}

func TestConfig(t *testing.T) {
	for text, want := range map[string]string{
		`{"targets": ["a", "a:161"], "access": {}}`:      "there twice",
		`{"targets": ["a b"], "access": {}}`:             "targets[0]",
		`{"targets": ["a"], "access": {"version": "3"}}`: "access.user",
		`{"targets": ["192.0.2.1"], "access": {}}`:       "",
	} {
		if err := plugintest.Decode(New(), text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestSNMPD measures a real Net-SNMP with version 3.
func TestSNMPD(t *testing.T) {
	program, err := exec.LookPath("snmpd")
	if err != nil {
		t.Skip("there is no snmpd (apt-get install snmpd)")
	}
	dir, port := t.TempDir(), plugintest.FreePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if err := os.WriteFile(filepath.Join(dir, "snmpd.conf"), []byte("createUser watch SHA-256 authauthauth AES privprivpriv\nrouser watch priv\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "-f", "-Lf", filepath.Join(dir, "log"), "-C", "-c", filepath.Join(dir, "snmpd.conf"), "udp:"+address)
	cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	start := func(password, more string) *Collector {
		c := New()
		plugintest.Start(t, c, fmt.Sprintf(`{"targets": [%q], "access": {"version": "3", "user": "watch", "auth_password": %q, "priv_password": "privprivpriv"},
			"interfaces": {"exclude": []}, "timeout": "1s", "retries": 0%s}`, address, password, more))
		return c
	}
	c := start("authauthauth", "")
	var have sink
	for range 20 { // until it listens
		if have = collect(t, c); have["snmp.up{}"] == 1 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if have["snmp.up{}"] != 1 || have["snmp.complete{}"] != 1 || have["hw.network.up{1 lo}"] != 1 {
		t.Fatalf("%v", have)
	}
	err = start("wrongwrong", "").Collect(t.Context(), sdk.CollectRequest{}, sink{})
	if sdk.ClassOf(err) != sdk.InvalidConfig || !strings.Contains(err.Error(), "auth_password") || errors.Is(err, context.Canceled) {
		t.Errorf("with a wrong password: %v", err)
	}
}
