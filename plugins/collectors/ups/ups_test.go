package ups

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/ups") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/ups"), sdktest.Options{})
}

// recorder gathers values by "metric{labels without the name}".
type recorder map[string]float64

func (r recorder) Sample(s sdk.Sample) error {
	var labels []string
	for name, value := range s.Labels {
		if name != "hw.name" {
			labels = append(labels, strings.TrimPrefix(name, "hw.")+"="+value)
		}
	}
	sort.Strings(labels)
	key := s.Metric + "{" + strings.Join(labels, ",") + "}"
	if _, twice := r[key]; twice {
		return fmt.Errorf("%s was emitted twice", key)
	}
	r[key] = s.Value
	return nil
}

// server answers each line with what stands for it; without an answer it hangs.
func server(t *testing.T, answers map[string]string) *Collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for sc := bufio.NewScanner(conn); sc.Scan(); {
					if _, err := conn.Write([]byte(answers[sc.Text()])); err != nil {
						return
					}
				}
			}()
		}
	}()
	c := New()
	plugintest.Start(t, c, `{"address": "`+l.Addr().String()+`", "timeout": "300ms"}`)
	return c
}

const oneSupply = "BEGIN LIST UPS\nUPS office \"In the cellar\"\nEND LIST UPS\n"

func TestSupply(t *testing.T) {
	c := server(t, map[string]string{"LIST UPS": oneSupply, "LIST VAR office": `BEGIN LIST VAR office
VAR office battery.charge "42"
VAR office battery.runtime "4020"
VAR office battery.voltage "24.0"
VAR office device.model "CP900 \"EPFC\" \\ x"
VAR office input.voltage "n/a"
VAR office ups.load "13"
VAR office ups.status "OB DISCHRG LB"
END LIST VAR office
`})
	got := recorder{}
	if err := c.Collect(t.Context(), sdk.CollectRequest{}, got); err != nil {
		t.Fatal(err)
	}
	want := recorder{
		"hw.battery.charge{id=office}": 0.42, "hw.battery.time_left{battery.state=discharging,id=office}": 4020,
		"hw.voltage{id=office,sensor_location=battery}": 24, "hw.power_supply.utilization{id=office}": 0.13,
		"hw.status{id=office,state=ok,type=power_supply}": 0, "hw.status{id=office,state=charging,type=battery}": 0,
		"hw.status{id=office,state=discharging,type=battery}": 1, "hw.status{id=office,state=degraded,type=battery}": 1,
		"hw.status{id=office,state=failed,type=battery}": 0,
	}
	for key, value := range want {
		if v, ok := got[key]; !ok || v != value {
			t.Errorf("%s = %v (there: %v), want %v", key, v, ok, value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
}

func TestBadServers(t *testing.T) {
	for name, x := range map[string]struct {
		answers map[string]string
		class   sdk.Class
		says    string
	}{
		"silent":           {nil, sdk.Temporary, "in time"},
		"refuses":          {map[string]string{"LIST UPS": "ERR ACCESS-DENIED\n"}, sdk.Downstream, "ACCESS-DENIED"},
		"another protocol": {map[string]string{"LIST UPS": "HTTP/1.1 400 Bad Request\r\n"}, sdk.Temporary, "it began with"},
		"a long line":      {map[string]string{"LIST UPS": strings.Repeat("x", 4096) + "\n"}, sdk.Temporary, "more than 1024 bytes"},
		"a long list":      {map[string]string{"LIST UPS": "BEGIN LIST UPS\n" + strings.Repeat("UPS a \"\"\n", 99)}, sdk.Temporary, "longer than 64"},
		"another's list":   {map[string]string{"LIST UPS": "BEGIN LIST UPS\nVAR a b \"\"\n"}, sdk.Temporary, "in a list"},
	} {
		t.Run(name, func(t *testing.T) {
			got := recorder{}
			err := server(t, x.answers).Collect(t.Context(), sdk.CollectRequest{}, got)
			if sdk.ClassOf(err) != x.class || !strings.Contains(fmt.Sprint(err), x.says) || len(got) != 0 {
				t.Errorf("%v, %v", err, got)
			}
		})
	}
}

func TestDriverIsGone(t *testing.T) {
	got := recorder{}
	c := server(t, map[string]string{"LIST UPS": oneSupply, "LIST VAR office": "ERR DATA-STALE\n"})
	if err := c.Collect(t.Context(), sdk.CollectRequest{}, got); err != nil {
		t.Fatal(err)
	}
	if v, ok := got["hw.status{id=office,state=ok,type=power_supply}"]; !ok || v != 0 || len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add(`battery.charge "42"`)
	f.Add(`device.model "a \"b\" \\"`)
	f.Fuzz(func(t *testing.T, text string) {
		e, ok := parseEntry(text)
		if ok && (e.name == "" || len(e.name) > maxName || len(e.value) > maxName) {
			t.Errorf("%+v", e)
		}
	})
}

// Each that is emitted is declared and told.
func TestMetricsAreDeclared(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := plugintest.ReadManifest(t).Metrics
	known := []string{"hw.battery.time_left", "hw.status"}
	for _, f := range figures {
		known = append(known, f.metric)
	}
	slices.Sort(known)
	if known = slices.Compact(known); !slices.Equal(known, declared) {
		t.Errorf("plugin.yaml names %q, the code %q", declared, known)
	}
	for _, metric := range known {
		if !strings.Contains(string(readme), "`"+metric+"`") {
			t.Errorf("README.md does not name %s", metric)
		}
	}
}

// TestDummyUPS asks a real upsd, of which the driver is NUT's own stand-in for hardware.
func TestDummyUPS(t *testing.T) {
	const driver, daemon = "/lib/nut/dummy-ups", "/lib/nut/upsd"
	if _, err := os.Stat(driver); err != nil || os.Geteuid() != 0 {
		t.Skip("needs upsd and dummy-ups (Debian package nut-server), and root to start them")
	}
	dir := t.TempDir()
	port := plugintest.FreePort(t)
	for name, text := range map[string]string{
		"ups.conf":   "maxretry = 1\n[cellar]\n  driver = dummy-ups\n  port = cellar.dev\n  mode = dummy-once\n",
		"cellar.dev": "battery.charge: 15\nbattery.runtime: 300\nups.status: OB LB\nups.load: 25\ndevice.model: Dummy\ninput.voltage: 0\n",
		"upsd.conf":  fmt.Sprintf("LISTEN 127.0.0.1 %d\n", port),
		"upsd.users": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{driver, "-F", "-u", "root", "-a", "cellar"}, {daemon, "-F", "-u", "root"}} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "NUT_CONFPATH="+dir, "NUT_STATEPATH="+dir, "NUT_ALTPIDPATH="+dir, "NUT_PIDPATH="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	c := New()
	plugintest.Start(t, c, fmt.Sprintf(`{"address": "127.0.0.1:%d"}`, port))
	var got recorder
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		got = recorder{}
		if err = c.Collect(t.Context(), sdk.CollectRequest{}, got); err == nil && got["hw.battery.charge{id=cellar}"] != 0 {
			break
		}
	}
	if err != nil || got["hw.battery.charge{id=cellar}"] != 0.15 || got["hw.battery.time_left{battery.state=discharging,id=cellar}"] != 300 ||
		got["hw.power_supply.utilization{id=cellar}"] != 0.25 || got["hw.status{id=cellar,state=discharging,type=battery}"] != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
