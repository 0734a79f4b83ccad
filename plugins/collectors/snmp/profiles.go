package snmp

import (
	"math"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/sdk"
)

// profile is a table that devices may have, and what its rows mean. A single object is a table of one row.
type profile struct {
	name, section string
	object        snmp.OID // devices of one maker, "" for all
	columns       []snmp.OID
	names         snmp.OID // a column of another table that names the rows, "" for none
	row           func(p *poll, index string, row snmp.Row, name string)
}

// maxRows bounds what a device measures besides its interfaces.
const maxRows = 1000

const (
	hrStorageRAM    snmp.OID = "1.3.6.1.2.1.25.2.1.2"
	hrStorageFixed  snmp.OID = "1.3.6.1.2.1.25.2.1.4"
	enterprises              = "1.3.6.1.4.1."
	cisco                    = enterprises + "9"
	entPhysicalName          = "1.3.6.1.2.1.47.1.1.1.1.7"
)

// profiles are what devices are measured by besides their interfaces: tables of makers, then the standard ones. Where several measure the
// same, the first that says anything counts.
var profiles = []profile{
	{name: "Cisco processors", section: "processor", object: cisco, columns: []snmp.OID{enterprises + "9.9.109.1.1.1.1.7"}, row: percentOf("snmp.cpu.utilization", "cpu", 0)},
	{name: "Juniper parts", section: "processor", object: enterprises + "2636", columns: juniper("5", "8"), row: percentOf("snmp.cpu.utilization", "cpu", 1)},
	{name: "Fortinet processor", section: "processor", object: enterprises + "12356", columns: []snmp.OID{enterprises + "12356.101.4.1.3"}, row: percentOf("snmp.cpu.utilization", "cpu", 0)},
	{name: "ProCurve processor", section: "processor", object: enterprises + "11.2.3.7", columns: []snmp.OID{enterprises + "11.2.14.11.5.1.9.6.1"}, row: percentOf("snmp.cpu.utilization", "cpu", 0)},
	{name: "Cisco memory", section: "memory", object: cisco, columns: []snmp.OID{enterprises + "9.9.48.1.1.1.2", enterprises + "9.9.48.1.1.1.5", enterprises + "9.9.48.1.1.1.6"}, row: ciscoPool},
	{name: "Juniper memory", section: "memory", object: enterprises + "2636", columns: juniper("5", "11"), row: percentOf("snmp.memory.utilization", "memory", 1)},
	{name: "Fortinet memory", section: "memory", object: enterprises + "12356", columns: []snmp.OID{enterprises + "12356.101.4.1.4"}, row: percentOf("snmp.memory.utilization", "memory", 0)},
	{name: "Cisco sensors", section: "sensors", object: cisco, columns: sensorColumns(enterprises + "9.9.91.1.1.1.1."), names: entPhysicalName, row: sensor},
	{name: "Juniper temperatures", section: "sensors", object: enterprises + "2636", columns: juniper("5", "7"), row: scaled("hw.temperature", "Cel", "temperature", 1)},
	{name: "APC battery", section: "battery", object: enterprises + "318",
		columns: []snmp.OID{enterprises + "318.1.1.1.2.1.1", enterprises + "318.1.1.1.2.2.3", enterprises + "318.1.1.1.2.2.1", enterprises + "318.1.1.1.2.2.2"}, row: battery(0.01)},
	{name: "APC load", section: "battery", object: enterprises + "318", columns: []snmp.OID{enterprises + "318.1.1.1.4.2.3"}, row: percentOf("hw.power.utilization", "power_supply", 0)},

	{name: "host processors", section: "processor", columns: []snmp.OID{"1.3.6.1.2.1.25.3.3.1.2"}, row: percentOf("snmp.cpu.utilization", "cpu", 0)},
	{name: "load", section: "processor", columns: []snmp.OID{enterprises + "2021.10.1.2", enterprises + "2021.10.1.5"}, row: load},
	{name: "host memory", section: "memory", columns: hrStorage, row: storage(hrStorageRAM, "snmp.memory", "memory")},
	{name: "host storage", section: "storage", columns: hrStorage, row: storage(hrStorageFixed, "snmp.filesystem", "logical_disk")},
	{name: "sensors", section: "sensors", columns: sensorColumns("1.3.6.1.2.1.99.1.1.1."), names: entPhysicalName, row: sensor},
	{name: "lm-sensors temperatures", section: "sensors", columns: lmSensors("2"), row: scaled("hw.temperature", "Cel", "temperature", 1000)},
	{name: "lm-sensors fans", section: "sensors", columns: lmSensors("3"), row: scaled("hw.fan.speed", "rpm", "fan", 1)},
	{name: "lm-sensors voltages", section: "sensors", columns: lmSensors("4"), row: scaled("hw.voltage", "V", "voltage", 1000)},
	{name: "UPS", section: "battery", columns: []snmp.OID{"1.3.6.1.2.1.33.1.2.1", "1.3.6.1.2.1.33.1.2.3", "1.3.6.1.2.1.33.1.2.4", "1.3.6.1.2.1.33.1.2.7"}, row: battery(60)},
	{name: "UPS load", section: "battery", columns: []snmp.OID{"1.3.6.1.2.1.33.1.4.4.1.5"}, row: percentOf("hw.power.utilization", "power_supply", 0)},
	{name: "printer supplies", section: "printer", columns: []snmp.OID{"1.3.6.1.2.1.43.11.1.1.6", "1.3.6.1.2.1.43.11.1.1.8", "1.3.6.1.2.1.43.11.1.1.9"}, row: supply},
	{name: "printer pages", section: "printer", columns: []snmp.OID{"1.3.6.1.2.1.43.10.2.1.4"}, row: pages},
}

