package facts

import (
	"fmt"
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/bacnet"
	"github.com/picketwatch/picket/internal/traffic/app/dnp3"
	"github.com/picketwatch/picket/internal/traffic/app/enip"
	"github.com/picketwatch/picket/internal/traffic/app/iec104"
	"github.com/picketwatch/picket/internal/traffic/app/modbus"
	"github.com/picketwatch/picket/internal/traffic/app/opcua"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
	"github.com/picketwatch/picket/internal/traffic/app/s7comm"
	"github.com/picketwatch/picket/internal/traffic/link"
	"github.com/picketwatch/picket/sdk"
)

// inRecord are the fields of the parsers' structs that have a place in the record.
var inRecord = []string{"name", "action", "response", "function", "service", "value", "data"}

// takeOT says what was done to a controller in words that are the same for all protocols; the rest goes to the details.
func (m *Maker) takeOT(f *app.Fact) {
	r := &m.ot.row
	value := r.Value[:0]
	*r = sdk.OT{}
	see(&r.Seen, f)
	r.Protocol, r.Value = f.Protocol, value
	m.pairs.reset()
	m.texts.reset()
	machine(r, &m.pairs, f.Body)
	p := m.done.of(f.Body)
	if r.Name == "" {
		r.Name = p.name
	}
	if m.isBrief(f.Flow, &m.ot.share) && (r.Action == string(ot.Read) || r.Action == string(ot.Other)) {
		m.ot.add(r)
		return
	}
	m.texts.fieldsInto(&m.pairs, p, f.Body)
	m.ot.addWith(r, m.pairs.ordered())
}

// machine fills in the common words, and what they leave for the details.
func machine(r *sdk.OT, details *pairs, body any) {
	switch b := body.(type) {
	case *modbus.Message:
		modbusWords(r, details, b)
	case *dnp3.Message:
		dnp3Words(r, b)
	case *s7comm.Connect:
		s7Connect(r, b)
	case *s7comm.Message:
		s7Words(r, b)
	case *s7comm.Plus:
		const response = 0x32
		r.Function, r.Name, r.Action, r.Response = uint32(b.Function), b.Name, string(b.Action), b.Opcode == response
	case *enip.Command:
		r.Function, r.Name, r.Action, r.Response = uint32(b.Code), b.Name, string(b.Action), b.Response
		r.Failed, r.Error = b.Status != 0, b.Status
	case *enip.Identity:
		r.Action, r.Response = string(ot.Discover), true
		details.set("product_name", cut(b.Name)) // the name in the record is that of the function
	case *enip.Message:
		r.Function, r.Name, r.Action, r.Response = uint32(b.Service), b.Name, string(b.Action), b.Response
		r.Failed, r.Error, r.Object = b.Status != 0, uint32(b.Status), b.Symbol
		if r.Object == "" {
			r.Object = fmt.Sprintf("%d/%d/%d", b.Class, b.Instance, b.Attribute)
		}
	case *bacnet.Admin:
		r.Function, r.Name, r.Action, r.Response = uint32(b.Code), b.Name, string(b.Action), b.Response
	case *bacnet.Message:
		bacnetWords(r, details, b)
	case *iec104.Control:
		r.Name, r.Action, r.Response = b.Name, string(b.Action), b.Confirm
	case *iec104.Message:
		iecWords(r, b)
	case *opcua.Hello:
		r.Name, r.Action, r.Object = b.Kind, string(ot.Connect), shown(b.Endpoint)
		r.Failed, r.Error = b.Error != 0, b.Error
	case *opcua.Open:
		r.Action, r.Unit = string(ot.Connect), strconv.FormatUint(uint64(b.Channel), 10)
	case *opcua.Message:
		r.Function, r.Name, r.Action, r.Response = b.Service, b.Name, string(b.Action), b.Response
	case *link.DCP:
		r.Function, r.Name, r.Action, r.Response, r.Failed = uint32(b.Service), b.Name, string(b.Action), b.Response, b.Failed
		r.Unit = b.Station
	}
}

// The functions of Modbus by number, and what they do.
var modbusFunctions = map[uint8]struct {
	name   string
	action ot.Action
	object string
}{
	1: {"read-coils", ot.Read, "coil"}, 2: {"read-discrete-inputs", ot.Read, "input"}, 3: {"read-holding-registers", ot.Read, "register"},
	4: {"read-input-registers", ot.Read, "input-register"}, 5: {"write-coil", ot.Write, "coil"}, 6: {"write-register", ot.Write, "register"},
	7: {"read-exception-status", ot.Read, ""}, 8: {"diagnostics", ot.Other, ""}, 11: {"event-counter", ot.Read, ""}, 12: {"event-log", ot.Read, ""},
	15: {"write-coils", ot.Write, "coil"}, 16: {"write-registers", ot.Write, "register"}, 17: {"report-server", ot.Discover, ""},
	20: {"read-file", ot.Read, "file"}, 21: {"write-file", ot.Write, "file"}, 22: {"mask-write-register", ot.Write, "register"},
	23: {"read-write-registers", ot.Write, "register"}, 24: {"read-fifo", ot.Read, "fifo"}, 43: {"read-device-identification", ot.Discover, ""},
	90: {"unity-program", ot.Program, ""},
}

