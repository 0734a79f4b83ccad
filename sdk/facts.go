package sdk

import (
	"net/netip"
	"time"
)

// Kinds of facts, as a Subscription and the permission facts.read name them. Facts are what the parsers of the traffic
// engine understood; a parser runs only when somebody subscribed to what it says. What is in files is a kind of its own, with a
// permission of its own, files.read.
const (
	FactsDNS      = "dns"      // DNS over UDP and TCP, mDNS, LLMNR
	FactsTLS      = "tls"      // handshakes of TLS, DTLS and QUIC
	FactsHTTP     = "http"     // exchanges of HTTP/1 and HTTP/2, gRPC among them
	FactsSMB      = "smb"      // commands of SMB 1 to 3
	FactsDHCP     = "dhcp"     // DHCPv4 and DHCPv6
	FactsARP      = "arp"      // ARP and neighbour discovery
	FactsOT       = "ot"       // controllers: Modbus, DNP3, S7, EtherNet/IP, BACnet, IEC 104, OPC UA, PROFINET
	FactsFiles    = "files"    // files that were transferred in the clear
	FactsLogins   = "logins"   // attempts to log in, in every protocol
	FactsMessages = "messages" // what all other parsers say: SSH, Kerberos, LDAP, SNMP, LLDP, ...
	FactsContents = "contents" // what is in the files, their first MaxContent bytes; permission files.read
)

// FactKinds are all kinds of facts.
var FactKinds = []string{
	FactsDNS, FactsTLS, FactsHTTP, FactsSMB, FactsDHCP, FactsARP, FactsOT, FactsFiles, FactsLogins, FactsMessages,
	FactsContents,
}

// PlainFacts are the kinds that facts.read allows: all but contents.
var PlainFacts = FactKinds[: len(FactKinds)-1 : len(FactKinds)-1]

// Parts of facts that cost much, and that a Subscription may do without. They are named as their kind, a dot and what it is.
const (
	PartReceived = "files.received" // files that servers sent
	// PartDetails is OT.Details of what reads, or does nothing that has a name, beyond the first 64 facts of a flow.
	PartDetails = "ot.details"
)

// FactParts are all such parts.
var FactParts = []string{PartReceived, PartDetails}

// MaxContent is how much of a file a Content holds at most, in bytes.
const MaxContent = 1 << 20

// Seen says where in the traffic a fact was seen. A fact comes before the flow that it belongs to, which comes when it is
// closed.
type Seen struct {
	Flow                   uint64 // as Flow.ID, 0 for a packet that belongs to no flow
	Packet                 uint64 // number in the capture of the packet that completed it
	Time                   time.Time
	Client, Server         netip.Addr // not valid below IP
	ClientPort, ServerPort uint16
	VLAN                   uint16
	Proto                  uint8 // of the transport, 0 below IP
	// FromServer is the direction of the message, where the fact is one message.
	FromServer bool
}

// Refs names the flow of a fact for the evidence of a finding, which then leads to it; there is none below IP. The flow is not
// closed yet, so its community id is not known.
func (s *Seen) Refs() []FlowRef {
	if s.Flow == 0 {
		return nil
	}
	return []FlowRef{{
		ID:    s.Flow,
		Proto: ProtoName(s.Proto),
		Src:   netip.AddrPortFrom(s.Client, s.ClientPort).String(),
		Dst:   netip.AddrPortFrom(s.Server, s.ServerPort).String(),
	}}
}

// DNS is one DNS message.
type DNS struct {
	Seen
	Protocol string // "dns", "mdns" or "llmnr"
	ID       uint16
	Response bool
	Opcode   uint8
	RCode    uint16 // with the upper bits of EDNS; of responses
	Query    string // name of the first question without the last dot; "." is the root
	QType    uint16
	QClass   uint16
	// Answers are the records of the answer section in presentation format, of mDNS and LLMNR those of the additional section
	// behind them; AnswerTypes, AnswerTTLs (seconds) and AnswerNames belong to them, one by one.
	Answers     []string
	AnswerTypes []uint64
	AnswerTTLs  []uint64
	AnswerNames []string
	// How many entries the sections have.
	Questions, AnswerCount, AuthorityCount, AdditionalCount uint16
	Authoritative, Truncated                                bool
	RecursionDesired, RecursionAvailable                    bool
	Authentic                                               bool
	Damaged                                                 bool   // ended early or contradicts itself
	Length                                                  uint32 // of the message, bytes
	EDNSSize                                                uint16 // UDP size that EDNS offers, 0 without EDNS
}

// TLS is one handshake, told when no more of it can be read in the clear. What was not seen is empty.
type TLS struct {
	Seen
	Protocol   string // "tls", "dtls" or "quic"
	Version    uint16 // that the server chose, as on the wire: 0x0304 is TLS 1.3; 0 when its hello was not seen
	Offered    uint16 // highest one that the client offers
	Cipher     uint16 // that the server chose
	QUIC       uint32 // version of QUIC
	ServerName string
	ALPN       string   // that the server chose, where it is in the clear
	ALPNs      []string // that the client offers
	Ciphers    []uint64 // that the client offers, as sent
	Groups     []uint64
	JA3, JA3S  string // MD5 in hex
	JA4        string
	Encrypted  bool // the client's hello has another one inside (ECH); ServerName is that of the front
	Retry      bool
	// The certificates that the server sent, its own first; the further fields are of that one.
	Chain              []string // SHA-256 in hex
	Subject, Issuer    string   // RFC 2253
	Serial             string   // hex
	NotBefore          time.Time
	NotAfter           time.Time
	Names              []string // DNS names and addresses that it is for
	KeyType            string   // "RSA", "ECDSA", "Ed25519"
	KeyBits            uint16
	Signature          string
	CA, SelfSigned     bool
	CertificateDamaged bool
	Damaged            bool
	HeartbeatAsked     uint32 // the most that a heartbeat in the clear asked for beyond what it brought
	HeartbeatAnswered  uint32 // bytes of heartbeats in the clear that answered such, beyond what those had brought
}

