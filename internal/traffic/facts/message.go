package facts

import (
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/dcerpc"
	"github.com/picketwatch/picket/internal/traffic/app/ftp"
	"github.com/picketwatch/picket/internal/traffic/app/imap"
	"github.com/picketwatch/picket/internal/traffic/app/kerberos"
	"github.com/picketwatch/picket/internal/traffic/app/ldap"
	"github.com/picketwatch/picket/internal/traffic/app/mqtt"
	"github.com/picketwatch/picket/internal/traffic/app/netbios"
	"github.com/picketwatch/picket/internal/traffic/app/ntp"
	"github.com/picketwatch/picket/internal/traffic/app/rdp"
	"github.com/picketwatch/picket/internal/traffic/app/sip"
	"github.com/picketwatch/picket/internal/traffic/app/smtp"
	"github.com/picketwatch/picket/internal/traffic/app/snmp"
	"github.com/picketwatch/picket/internal/traffic/app/ssdp"
	"github.com/picketwatch/picket/internal/traffic/app/ssh"
	"github.com/picketwatch/picket/internal/traffic/app/telnet"
	"github.com/picketwatch/picket/internal/traffic/link"
	"github.com/picketwatch/picket/sdk"
)

// takeMessage makes a message of any fact. Without a word of words about it, its name is that of the struct.
func (m *Maker) takeMessage(f *app.Fact) {
	r := &m.messages.row
	*r = sdk.Message{}
	see(&r.Seen, f)
	r.Protocol = f.Protocol
	m.pairs.reset()
	m.texts.reset()
	words(r, f.Body)
	p := m.told.of(f.Body)
	if r.Name == "" {
		r.Name = p.name
	}
	m.texts.fieldsInto(&m.pairs, p, f.Body)
	if b, ok := f.Body.(*snmp.Message); ok {
		variables(&m.pairs, b)
	}
	r.Text, r.Code = shown(r.Text), cut(r.Code)
	m.messages.addWith(r, m.pairs.ordered())
}

// goesOn makes a message of a flow that goes on.
func (m *Maker) goesOn(f *app.OpenFlow) {
	m.pairs.reset()
	if f.Guessed {
		m.pairs.set("guessed", "true")
	}
	m.pairs.set("received", strconv.FormatUint(f.Received, 10))
	m.pairs.set("sent", strconv.FormatUint(f.Sent, 10))
	m.pairs.set("start", strconv.FormatInt(f.Start, 10))
	m.messages.row = sdk.Message{
		Seen: sdk.Seen{Flow: f.ID, Packet: f.Packet, Time: time.Unix(0, f.Time).UTC(), Client: f.Client.Addr(), Server: f.Server.Addr(),
			ClientPort: f.Client.Port(), ServerPort: f.Server.Port(), VLAN: f.VLAN, Proto: f.Transport},
		Protocol: "flow", Name: "open", Text: f.Name,
	}
	m.messages.addWith(&m.messages.row, m.pairs.ordered())
}

// words fills in what all messages have in common.
func words(r *sdk.Message, body any) {
	switch b := body.(type) {
	case *ssh.Banner:
		r.Text = b.Software
	case *ssh.HostKey:
		r.Text = b.Fingerprint
	case *ssh.Offer:
		r.Text = b.HASSH
	case *ftp.Banner:
		r.Text = b.Text
	case *ftp.Command:
		r.Text, r.Code = b.Name, strconv.Itoa(b.Code)
	case *imap.Greeting:
		r.Text = b.Text
	case *imap.Command:
		r.Text, r.Code = b.Name, b.Result
	case *smtp.Session:
		r.Text = b.Banner
	case *smtp.Command:
		r.Text, r.Code = b.Name, strconv.Itoa(b.Code)
	case *smtp.Mail:
		r.Text, r.Code = b.Subject, strconv.Itoa(b.Code)
	case *ldap.Request:
		r.Name, r.Text = named(ldapNames[:], int(b.Op)), b.Name
	case *ldap.Response:
		r.Name, r.Text, r.Response, r.Code = named(ldapNames[:], int(b.Op)), b.Text, true, strconv.FormatInt(b.Code, 10)
	case *kerberos.Message:
		kerberosWords(r, b)
	case *dcerpc.Message:
		dcerpcWords(r, b)
	case *rdp.Request:
		r.Text = b.User
	case *rdp.Answer:
		r.Response, r.Code = true, strconv.FormatUint(uint64(b.Failure), 10)
	case *telnet.Environment:
		r.Text = b.Terminal
	case *sip.Message:
		r.Name, r.Text, r.Response = strings.ToLower(b.Method), b.From, b.Code != 0
		if r.Response {
			r.Code = strconv.Itoa(b.Code)
		}
	case *mqtt.Connect:
		r.Text = b.Client
	case *mqtt.Connected:
		r.Response, r.Code = true, strconv.Itoa(int(b.Code))
	case *mqtt.Publish:
		r.Text = b.Topic
	case *netbios.Message:
		r.Name, r.Text, r.Response = b.Name, b.Subject.Text, b.Response
		if r.Response {
			r.Code = strconv.Itoa(int(b.Code))
		}
	case *netbios.Datagram:
		r.Text = b.Source.Text
		if b.Announced != nil {
			r.Name, r.Text = "announcement", b.Announced.Host
		}
	case *ntp.Message:
		r.Name, r.Response = named(ntpModes[:], int(b.Mode)), b.Response || b.Mode == ntp.ModeServer
	case *snmp.Message:
		snmpWords(r, b)
	case *ssdp.Message:
		ssdpWords(r, b)
	default:
		linkWords(r, body)
	}
}

