package facts

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/snake"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/bacnet"
	"github.com/picketwatch/picket/internal/traffic/app/dnp3"
	"github.com/picketwatch/picket/internal/traffic/app/enip"
	"github.com/picketwatch/picket/internal/traffic/app/ftp"
	"github.com/picketwatch/picket/internal/traffic/app/hsrp"
	"github.com/picketwatch/picket/internal/traffic/app/iec104"
	"github.com/picketwatch/picket/internal/traffic/app/imap"
	"github.com/picketwatch/picket/internal/traffic/app/kerberos"
	"github.com/picketwatch/picket/internal/traffic/app/ldap"
	"github.com/picketwatch/picket/internal/traffic/app/modbus"
	"github.com/picketwatch/picket/internal/traffic/app/mqtt"
	"github.com/picketwatch/picket/internal/traffic/app/netbios"
	"github.com/picketwatch/picket/internal/traffic/app/ntp"
	"github.com/picketwatch/picket/internal/traffic/app/opcua"
	"github.com/picketwatch/picket/internal/traffic/app/rdp"
	"github.com/picketwatch/picket/internal/traffic/app/s7comm"
	"github.com/picketwatch/picket/internal/traffic/app/sip"
	"github.com/picketwatch/picket/internal/traffic/app/smtp"
	"github.com/picketwatch/picket/internal/traffic/app/snmp"
	"github.com/picketwatch/picket/internal/traffic/app/ssdp"
	"github.com/picketwatch/picket/internal/traffic/app/ssh"
	"github.com/picketwatch/picket/internal/traffic/app/telnet"
	"github.com/picketwatch/picket/internal/traffic/link"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Embedded stands in odd without a name of its own.
type Embedded struct {
	Text  string
	Depth int16
}

// odd has what no parser's struct has yet.
type odd struct {
	Embedded
	Named   Embedded
	Lists   [][]string
	Bytes   [][]byte
	Pair    [2]uint32
	Flags   []bool
	Since   []time.Time
	Addrs   []netip.Addr
	Deep    []struct{ In *Embedded }
	Float   float64
	Map     map[string]int
	Long    time.Duration
	Shown   fmt.Stringer
	Self    *netip.Prefix
	hidden  string
	Behind  *Embedded
	Hashes  [][4]byte
	Signed  []int8
	Wide    uint
	Boolean bool
}

// said are the structs that become messages or details.
var said = []any{
	&ssh.Banner{}, &ssh.HostKey{}, &ssh.Offer{}, &ftp.Banner{}, &ftp.Command{}, &imap.Greeting{}, &imap.Command{}, &smtp.Session{}, &smtp.Command{},
	&smtp.Mail{}, &ldap.Request{}, &ldap.Response{}, &kerberos.Message{}, &rdp.Request{}, &rdp.Answer{}, &telnet.Environment{}, &sip.Message{},
	&mqtt.Connect{}, &mqtt.Connected{}, &mqtt.Publish{}, &netbios.Message{}, &netbios.Datagram{}, &ntp.Message{}, &snmp.Message{}, &ssdp.Message{},
	&hsrp.Message{}, &link.LLDP{}, &link.CDP{}, &link.ICMP{}, &link.IGMP{}, &link.STP{}, &link.Wireless{}, &link.DCP{}, &modbus.Message{},
	&dnp3.Message{}, &s7comm.Connect{}, &s7comm.Message{}, &s7comm.Plus{}, &enip.Command{}, &enip.Identity{}, &enip.Message{}, &bacnet.Admin{},
	&bacnet.Message{}, &iec104.Control{}, &iec104.Message{}, &opcua.Hello{}, &opcua.Open{}, &opcua.Message{}, &odd{hidden: "x"},
}