var hrStorage = []snmp.OID{"1.3.6.1.2.1.25.2.3.1.2", "1.3.6.1.2.1.25.2.3.1.3", "1.3.6.1.2.1.25.2.3.1.4", "1.3.6.1.2.1.25.2.3.1.5", "1.3.6.1.2.1.25.2.3.1.6"}

func juniper(name, value string) []snmp.OID {
	const entry = enterprises + "2636.3.1.13.1."
	return []snmp.OID{snmp.OID(entry + name), snmp.OID(entry + value)}
}

func lmSensors(table string) []snmp.OID {
	entry := enterprises + "2021.13.16." + table + ".1."
	return []snmp.OID{snmp.OID(entry + "2"), snmp.OID(entry + "3")}
}

func sensorColumns(entry string) []snmp.OID {
	var out []snmp.OID
	for _, column := range []string{"1", "2", "3", "4", "5"} {
		out = append(out, snmp.OID(entry+column))
	}
	return out
}

func (pr *profile) fits(object snmp.OID) bool {
	_, below := object.Below(pr.object)
	return pr.object == "" || below
}

func (p *poll) profile(pr *profile) error {
	table, err := p.client.Walk(maxRows, pr.columns...)
	if err != nil {
		return err
	}
	p.memory.empty(pr, len(table.Rows) == 0)
	names := &snmp.Table{}
	if pr.names != "" && len(table.Rows) > 0 {
		if names, err = p.client.Walk(10*maxRows, pr.names); err != nil {
			return err
		}
	}
	p.measured = pr
	defer func() { p.measured = nil }()
	for _, index := range table.Order {
		pr.row(p, index, table.Rows[index], clip(names.Rows[index][0].Text()))
	}
	return nil
}

func part(kind, index, name string) []label {
	return []label{{"hw.type", kind}, {"hw.id", index}, {"hw.name", name}}
}

// scaled is a row of a name and a value, or of a value alone, whose name is empty then.
func scaled(metric, unit, kind string, divisor float64) func(*poll, string, snmp.Row, string) {
	return func(p *poll, index string, row snmp.Row, _ string) {
		if n, ok := row[1].Int(); ok && n != 0 { // 0 stands for a part that has none
			p.gauge(metric, unit, float64(n)/divisor, part(kind, index, clip(row[0].Text()))...)
		}
	}
}

// percentOf is a share in per cent in the column that is said; the one before it is its name.
func percentOf(metric, kind string, column int) func(*poll, string, snmp.Row, string) {
	return func(p *poll, index string, row snmp.Row, _ string) {
		name := ""
		if column > 0 {
			name = clip(row[column-1].Text())
		}
		n, ok := row[column].Uint()
		if !ok || n > 100 || name != "" && n == 0 { // of a list of parts, those without one say 0
			return
		}
		p.gauge(metric, "1", float64(n)/100, part(kind, index, name)...)
	}
}

func load(p *poll, _ string, row snmp.Row, _ string) {
	n, ok := row[1].Uint()
	minutes, known := map[string]string{"Load-1": "1m", "Load-5": "5m", "Load-15": "15m"}[row[0].Text()]
	if ok && known {
		p.gauge("snmp.cpu.load_average."+minutes, "{thread}", float64(n)/100)
	}
}

