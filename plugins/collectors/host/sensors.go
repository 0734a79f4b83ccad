package host

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/common"
)

// chip is one hwmon device: a part of the machine that has sensors.
type chip struct {
	folder
	id     string // stays the same over restarts, which the number in hwmon3 does not
	driver string
}

// readSensors measures temperatures, fans and voltages, as the drivers below /sys/class/hwmon and the thermal zones give
// them. A machine without sensors, most virtual ones, gives nothing.
func (c *Collector) readSensors(ctx context.Context, out *samples) error {
	sys := c.dir(common.HostSysEnvKey, "/sys")
	chips := chipsOf(sys)
	left := maxParts
	for _, ch := range chips {
		if err := ctx.Err(); err != nil {
			return err
		}
		ch.sensors(out, &left)
	}
	for _, zone := range below(filepath.Join(sys, "class", "thermal")) {
		known := slices.ContainsFunc(chips, func(ch chip) bool { return ch.device() == zone.base() })
		if !strings.HasPrefix(zone.base(), "thermal_zone") || known || left <= 0 {
			continue
		}
		if degrees, ok := zone.number("temp", 1000); ok {
			left--
			kind := zone.text("type")
			out.gauge("hw.temperature", "Cel", degrees, sensorLabels(zone.base(), kind, place(kind, ""))...)
		}
	}
	return nil
}

func chipsOf(sys string) []chip {
	var out []chip
	devices := map[string]int{}
	for _, f := range below(filepath.Join(sys, "class", "hwmon")) {
		ch := chip{folder: f, driver: f.text("name")}
		if ch.driver == "" { // old drivers keep their files one further down
			ch.folder = folder(filepath.Join(string(f), "device"))
			ch.driver = ch.text("name")
		}
		if ch.id = f.device(); ch.id == "" {
			ch.id = ch.driver
		}
		if ch.id == "" {
			ch.id = f.base()
		}
		devices[ch.id]++
		out = append(out, ch)
	}
	for i := range out { // of one device with several chips the driver says which
		if ch := &out[i]; devices[ch.id] > 1 && ch.driver != "" && ch.driver != ch.id {
			ch.id += "." + ch.driver
		}
	}
	taken := map[string]bool{}
	for i := range out {
		ch := &out[i]
		if taken[ch.id] {
			ch.id += "." + filepath.Base(string(ch.folder))
		}
		taken[ch.id] = true
	}
	return out
}

// sensors measures what one chip has. Files are named by kind, number and what they hold: temp1_input, temp1_label.
func (ch chip) sensors(out *samples, left *int) {
	entries, err := os.ReadDir(string(ch.folder))
	if err != nil {
		return
	}
	for _, e := range entries {
		sensor, ok := strings.CutSuffix(e.Name(), "_input")
		kind := strings.TrimRight(sensor, "0123456789")
		if !ok || kind == sensor || *left <= 0 {
			continue
		}
		switch kind {
		case "temp":
			ch.sensor(out, left, sensor, "temperature", "hw.temperature", "Cel", 1000)
		case "fan":
			ch.sensor(out, left, sensor, "fan", "hw.fan.speed", "rpm", 1)
		case "in":
			ch.sensor(out, left, sensor, "voltage", "hw.voltage", "V", 1000)
		}
	}
}

func (ch chip) sensor(out *samples, left *int, sensor, kind, metric, unit string, divisor float64) {
	says := ch.text(sensor + "_label")
	name := says
	if name == "" {
		name = strings.TrimSpace(ch.driver + " " + sensor)
	}
	id := ch.id + "/" + sensor
	fault, tells := ch.number(sensor+"_fault", 1)
	if tells {
		*left--
		out.status(id, name, kind, "failed", fault != 0)
	}
	value, ok := ch.number(sensor+"_input", divisor)
	if !ok || fault != 0 { // what a broken sensor says means nothing
		return
	}
	*left--
	where := ""
	if kind == "temperature" {
		where = place(ch.driver, says)
	}
	out.gauge(metric, unit, value, sensorLabels(id, name, where)...)
	if limit, ok := ch.number(sensor+"_crit", divisor); ok && kind == "temperature" && limit > 0 {
		out.gauge("hw.temperature.limit", unit, limit, append(sensorLabels(id, name, where), label{"hw.limit_type", "high.critical"})...)
	}
}

// status has no unit, though the conventions say 1: in PromQL that would make a ratio of a state.
func (s *samples) status(id, name, kind, state string, is bool) {
	value := 0.0
	if is {
		value = 1
	}
	s.gauge("hw.status", "", value, append(sensorLabels(id, name, ""), label{"hw.state", state}, label{"hw.type", kind})...)
}

func sensorLabels(id, name, where string) []label {
	out := []label{{"hw.id", id}, {"hw.name", name}}
	if where != "" {
		out = append(out, label{"hw.sensor_location", where})
	}
	return out
}

// places says of which part of a machine a driver measures the temperature.
var places = []struct {
	where   string
	drivers []string
}{
	{"cpu", []string{"coretemp", "k8temp", "k10temp", "zenpower", "fam15h_power", "cpu_thermal", "cpu-thermal", "x86_pkg_temp", "soc_thermal"}},
	{"gpu", []string{"amdgpu", "radeon", "nouveau", "i915", "xe", "gpu_thermal", "gpu-thermal"}},
	{"disk", []string{"nvme", "drivetemp"}},
	{"motherboard", []string{"acpitz", "asus", "asus-ec", "asus_wmi_sensors", "dell_smm", "dell_ddv", "thinkpad", "hp", "pch_*", "nct6*", "it8*", "w83*", "f718*", "lm7*", "lm8*", "applesmc"}},
}

func place(driver, label string) string {
	if strings.Contains(strings.ToLower(label), "ambient") {
		return "ambient"
	}
	for _, p := range places {
		for _, d := range p.drivers {
			prefix, open := strings.CutSuffix(d, "*")
			if driver == prefix || open && strings.HasPrefix(driver, prefix) {
				return p.where
			}
		}
	}
	return ""
}
