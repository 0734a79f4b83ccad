package snmp

import (
	"cmp"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/sdk"
)

const (
	ifEntry  = "1.3.6.1.2.1.2.2.1."
	ifXEntry = "1.3.6.1.2.1.31.1.1.1."
)

// The columns of an interface, in the order in which they are read: what it is first, so that nothing is counted of one that is left out.
const (
	ifDescr = iota
	ifType
	ifSpeed
	ifAdminStatus
	ifOperStatus
	ifName
	ifHighSpeed
	ifAlias
	ifDiscontinuity
)

var identity = []snmp.OID{
	ifDescr: ifEntry + "2", ifType: ifEntry + "3", ifSpeed: ifEntry + "5", ifAdminStatus: ifEntry + "7", ifOperStatus: ifEntry + "8",
	ifName: ifXEntry + "1", ifHighSpeed: ifXEntry + "15", ifAlias: ifXEntry + "18", ifDiscontinuity: ifXEntry + "19",
}

// tally is a counter of an interface: with 64 bits where the device has them, else with 32.
type tally struct {
	metric, unit, direction string
	extra                   label
	wide, narrow            []snmp.OID // those that are added up
}

var tallies = []tally{
	{"hw.network.io", "By", "receive", label{}, []snmp.OID{ifXEntry + "6"}, []snmp.OID{ifEntry + "10"}},
	{"hw.network.io", "By", "transmit", label{}, []snmp.OID{ifXEntry + "10"}, []snmp.OID{ifEntry + "16"}},
	{"hw.network.packets", "{packet}", "receive", label{}, []snmp.OID{ifXEntry + "7", ifXEntry + "8", ifXEntry + "9"}, []snmp.OID{ifEntry + "11", ifEntry + "12"}},
	{"hw.network.packets", "{packet}", "transmit", label{}, []snmp.OID{ifXEntry + "11", ifXEntry + "12", ifXEntry + "13"}, []snmp.OID{ifEntry + "17", ifEntry + "18"}},
	{"hw.errors", "{error}", "receive", label{"error.type", "all"}, nil, []snmp.OID{ifEntry + "14"}},
	{"hw.errors", "{error}", "transmit", label{"error.type", "all"}, nil, []snmp.OID{ifEntry + "20"}},
	{"hw.network.dropped", "{packet}", "receive", label{}, nil, []snmp.OID{ifEntry + "13"}},
	{"hw.network.dropped", "{packet}", "transmit", label{}, nil, []snmp.OID{ifEntry + "19"}},
}

// counters are the columns of all tallies, and place where each is among them.
var counters, place = func() ([]snmp.OID, map[snmp.OID]int) {
	var list []snmp.OID
	at := map[snmp.OID]int{}
	for _, t := range tallies {
		for _, oid := range append(append([]snmp.OID{}, t.wide...), t.narrow...) {
			at[oid] = len(list)
			list = append(list, oid)
		}
	}
	return list, at
}()

const (
	statusUp   = 1
	statusDown = 2
)

// mega is the unit of ifHighSpeed; fastest is what ifSpeed says when it cannot say more.
const (
	mega    = 1_000_000
	fastest = 1<<32 - 1
)

func (p *poll) interfaces() error {
	ports, err := p.client.Walk(p.c.config.MaxInterfaces, identity...)
	if err != nil {
		return err
	}
	if ports.Cut {
		p.c.host.Log().Warn("interfaces are left out", "target", p.t.label, "measured", len(ports.Rows))
	}
	if len(ports.Rows) == 0 {
		return nil
	}
	figures, err := p.client.Walk(p.c.config.MaxInterfaces, counters...)
	if err != nil {
		return err
	}
	for _, index := range ports.Order {
		row := ports.Rows[index]
		name := clip(cmp.Or(row[ifName].Text(), row[ifDescr].Text()))
		if name == "" || !p.c.config.Interfaces.allows(name) {
			continue
		}
		p.port(index, name, row, figures.Rows[index])
	}
	return nil
}

func (p *poll) port(index, name string, row, figures snmp.Row) {
	labels := []label{{"hw.type", "network"}, {"hw.id", index}, {"hw.name", name}, {"snmp.interface.alias", clip(row[ifAlias].Text())}}
	admin, _ := row[ifAdminStatus].Uint()
	oper, known := row[ifOperStatus].Uint()
	if admin == statusDown {
		return // somebody switched it off: nothing is to be expected of it
	}
	if known {
		p.gauge("hw.network.up", "1", oneIf(oper == statusUp), labels...)
	}
	if speed := speedOf(row); speed > 0 && oper == statusUp {
		p.gauge("hw.network.bandwidth.limit", "By/s", speed/8, labels...)
	}
	discontinuity, _ := row[ifDiscontinuity].Uint()
	reset := p.memory.discontinued(index, discontinuity)
	for _, t := range tallies {
		value, ok := p.sum(index, t.wide, figures, reset)
		if !ok {
			value, ok = p.sum(index, t.narrow, figures, reset)
		}
		if ok && (oper == statusUp || value > 0) {
			p.add(sdk.Counter, t.metric, t.unit, value, append(labels[:len(labels):len(labels)], label{"network.io.direction", t.direction}, t.extra)...)
		}
	}
}

// sum adds columns up, of which the first must be there.
func (p *poll) sum(index string, columns []snmp.OID, figures snmp.Row, reset bool) (sum float64, ok bool) {
	for i, oid := range columns {
		n, there := p.memory.count(index+"/"+string(oid), figures[place[oid]], reset)
		if i == 0 && !there {
			return 0, false
		}
		sum += n
	}
	return sum, len(columns) > 0
}

// speedOf is in bits per second, 0 when the device does not say.
func speedOf(row snmp.Row) float64 {
	high, _ := row[ifHighSpeed].Uint()
	low, _ := row[ifSpeed].Uint()
	if high > 0 && (low == 0 || low >= fastest-mega || high >= 1000) {
		return float64(high) * mega
	}
	return float64(low)
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// clip keeps a label at a length that fits into a page.
func clip(s string) string {
	const longest = 128
	if r := []rune(s); len(r) > longest {
		return string(r[:longest])
	}
	return s
}