func linkWords(r *sdk.Message, body any) {
	switch b := body.(type) {
	case *link.LLDP:
		r.Name, r.Text = "announcement", b.Name
	case *link.CDP:
		r.Name, r.Text = "announcement", b.Device
	case *link.ICMP:
		r.Name = b.Name
	case *link.IGMP:
		r.Name = b.Name
	case *link.STP:
		r.Name, r.Text = "bridge", b.Bridge.String()
	case *link.Wireless:
		r.Name, r.Text = b.Name, b.SSID
	}
}

var ldapNames = [...]string{
	"bind", "bind", "unbind", "search", "search-entry", "search", "modify", "modify", "add", "add", "delete", "delete", "modify-dn",
	"modify-dn", "compare", "compare", "abandon", "17", "18", "search-reference", "20", "21", "22", "extended", "extended", "intermediate",
}

var kerberosNames = map[uint8]string{
	kerberos.ASRequest: "as-req", kerberos.ASReply: "as-rep", kerberos.TGSRequest: "tgs-req", kerberos.TGSReply: "tgs-rep", kerberos.Error: "error",
}

func kerberosWords(r *sdk.Message, b *kerberos.Message) {
	r.Name, r.Text = kerberosNames[b.Type], b.Client
	if r.Name == "" {
		r.Name = strconv.Itoa(int(b.Type))
	}
	r.Response = b.Type != kerberos.ASRequest && b.Type != kerberos.TGSRequest
	if b.Type == kerberos.Error {
		r.Code = strconv.FormatInt(b.Code, 10)
	}
}

var dcerpcNames = map[uint8]string{
	dcerpc.Request: "call", dcerpc.Fault: "fault", dcerpc.Bind: "bind", dcerpc.BindRefused: "bind-refused", dcerpc.AlterContext: "bind",
}

func dcerpcWords(r *sdk.Message, b *dcerpc.Message) {
	r.Name, r.Text, r.Response = dcerpcNames[b.Type], b.Interface, b.Type == dcerpc.Fault || b.Type == dcerpc.BindRefused
	if r.Response {
		r.Code = "0x" + strconv.FormatUint(uint64(b.Status), 16)
	}
}

var ntpModes = [...]string{"reserved", "symmetric-active", "symmetric-passive", "client", "server", "broadcast", "control", "private"}

var snmpNames = [...]string{"get", "get-next", "response", "set", "trap", "get-bulk", "inform", "trap", "report"}

// oidDescription is sysDescr: what a device says it is.
const oidDescription = "1.3.6.1.2.1.1.1.0"

func snmpWords(r *sdk.Message, b *snmp.Message) {
	const response, report = 2, 8
	r.Name, r.Response = named(snmpNames[:], int(b.PDU)), b.PDU == response || b.PDU == report
	if b.Encrypted {
		r.Name = "encrypted"
	}
	if r.Response {
		r.Code = strconv.FormatInt(b.ErrorStatus, 10)
	}
	for _, v := range b.Variables {
		if v.OID == oidDescription {
			r.Text = v.Value
		}
	}
}

// variables writes each variable by its name. A community is a password: only the two that everybody knows are told.
func variables(fields *pairs, b *snmp.Message) {
	fields.remove("variables")
	if b.Community != "public" && b.Community != "private" {
		fields.remove("community")
	}
	for _, v := range b.Variables {
		if !fields.room() {
			break
		}
		fields.set(v.OID, cut(v.Value))
	}
}

var ssdpNames = [...]string{ssdp.Search: "search", ssdp.Notify: "notify", ssdp.Answer: "answer"}

func ssdpWords(r *sdk.Message, b *ssdp.Message) {
	r.Name, r.Response, r.Text = named(ssdpNames[:], int(b.Kind)), b.Kind == ssdp.Answer, b.Target
	if b.Server != "" {
		r.Text = b.Server
	}
	if r.Response {
		r.Code = strconv.Itoa(b.Status)
	}
}