// What plans write is what one gets by looking at each value by reflection, whatever the fields hold.
func TestPlansWriteWhatReflectionSees(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	written, fields := newPlanner(inRecord...), 0
	var w texts
	var p pairs
	for _, body := range said {
		for range 200 {
			v := reflect.New(reflect.TypeOf(body).Elem())
			fill(random, v.Elem(), 0)
			want, got := map[string]string{}, map[string]string{}
			reflected(want, v.Interface(), inRecord...)
			w.reset()
			p.reset()
			w.fieldsInto(&p, written.of(v.Interface()), v.Interface())
			for _, text := range p.ordered() {
				got[text.Key] = text.Value
			}
			if len(got) != len(p.list) {
				t.Fatalf("%T: %d names are not one each: %v", body, len(got), p.list)
			}
			if !maps.Equal(got, want) {
				t.Fatalf("%+v\ngot  %q\nwant %q", v.Interface(), got, want)
			}
			fields += len(got)
		}
	}
	if fields < 20*len(said)*5 {
		t.Errorf("no more than %d fields: the values are too empty to show anything", fields)
	}
}

// The texts of a record stay what they are until the next one, however many there are.
func TestTextsStay(t *testing.T) {
	var w texts
	for record := range 3 {
		w.reset()
		var kept []string
		for i := range 10_000 {
			at := len(w.buf)
			w.buf = strconv.AppendInt(w.buf, int64(record+i), 10)
			kept = append(kept, w.since(at))
		}
		for i, text := range kept {
			if text != strconv.Itoa(record+i) {
				t.Fatalf("%d became %q", record+i, text)
			}
		}
	}
}

// Records are told with their own texts, whose memory is that of others.
func TestTextsOfTold(t *testing.T) {
	m, all := gather(t, sdk.FactsOT, sdk.FactsMessages, sdk.FactsARP)
	machine, host, near := newWire(m, "modbus", 1), newWire(m, "snmp", 2), newWire(m, "arp", 0)
	const rounds = 300
	for i := range rounds {
		machine.say(app.Client, &modbus.Message{Transaction: uint16(10_000 + i), Function: 3})
		host.say(app.Client, &snmp.Message{Community: "public", Variables: []snmp.Variable{{OID: "1.3." + strconv.Itoa(i), Value: "v"}}, RequestID: int64(20_000 + i)})
		near.say(app.Client, &link.ARP{Sender: link.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}})
	}
	flush(t, m)
	if len(all.OT) != rounds || len(all.Messages) != rounds || len(all.ARP) != rounds {
		t.Fatalf("%d, %d and %d records", len(all.OT), len(all.Messages), len(all.ARP))
	}
	for i := range rounds {
		got := []string{all.OT[i].Details["transaction"], all.Messages[i].Fields["request_id"], all.Messages[i].Fields["1.3."+strconv.Itoa(i)], all.ARP[i].SenderMAC}
		if want := []string{strconv.Itoa(10_000 + i), strconv.Itoa(20_000 + i), "v", fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255)}; !slices.Equal(got, want) {
			t.Fatalf("record %d: %q, want %q", i, got, want)
		}
	}
}

// Names that are set again count once, and there are no more than fit.
func TestPairs(t *testing.T) {
	var p pairs
	for i := range 3 * maxList {
		if p.room() {
			p.set(strconv.Itoa(i/2), strconv.Itoa(i))
		}
	}
	got := p.ordered()
	if len(got) != maxList || p.room() {
		t.Fatalf("%d names", len(got))
	}
	for i, text := range got {
		n, _ := strconv.Atoi(text.Key)
		if i > 0 && got[i-1].Key >= text.Key || text.Value != strconv.Itoa(2*n+1) && n != maxList-1 {
			t.Errorf("%d: %v", i, text)
		}
	}
	p.remove("7")
	if p.set("8", "x"); len(p.ordered()) != maxList-1 || !slices.Contains(p.list, records.Text{Key: "8", Value: "x"}) || slices.Contains(p.list, records.Text{Key: "7", Value: "15"}) {
		t.Errorf("%v", p.list)
	}
}

