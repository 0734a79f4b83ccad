// Package all lists the application protocols that Picket knows.
package all

import (
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/bacnet"
	"github.com/picketwatch/picket/internal/traffic/app/dcerpc"
	"github.com/picketwatch/picket/internal/traffic/app/dhcp"
	"github.com/picketwatch/picket/internal/traffic/app/dnp3"
	"github.com/picketwatch/picket/internal/traffic/app/dns"
	"github.com/picketwatch/picket/internal/traffic/app/enip"
	"github.com/picketwatch/picket/internal/traffic/app/ftp"
	"github.com/picketwatch/picket/internal/traffic/app/hsrp"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/http2"
	"github.com/picketwatch/picket/internal/traffic/app/iec104"
	"github.com/picketwatch/picket/internal/traffic/app/imap"
	"github.com/picketwatch/picket/internal/traffic/app/kerberos"
	"github.com/picketwatch/picket/internal/traffic/app/ldap"
	"github.com/picketwatch/picket/internal/traffic/app/modbus"
	"github.com/picketwatch/picket/internal/traffic/app/mqtt"
	"github.com/picketwatch/picket/internal/traffic/app/netbios"
	"github.com/picketwatch/picket/internal/traffic/app/ntp"
	"github.com/picketwatch/picket/internal/traffic/app/opcua"
	"github.com/picketwatch/picket/internal/traffic/app/peer"
	"github.com/picketwatch/picket/internal/traffic/app/pop3"
	"github.com/picketwatch/picket/internal/traffic/app/quic"
	"github.com/picketwatch/picket/internal/traffic/app/rdp"
	"github.com/picketwatch/picket/internal/traffic/app/s7comm"
	"github.com/picketwatch/picket/internal/traffic/app/sip"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
	"github.com/picketwatch/picket/internal/traffic/app/smtp"
	"github.com/picketwatch/picket/internal/traffic/app/snmp"
	"github.com/picketwatch/picket/internal/traffic/app/ssdp"
	"github.com/picketwatch/picket/internal/traffic/app/ssh"
	"github.com/picketwatch/picket/internal/traffic/app/telnet"
	"github.com/picketwatch/picket/internal/traffic/app/tls"
	"github.com/picketwatch/picket/internal/traffic/link"
)

// Protocols returns the protocols for one engine, the more specific ones first.
func Protocols() []app.Protocol {
	return append([]app.Protocol{
		tls.TLS(), tls.DTLS(), http1.HTTP(http1.Config{}), http2.HTTP2, ssh.SSH, quic.QUIC, dns.DNS, dns.MDNS, dns.LLMNR,
		dhcp.DHCP, dhcp.DHCPv6, snmp.SNMP, ntp.NTP, modbus.Modbus, smb.SMB, dcerpc.DCERPC,
		ftp.FTP, ftp.Data, smtp.SMTP, ldap.LDAP, kerberos.Kerberos, rdp.RDP, telnet.Telnet, imap.IMAP, pop3.POP3, sip.SIP,
		dnp3.DNP3, s7comm.S7, enip.ENIP, enip.IO, iec104.IEC104, bacnet.BACnet, opcua.OPCUA, mqtt.MQTT,
		netbios.Names, netbios.Datagrams, ssdp.SSDP, hsrp.HSRP,
		peer.Stratum, peer.Monero, peer.IRC, peer.BitTorrent,
	}, link.Protocols()...)
}