// HTTP is one request with its answer, told when the answer's head was seen or will not come. Values of fields that carry
// secrets (Authorization, Cookie, and the like) are left out.
type HTTP struct {
	Seen
	Version         string // "1.0", "1.1" or "2"
	Number          uint32 // in the connection, from 1; the stream of HTTP/2
	Method          string // "" when the request was not seen
	Host            string
	Target          string
	UserAgent       string
	Referer         string
	RequestType     string   // content type
	RequestLength   int64    // bytes as announced, -1 when it is not known before
	RequestHeaders  []string // "Name: value", in order
	Status          uint16   // 0 when no answer was seen
	Reason          string
	Software        string // what the server calls itself
	ContentType     string
	ResponseLength  int64
	Location        string
	ResponseHeaders []string
	GRPC            bool
	GRPCStatus      string
	ResponseTime    float64 // s from the request to the answer's head, 0 when one was not seen
}

// SMB is one command of SMB, or the answer to one.
type SMB struct {
	Seen
	Version    uint8 // 1 or 2, which is also that of SMB 3
	Command    uint16
	Name       string // of the command, as "negotiate", "create"
	Response   bool
	Status     uint32 // NTSTATUS, of answers
	MessageID  uint64
	Session    uint64
	Tree       uint64
	Dialect    uint16
	Dialects   []uint64
	Share      string // of tree connect
	File       string // of create; of a set-info that renames the new name
	Access     uint32 // that create asks for
	User       string // who logs on, from NTLM
	Domain     string
	Host       string
	Encrypted  bool
	Compressed bool
	NTLM       uint8 // version of the answer to a challenge by which somebody logs on: 1 or 2
}

// DHCP is one message of DHCPv4 or DHCPv6.
type DHCP struct {
	Seen
	Version     uint8  // 4 or 6
	Type        uint8  // as on the wire: of version 4 option 53, 0 for BOOTP
	Name        string // of the type, as "discover", "advertise"
	Reply       bool
	XID         uint32
	MAC         string     // of the client, lower case with colons
	ClientAddr  netip.Addr // that it has
	YourAddr    netip.Addr // that it gets
	ServerAddr  netip.Addr // that identifies the server
	Relay       netip.Addr
	Requested   netip.Addr
	Mask        netip.Addr
	Routers     []string
	DNSServers  []string
	Lease       uint32 // s
	Hostname    string
	Domain      string
	FQDN        string
	VendorClass string
	Parameters  []byte // that the client asks for, in order: a fingerprint
	ClientID    []byte // of version 6 the DUID
	Damaged     bool
}

// ARP is one message of ARP or of IPv6 neighbour discovery.
type ARP struct {
	Seen
	Protocol  string // "arp" or "ndp"
	Operation string // "request", "reply", "router-solicit", "router-advert", "redirect", or a number
	SourceMAC string // of the frame, "" where there is none
	SenderMAC string // in the message
	SenderIP  netip.Addr
	TargetMAC string
	TargetIP  netip.Addr
	// Announce is true of a message that nobody asked for: gratuitous ARP, an unsolicited advertisement.
	Announce bool
	Probe    bool // asks whether an address is free
	Router   bool // the sender says that it is one
}

// OT is one message to or from a controller, in words that are the same for all protocols.
type OT struct {
	Seen
	Protocol string
	Function uint32 // as on the wire
	Name     string // of the function
	Action   string // "discover", "connect", "read", "write", "operate", "program", "start", "stop", "restart", "" for others
	Response bool
	Failed   bool
	Error    uint32 // as on the wire
	Unit     string // of the station, slave or device behind the address
	Object   string // what it acts on: an address, a tag, a block
	Address  uint64 // first one, where there are numbers
	Quantity uint32
	Value    []byte // that is written or read, its beginning
	// Details are what only this protocol has.
	Details map[string]string
}

// File is a file, or as much as was seen of it.
type File struct {
	Seen
	Protocol string
	Name     string
	Type     string // MIME, from its content
	Size     uint64 // bytes that were seen
	Expected uint64 // bytes as announced, 0 when not known
	Complete bool
	SHA256   string  // of what was seen
	MD5      string  // of what was seen; the traffic engine computes it where somebody wants contents
	Entropy  float64 // bits a byte
	Begin    []byte  // its first bytes
}

// Content is what is in a file, from its first byte on. Only what was granted files.read is shown it.
type Content struct {
	Seen
	Protocol string
	Name     string
	Type     string // MIME, from its content
	Size     uint64 // bytes that were seen
	Complete bool   // all of the file is in Data
	SHA256   string // of what was seen
	MD5      string // of what was seen
	Data     []byte // its bytes, MaxContent at most
}

// Login is one attempt to log in. Passwords are never kept.
type Login struct {
	Seen
	Protocol string
	User     string // "" when it was not sent in the clear
	Method   string // as the protocol calls it, in capitals
	Result   string // "success", "failure", "" when it was not seen
	Clear    bool   // a password or a token was sent that everybody on the way could read
	Code     string // the server's word for the result
}

// Message is what a parser says that has no record of its own.
type Message struct {
	Seen
	Protocol string
	Name     string // of the message, as "banner", "as-req", "announcement"
	Response bool
	Code     string // of a response
	Text     string // the one text that matters most: a banner, a name
	Fields   map[string]string
}
