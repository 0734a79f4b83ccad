package bruteforce

import (
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// service is what somebody logs in to.
type service uint8

const (
	none service = iota
	ssh
	rdp
	ftp
	telnet
	smb
	httpAuth
	httpForm
	kerberos
	ldap
	imap
	pop3
	smtp
	sip
	mqtt
	snmp
	services
)

// names are the services as people call them.
var names = [services]string{
	ssh: "SSH", rdp: "RDP", ftp: "FTP", telnet: "Telnet", smb: "SMB", httpAuth: "HTTP", httpForm: "a web form", kerberos: "Kerberos", ldap: "LDAP",
	imap: "IMAP", pop3: "POP3", smtp: "SMTP", sip: "SIP", mqtt: "MQTT", snmp: "SNMP",
}

// serviceOf knows the protocols of logins.
func serviceOf(protocol string) service {
	switch protocol {
	case "ssh":
		return ssh
	case "rdp":
		return rdp
	case "ftp":
		return ftp
	case "telnet":
		return telnet
	case "smb":
		return smb
	case "http", "http2":
		return httpAuth
	case "kerberos":
		return kerberos
	case "ldap":
		return ldap
	case "imap":
		return imap
	case "pop3":
		return pop3
	case "smtp":
		return smtp
	case "sip":
		return sip
	case "mqtt":
		return mqtt
	}
	return none
}

// attempt is what one record tells about one login, or about some.
type attempt struct {
	client, server         netip.Addr
	src, dst               bare.Addr
	clientPort, serverPort uint16
	proto                  uint8
	service                service
	worked                 bool
	unasked                bool   // refused for the name alone, whatever the password
	count                  uint32 // of logins
	account                uint64 // stands for the name, 0 without one
	user                   string // valid during the call
	at                     int64
	packet, flow           uint64
}

func attemptOf(seen *sdk.Seen, s service) attempt {
	return attempt{
		client: seen.Client, server: seen.Server, src: bare.Of(seen.Client), dst: bare.Of(seen.Server), clientPort: seen.ClientPort, serverPort: seen.ServerPort,
		proto: seen.Proto, service: s, count: 1, at: seen.Time.UnixNano(), packet: seen.Packet, flow: seen.Flow,
	}
}

// login reads a login; false when it says nothing about a password.
func (d *Detector) login(l *sdk.Login) (attempt, bool) {
	s := serviceOf(l.Protocol)
	switch {
	case s == none, l.Method == "BEARER", l.Method == "ANONYMOUS": // a token is not guessed, but gets old; a name alone is no guess
		return attempt{}, false
	case l.Result == "":
		if s == rdp {
			d.opened.add(l)
		}
		return attempt{}, false
	case l.Result == "failure" && !isPassword(s, l.Code):
		return attempt{}, false
	}
	a := attemptOf(&l.Seen, s)
	a.worked, a.user, a.account = l.Result == "success", l.User, accountOf(l.User)
	a.unasked = isName(s, l.Code)
	return a, true
}

// isPassword reports whether a server refused a login for its name or password, and not for a rule, a right or its age.
func isPassword(s service, code string) bool {
	switch s {
	case httpAuth:
		return code == "401"
	case kerberos: // a wrong password, or what a wrong key makes of a message
		return code == "24" || code == "31" || isName(s, code)
	case ldap:
		return code == "49"
	case smb: // a failure, a wrong password
		return code == "0xc000006d" || code == "0xc000006a" || isName(s, code)
	}
	return true
}

// isName reports whether a server refused a login for the name: nobody has it, or it is locked. Asking again tells nobody more.
func isName(s service, code string) bool {
	switch s {
	case kerberos:
		return code == "6" || code == "18"
	case smb:
		return code == "0xc0000064" || code == "0xc0000234" || code == "0xc0000072"
	}
	return false
}

// accountOf is FNV-1a of a name: it must be the same everywhere, and who makes two names alike gains nothing.
func accountOf(name string) uint64 {
	if name == "" {
		return 0
	}
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h
}

// maxOpened is how many connections are remembered whose end tells how the login went.
const maxOpened = 4096

// opened are logins of which only the size of their connection tells how they went, by flow.
type opened struct {
	byFlow map[uint64]uint64 // the packet
	order  [maxOpened]uint64 // flows, in a circle
	next   int
}

func (o *opened) add(l *sdk.Login) {
	if o.byFlow == nil {
		o.byFlow = map[uint64]uint64{}
	}
	if _, known := o.byFlow[l.Flow]; known || l.Flow == 0 {
		return
	}
	delete(o.byFlow, o.order[o.next])
	o.order[o.next], o.byFlow[l.Flow] = l.Flow, l.Packet
	o.next = (o.next + 1) % maxOpened
}

// What a connection of RDP tells. A server that refuses a password at the network level (CredSSP) has sent its certificate and
// two messages; a session begins with fonts, capabilities and a picture. Who looks whether the port answers gets no certificate.
const (
	rdpCertificate = 500
	rdpRefused     = 16 << 10
	rdpPicture     = 256 << 10
	rdpHurried     = 15e9 // a login screen that was left before anybody can read it
	rdpSession     = 60e9
)

// What an SNMP community guess looks like: questions of one shape in a row, nearly all without an answer. A manager that asks a
// host which is down repeats each of its questions once in a second or more seldom.
const (
	snmpGuesses  = 16
	snmpPerReply = 8
	snmpLongest  = 128 // of a question, with its headers
	snmpSpread   = 48  // by which the lengths of communities differ
	snmpGap      = 500e6
	snmpTraps    = 162
)

// flow reads a closed flow.
func (d *Detector) flow(f *sdk.Flow) (attempt, bool) {
	if f.App == "snmp" {
		return guesses(f)
	}
	packet, found := d.opened.byFlow[f.ID]
	if !found {
		return attempt{}, false
	}
	delete(d.opened.byFlow, f.ID)
	long, got := f.End.UnixNano()-f.Start.UnixNano(), f.RevPayload
	a := flowAttempt(f, rdp, packet)
	switch {
	case got < rdpCertificate:
		return a, false
	case got < rdpRefused, long < rdpHurried && got < rdpPicture:
	case got >= rdpPicture || long >= rdpSession:
		a.worked = true
	default:
		return a, false
	}
	return a, true
}

func flowAttempt(f *sdk.Flow, s service, packet uint64) attempt {
	return attempt{
		client: f.Src, server: f.Dst, src: bare.Of(f.Src), dst: bare.Of(f.Dst), clientPort: f.SrcPort, serverPort: f.DstPort, proto: f.Proto, service: s,
		count: 1, at: f.End.UnixNano(), packet: packet, flow: f.ID,
	}
}

// guesses reads a flow of SNMP.
func guesses(f *sdk.Flow) (attempt, bool) {
	if f.DstPort == snmpTraps || f.FwdPackets < snmpGuesses || f.RevPackets*snmpPerReply > f.FwdPackets || f.FwdLenMax > snmpLongest ||
		f.FwdLenMax == f.FwdLenMin || f.FwdLenMax-f.FwdLenMin > snmpSpread || f.FwdIATMean*1e9 > snmpGap {
		return attempt{}, false
	}
	a := flowAttempt(f, snmp, 0)
	if len(f.Packets) > 0 {
		a.packet = f.Packets[0]
	}
	a.count = uint32(min(f.FwdPackets-f.RevPackets, 1<<20))
	return a, true
}