// identityKeys name the objects of a Modbus device's identification.
var identityKeys = [...]string{"vendor", "product_code", "revision", "vendor_url", "product_name", "model", "application"}

func modbusWords(r *sdk.OT, details *pairs, b *modbus.Message) {
	known := modbusFunctions[b.Function]
	r.Function, r.Name, r.Action, r.Object, r.Response = uint32(b.Function), known.name, string(known.action), known.object, b.Response
	if r.Name == "" {
		r.Name = strconv.Itoa(int(b.Function))
	}
	r.Failed, r.Error = b.Exception != 0, uint32(b.Exception)
	r.Unit = strconv.Itoa(int(b.Unit))
	r.Address, r.Quantity = uint64(b.Address), uint32(b.Quantity)
	r.Value = append(r.Value, b.Data...)
	for _, o := range b.Objects {
		if int(o.ID) < len(identityKeys) {
			details.set(identityKeys[o.ID], cut(o.Value))
		}
	}
}

func dnp3Words(r *sdk.OT, b *dnp3.Message) {
	r.Function, r.Name, r.Action, r.Response = uint32(b.Function), b.Name, string(b.Action), b.Response
	const refused = dnp3.BadFunction | dnp3.UnknownObject | dnp3.BadParameter
	r.Failed, r.Error = b.Indications&refused != 0, uint32(b.Indications)
	station := b.Destination
	if b.Response {
		station = b.Source
	}
	r.Unit = strconv.Itoa(int(station))
	switch {
	case len(b.Points) > 0:
		p := b.Points[0]
		r.Object, r.Address, r.Quantity = "group-"+strconv.Itoa(int(p.Group)), uint64(p.Index), uint32(len(b.Points))
	case len(b.Objects) > 0:
		o := b.Objects[0]
		r.Object = "group-" + strconv.Itoa(int(o.Group))
		r.Address, r.Quantity = uint64(o.First), o.Count
	}
}

func s7Connect(r *sdk.OT, b *s7comm.Connect) {
	r.Action, r.Response = string(ot.Connect), b.Confirmed
	if n := len(b.Called); n > 0 {
		place := b.Called[n-1]
		r.Unit = fmt.Sprintf("%d/%d", place>>5, place&31)
	}
}

var s7Areas = map[uint8]string{0x81: "inputs", 0x82: "outputs", 0x83: "flags", 0x84: "db", 0x1c: "counters", 0x1d: "timers"}

func s7Words(r *sdk.OT, b *s7comm.Message) {
	r.Function, r.Name, r.Action, r.Response = uint32(b.Function), b.Name, string(b.Action), b.Response
	r.Failed, r.Error, r.Object = b.Error != 0, uint32(b.Error), b.Block
	if len(b.Items) == 0 {
		return
	}
	i := b.Items[0]
	r.Object, r.Address, r.Quantity = s7Areas[i.Area], uint64(i.Address), uint32(i.Count)
	if r.Object == "" {
		r.Object = strconv.Itoa(int(i.Area))
	}
	if i.Block != 0 {
		r.Object += strconv.Itoa(int(i.Block))
	}
}

func bacnetWords(r *sdk.OT, details *pairs, b *bacnet.Message) {
	const refused = 5 // and above it: rejected, aborted
	r.Function, r.Name, r.Action, r.Response = uint32(b.Service), b.Name, string(b.Action), b.Response
	r.Failed, r.Error = b.Kind >= refused, b.ErrorCode
	if b.Reason != 0 {
		r.Error = uint32(b.Reason)
	}
	if b.Network != 0 {
		r.Unit = strconv.Itoa(int(b.Network))
	}
	r.Quantity = uint32(len(b.Properties))
	for i := range b.Properties {
		p := &b.Properties[i]
		if i == 0 {
			r.Object, r.Address = fmt.Sprintf("%d/%d", p.Type, p.Instance), uint64(p.ID)
		}
		if key := bacnetKeys[p.ID]; p.Named && key != "" && p.Value != "" {
			details.set(key, cut(p.Value))
		}
	}
}

// bacnetKeys are the properties by which a device says what it is.
var bacnetKeys = map[uint32]string{70: "model", 44: "firmware", 121: "vendor_name", 77: "object_name", 12: "software", 28: "description", 58: "location"}

func iecWords(r *sdk.OT, b *iec104.Message) {
	const confirmed, ended, unknown = 7, 10, 44
	r.Function, r.Name, r.Action = uint32(b.Type), b.Name, string(b.Action)
	r.Response = b.Cause == confirmed || b.Cause == confirmed+2 || b.Cause == ended || b.Cause >= unknown
	r.Failed = b.Negative || b.Cause >= unknown
	if r.Failed {
		r.Error = uint32(b.Cause)
	}
	r.Unit, r.Quantity = strconv.Itoa(int(b.Station)), uint32(b.Count)
	if len(b.Objects) > 0 {
		r.Address = uint64(b.Objects[0])
	}
	r.Value = append(r.Value, b.Value...)
}
