package host

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/shirou/gopsutil/v4/common"
)

// TestSensorsAgainstNodeExporter reads the /sys that Prometheus's node_exporter keeps for its tests and compares with
// what that program says of it.
func TestSensorsAgainstNodeExporter(t *testing.T) {
	shared := filepath.Join("..", "..", "..", "..", "shared", "data", "hostsamples", "proc-sys", "node_exporter")
	if _, err := os.Stat(shared); err != nil {
		t.Skipf("the shared samples are not here: %v", err)
	}
	root := t.TempDir()
	unpack(t, filepath.Join(shared, "sys.ttar.gz"), root)
	c, _ := machine(t, "plain", `{"sections": ["sensors", "power"]}`)
	c.env = common.EnvMap{common.HostSysEnvKey: filepath.Join(root, "sys")}
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	theirs := nodeExporter(t, filepath.Join(shared, "e2e-output.txt.gz"))
	compared := 0
	for _, s := range got {
		metric := map[string]string{
			"hw.temperature": "node_hwmon_temp_celsius", "hw.fan.speed": "node_hwmon_fan_rpm", "hw.voltage": "node_hwmon_in_volts",
			"hw.temperature.limit": "node_hwmon_temp_crit_celsius",
		}[s.Metric]
		chip, sensor, isChip := strings.Cut(s.Labels["hw.id"], "/")
		want := -1.0
		switch id := s.Labels["hw.id"]; {
		case isChip && metric != "":
			chip = regexp.MustCompile(`[^a-z0-9:]`).ReplaceAllString(strings.ToLower(chip), "_")
			for key, v := range theirs {
				if strings.HasPrefix(key, metric+`{chip="`) && strings.HasSuffix(key, chip+`",sensor="`+sensor+`"}`) {
					want = v
				}
			}
		case s.Metric == "hw.temperature":
			want = theirs[`node_thermal_zone_temp{type="`+s.Labels["hw.name"]+`",zone="`+strings.TrimPrefix(id, "thermal_zone")+`"}`]
		case s.Metric == "hw.battery.charge":
			want = theirs[`node_power_supply_capacity{power_supply="`+id+`"}`] / 100
		case s.Metric == "hw.battery.cycles":
			want = theirs[`node_power_supply_cyclecount{power_supply="`+id+`"}`]
		case s.Metric == "hw.voltage":
			want = theirs[`node_power_supply_voltage_volt{power_supply="`+id+`"}`]
		case s.Metric == "hw.status" && s.Labels["hw.type"] == "power_supply":
			want = theirs[`node_power_supply_online{power_supply="`+id+`"}`]
		default:
			continue
		}
		compared++
		if diff := s.Value - want; diff > 1e-9 || diff < -1e-9 {
			t.Errorf("%s = %v, node_exporter says %v", seriesKey(s), s.Value, want)
		}
	}
	t.Logf("%d series compared, %d emitted", compared, len(got))
	if compared < 20 {
		t.Errorf("only %d series compared", compared)
	}
}

// unpack reads an archive of the text format ttar: a path, a number of lines, and the lines.
func unpack(t *testing.T, name, into string) {
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
	sc := bufio.NewScanner(z)
	path := ""
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), ": ")
		switch key {
		case "Directory":
			err = os.MkdirAll(filepath.Join(into, value), 0o755)
		case "Path":
			path = filepath.Join(into, value)
			err = os.MkdirAll(filepath.Dir(path), 0o755)
		case "SymlinkTo":
			err = os.Symlink(value, path)
		case "Lines":
			var text strings.Builder
			for range int(parse(t, value)) {
				sc.Scan()
				text.WriteString(strings.ReplaceAll(sc.Text(), "EOF", "") + "\n")
			}
			err = os.WriteFile(path, []byte(text.String()), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