// storage is a row of hrStorageTable of one kind.
func storage(kind snmp.OID, metric, hardware string) func(*poll, string, snmp.Row, string) {
	return func(p *poll, index string, row snmp.Row, _ string) {
		unit, ok := row[2].Int()
		size, sized := row[3].Int()
		used, full := row[4].Int()
		if row[0].Object() != kind || !ok || !sized || !full || unit <= 0 {
			return
		}
		// A disk beyond 2^31 blocks overflows into the negative.
		limit, usage := float64(unit)*float64(uint32(size)), float64(unit)*float64(uint32(used))
		if limit == 0 || usage > limit {
			return
		}
		p.used(metric, usage, limit, part(hardware, index, clip(row[1].Text())))
	}
}

func (p *poll) used(metric string, usage, limit float64, labels []label) {
	p.gauge(metric+".limit", "By", limit, labels...)
	p.gauge(metric+".usage", "By", usage, labels...)
	p.gauge(metric+".utilization", "1", usage/limit, labels...)
}

func ciscoPool(p *poll, index string, row snmp.Row, _ string) {
	used, ok := row[1].Uint()
	free, also := row[2].Uint()
	if ok && also && used+free > 0 {
		p.used("snmp.memory", float64(used), float64(used+free), part("memory", index, clip(row[0].Text())))
	}
}

// Kinds of sensor (EntitySensorDataType), and the exponent of a scale (EntitySensorDataScale).
var (
	sensorKinds = map[uint64]struct{ metric, unit, hardware string }{
		3: {"hw.voltage", "V", "voltage"}, 4: {"hw.voltage", "V", "voltage"}, 5: {"snmp.sensor.current", "A", "sensor"}, 6: {"hw.power", "W", "sensor"},
		7: {"snmp.sensor.frequency", "Hz", "sensor"}, 8: {"hw.temperature", "Cel", "temperature"}, 9: {"snmp.sensor.humidity", "1", "sensor"},
		10: {"hw.fan.speed", "rpm", "fan"}, 14: {"snmp.sensor.level", "dBm", "sensor"},
	}
	units = 9 // the scale without an exponent
)

const (
	sensorWorks   = 1
	percentSensor = 9
)

func sensor(p *poll, index string, row snmp.Row, name string) {
	kind, _ := row[0].Uint()
	scale, scaled := row[1].Uint()
	precision, _ := row[2].Int()
	value, there := row[3].Int()
	status, known := row[4].Uint()
	what, wanted := sensorKinds[kind]
	if !wanted || !there || known && status != sensorWorks || precision < -8 || precision > 9 || scaled && scale > 17 {
		return
	}
	exponent := -float64(precision)
	if scaled && scale > 0 {
		exponent += 3 * float64(int(scale)-units)
	}
	if kind == percentSensor {
		exponent -= 2
	}
	v := float64(value) * math.Pow(10, exponent)
	if kind == percentSensor && (v < 0 || v > 1) {
		return
	}
	p.gauge(what.metric, what.unit, v, part(what.hardware, index, name)...)
}

// battery is a row of status, time left (of so many seconds each), charge and temperature.
func battery(second float64) func(*poll, string, snmp.Row, string) {
	return func(p *poll, index string, row snmp.Row, _ string) {
		labels := part("battery", index, "")
		if n, ok := row[2].Uint(); ok && n <= 100 {
			p.gauge("hw.battery.charge", "1", float64(n)/100, labels...)
		}
		if n, ok := row[1].Uint(); ok {
			p.gauge("hw.battery.time_left", "s", float64(n)*second, labels...)
		}
		if n, ok := row[3].Int(); ok && n > 0 {
			p.gauge("hw.temperature", "Cel", float64(n), part("temperature", "battery", "battery")...)
		}
		// 2 is normal, 3 low, 4 depleted or to be replaced, in both tables; 1 is unknown.
		if n, ok := row[0].Uint(); ok && n > 1 {
			p.gauge("hw.status", "1", oneIf(n == 2), append(labels, label{"hw.state", "ok"})...)
		}
	}
}

func supply(p *poll, index string, row snmp.Row, _ string) {
	most, ok := row[1].Int()
	level, also := row[2].Int()
	if ok && also && most > 0 && level >= 0 && level <= most { // −1 to −3 say that it is not known
		p.gauge("snmp.printer.supply", "1", float64(level)/float64(most), part("printer", index, clip(row[0].Text()))...)
	}
}

func pages(p *poll, index string, row snmp.Row, _ string) {
	if n, ok := p.memory.count("pages/"+index, row[0], false); ok {
		p.add(sdk.Counter, "snmp.printer.pages", "{page}", n, part("printer", index, "")...)
	}
}