func TestFieldsTakeLittleMemory(t *testing.T) {
	body := &modbus.Message{Transaction: 4711, Unit: 3, Function: 3, Address: 1000, Quantity: 12}
	p := newPlanner(inRecord...)
	var w texts
	var all pairs
	write := func() {
		w.reset()
		all.reset()
		w.fieldsInto(&all, p.of(body), body)
	}
	if n := testing.AllocsPerRun(1000, write); n > 0 {
		t.Errorf("%v allocations for a message", n)
	}
}

var someTexts = []string{"", "a", "plc-1", "token=abcdef", "http://u:secret@host/x?password=1&b=2", "ä\x00", strings.Repeat("long ", 600)}

// fill gives random values, zero ones among them, to what is exported.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case time.Time:
		if r.IntN(3) > 0 {
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<32), r.Int64N(1e9)).UTC()))
		}
		return
	case netip.Addr:
		v.Set(reflect.ValueOf([]netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("::")}[r.IntN(4)]))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf([]netip.AddrPort{{}, netip.MustParseAddrPort("192.0.2.1:80")}[r.IntN(2)]))
		return
	case *netip.Prefix:
		p := netip.MustParsePrefix("192.0.2.0/24")
		v.Set(reflect.ValueOf([]*netip.Prefix{nil, &p}[r.IntN(2)]))
		return
	}
	switch zero := r.IntN(4) == 0; v.Kind() {
	case reflect.String:
		v.SetString(someTexts[r.IntN(len(someTexts))])
	case reflect.Bool:
		v.SetBool(!zero)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if !zero {
			v.SetInt(int64(r.Uint64()) >> r.IntN(64))
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if !zero {
			v.SetUint(r.Uint64() >> r.IntN(64))
		}
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Interface:
		v.Set(reflect.ValueOf(time.Second))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i), depth)
			}
		}
	case reflect.Pointer:
		if !zero || depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Slice:
		if !zero {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(4)*(1+r.IntN(2)*40), 200))
			for i := range v.Len() {
				fill(r, v.Index(i), depth+1)
			}
		}
	}
}

// reflected is what plans are compared with: it looks at each value as it comes.
func reflected(m map[string]string, body any, without ...string) {
	fieldsOf(reflect.ValueOf(body).Elem(), "", false, func(key, value string) {
		for _, w := range without {
			if key == w {
				return
			}
		}
		if value != "" && len(m) < maxList {
			m[key] = shown(value)
		}
	})
}

func fieldsOf(v reflect.Value, outer string, zeros bool, put func(key, value string)) {
	for i := range v.NumField() {
		f, is := v.Field(i), v.Type().Field(i)
		if !is.IsExported() || f.IsZero() && !zeros {
			continue
		}
		key := snake.Case(is.Name)
		if is.Anonymous {
			key = ""
		}
		switch {
		case outer == "":
		case key == "text" || key == "":
			key = outer
		default:
			key = outer + "_" + key
		}
		_, writes := f.Interface().(fmt.Stringer)
		switch at, isTime := f.Interface().(time.Time); {
		case isTime:
			put(key, at.UTC().Format(time.RFC3339Nano))
		case writes:
			put(key, textOf(f))
		case f.Kind() == reflect.Struct:
			fieldsOf(f, key, false, put)
		case f.Kind() == reflect.Pointer && f.Elem().Kind() == reflect.Struct:
			fieldsOf(f.Elem(), key, false, put)
		case f.Kind() == reflect.Slice || f.Kind() == reflect.Array:
			put(key, listOf(f))
		default:
			put(key, textOf(f))
		}
	}
}

func listOf(v reflect.Value) string {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := make([]byte, min(v.Len(), maxBytes))
		reflect.Copy(reflect.ValueOf(b), v)
		return hex.EncodeToString(b)
	}
	var b strings.Builder
	for i := range min(v.Len(), maxList) {
		if b.Len() > maxText {
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(textOf(v.Index(i)))
	}
	return b.String()
}

func textOf(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Struct:
		var parts []string
		fieldsOf(v, "", true, func(_, value string) {
			if value != "" {
				parts = append(parts, value)
			}
		})
		return strings.Join(parts, " ")
	}
	return ""
}
