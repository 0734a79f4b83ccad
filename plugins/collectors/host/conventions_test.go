package host

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// convention is what OpenTelemetry says of a metric.
type convention struct {
	unit       string
	instrument string // counter, updowncounter or gauge
	attributes string // in order, separated by spaces
}

// conventions are the system metrics of the semantic conventions, version 1.45 (model/system/metrics.yaml).
var conventions = map[string]convention{
	"system.uptime":                 {"s", "gauge", ""},
	"system.cpu.physical.count":     {"{cpu}", "updowncounter", ""},
	"system.cpu.logical.count":      {"{cpu}", "updowncounter", ""},
	"system.cpu.time":               {"s", "counter", "cpu.logical_number cpu.mode"},
	"system.cpu.utilization":        {"1", "gauge", "cpu.logical_number cpu.mode"},
	"system.memory.usage":           {"By", "updowncounter", "system.memory.state"},
	"system.memory.limit":           {"By", "updowncounter", ""},
	"system.memory.utilization":     {"1", "gauge", "system.memory.state"},
	"system.memory.linux.available": {"By", "updowncounter", ""},
	"system.memory.linux.shared":    {"By", "updowncounter", ""},
	"system.paging.usage":           {"By", "updowncounter", "system.device system.paging.state"},
	"system.paging.utilization":     {"1", "gauge", "system.device system.paging.state"},
	"system.paging.faults":          {"{fault}", "counter", "system.paging.fault.type"},
	"system.paging.operations":      {"{operation}", "counter", "system.paging.direction system.paging.fault.type"},
	"system.disk.io":                {"By", "counter", "disk.io.direction system.device"},
	"system.disk.operations":        {"{operation}", "counter", "disk.io.direction system.device"},
	"system.disk.io_time":           {"s", "counter", "system.device"},
	"system.disk.operation_time":    {"s", "counter", "disk.io.direction system.device"},
	"system.disk.merged":            {"{operation}", "counter", "disk.io.direction system.device"},
	"system.filesystem.usage":       {"By", "updowncounter", "system.device system.filesystem.mode system.filesystem.mountpoint system.filesystem.state system.filesystem.type"},
	"system.filesystem.utilization": {"1", "gauge", "system.device system.filesystem.mode system.filesystem.mountpoint system.filesystem.state system.filesystem.type"},
	"system.filesystem.limit":       {"By", "updowncounter", "system.device system.filesystem.mode system.filesystem.mountpoint system.filesystem.type"},
	"system.network.packet.dropped": {"{packet}", "counter", "network.interface.name network.io.direction"},
	"system.network.packet.count":   {"{packet}", "counter", "network.io.direction system.device"},
	"system.network.errors":         {"{error}", "counter", "network.interface.name network.io.direction"},
	"system.network.io":             {"By", "counter", "network.interface.name network.io.direction"},

	// Hardware (model/hardware), but for the unit of hw.status.
	"hw.temperature":       {"Cel", "gauge", "hw.id hw.name hw.sensor_location"},
	"hw.temperature.limit": {"Cel", "gauge", "hw.id hw.limit_type hw.name hw.sensor_location"},
	"hw.fan.speed":         {"rpm", "gauge", "hw.id hw.name"},
	"hw.voltage":           {"V", "gauge", "hw.id hw.name"},
	"hw.status":            {"", "updowncounter", "hw.id hw.name hw.state hw.type"},
	"hw.battery.charge":    {"1", "gauge", "hw.id hw.name"},
	"hw.battery.time_left": {"s", "gauge", "hw.battery.state hw.id hw.name"},
	// Not in the conventions.
	"hw.battery.health": {"1", "gauge", "hw.id hw.name"},
	"hw.battery.cycles": {"{cycle}", "counter", "hw.id hw.name"},

	// Not in the conventions; as the OpenTelemetry host metrics receiver has them.
	"system.cpu.load_average.1m":     {"{thread}", "gauge", ""},
	"system.cpu.load_average.5m":     {"{thread}", "gauge", ""},
	"system.cpu.load_average.15m":    {"{thread}", "gauge", ""},
	"system.filesystem.inodes.usage": {"{inodes}", "updowncounter", "system.device system.filesystem.mode system.filesystem.mountpoint system.filesystem.state system.filesystem.type"},
}

func TestConventions(t *testing.T) {
	c, clk := machine(t, "plain", `{"per_cpu": true}`)
	for name, prev := range c.cpu.last {
		prev.Idle--
		c.cpu.last[name] = prev
	}
	clk.now = clk.now.Add(minCPUInterval)
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for key, s := range got {
		seen[s.Metric] = true
		want, known := conventions[s.Metric]
		if !known {
			t.Errorf("%s is not a metric of the conventions", s.Metric)
			continue
		}
		kind := sdk.Gauge
		if want.instrument == "counter" {
			kind = sdk.Counter
		}
		labels := maps.Clone(s.Labels)
		if s.Metric == "system.network.packet.count" {
			delete(labels, "network.interface.name") // said in the README
		}
		attributes := strings.Join(slices.Sorted(maps.Keys(labels)), " ")
		if s.Unit != want.unit || s.Type != kind || attributes != want.attributes {
			t.Errorf("%s: unit %q, type %s, attributes %q; want %q, %s, %q", key, s.Unit, s.Type, attributes, want.unit, kind, want.attributes)
		}
	}
	if len(seen) != len(conventions) {
		t.Errorf("%d of %d metrics seen", len(seen), len(conventions))
	}
}
