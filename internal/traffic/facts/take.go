package facts

import (
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/dcerpc"
	"github.com/picketwatch/picket/internal/traffic/app/dhcp"
	"github.com/picketwatch/picket/internal/traffic/app/dns"
	"github.com/picketwatch/picket/internal/traffic/app/ftp"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/http2"
	"github.com/picketwatch/picket/internal/traffic/app/login"
	"github.com/picketwatch/picket/internal/traffic/app/quic"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
	"github.com/picketwatch/picket/internal/traffic/app/smtp"
	"github.com/picketwatch/picket/internal/traffic/app/tls"
	"github.com/picketwatch/picket/internal/traffic/link"
	"github.com/picketwatch/picket/sdk"
)

// take gives a fact to the records that it becomes, or becomes a part of.
func (m *Maker) take(f *app.Fact) {
	if m.heard != nil {
		m.heard(f)
	}
	switch b := f.Body.(type) {
	case *dns.Message:
		m.takeDNS(f, b)
	case *tls.ClientHello:
		m.clientHello(f, 0, b)
	case *tls.ServerHello:
		m.serverHello(f, 0, b)
	case *tls.Certificates:
		m.certificates(f, b)
	case *tls.Heartbeat:
		m.heartbeat(f, b)
	case *tls.Alert: // says nothing that the record has a place for
	case *quic.Hello:
		if b.Client != nil {
			m.clientHello(f, b.Version, b.Client)
		}
		if b.Server != nil {
			m.serverHello(f, b.Version, b.Server)
		}
	case *http1.Request:
		m.request1(f, b)
	case *http1.Response:
		m.response1(f, b)
	case *http1.BodyPart:
		m.bodyPart(f, b)
	case *smtp.FilePart:
		m.mailFile(f, b)
	case *ftp.FilePart:
		m.ftpFile(f, b)
	case *smb.FilePart:
		m.smbFile(f, b)
	case *http2.Request:
		m.request2(f, b)
	case *http2.Response:
		m.response2(f, b)
	case *http2.BodyPart:
		m.streamPart(f, b)
	case *smb.Command:
		m.takeSMB(f, b)
	case *dhcp.Message:
		m.takeDHCP(f, b)
	case *dhcp.Message6:
		m.takeDHCPv6(f, b)
	case *link.ARP:
		m.takeARP(f, b)
	case *link.NDP:
		m.takeNDP(f, b)
	case *login.Attempt:
		m.attempt(f, b)
	case *dcerpc.Message:
		f.Protocol = dcerpc.DCERPC.Name // in a pipe of SMB, too
		m.others(f)
	default:
		m.others(f)
	}
}

// others are the protocols of machines, and those that have no record of their own.
func (m *Maker) others(f *app.Fact) {
	if needs(sdk.FactsOT, f.Protocol) {
		if m.wants(f.Flow, &m.ot.share) {
			m.takeOT(f)
		}
		return
	}
	m.mqttLogin(f)
	if m.wants(f.Flow, &m.messages.share) {
		m.takeMessage(f)
	}
}

// seen is the head of a record.
func seen(f *app.Fact) (s sdk.Seen) {
	see(&s, f)
	return s
}

// see fills in the head of a record where it lies.
func see(s *sdk.Seen, f *app.Fact) {
	w := f.Flow
	s.Flow, s.Packet, s.Time = w.ID, w.Packet, time.Unix(0, w.Time).UTC()
	s.Client, s.Server, s.ClientPort, s.ServerPort = w.Client.Addr(), w.Server.Addr(), w.Client.Port(), w.Server.Port()
	s.VLAN, s.Proto, s.FromServer = w.VLAN, w.Transport, f.Dir == app.Server
}

// Limits of one text and of one list in a record.
const (
	maxText = 2048
	maxList = 256
)

// cut shortens a text.
func cut(s string) string { return s[:min(len(s), maxText)] }

// appendCut appends texts, within the limits, and returns how many bytes they have.
func appendCut(dst, list []string) ([]string, int) {
	n := 0
	for _, s := range list[:min(len(list), maxList)] {
		dst = append(dst, cut(s))
		n += min(len(s), maxText)
	}
	return dst, n
}

// appendWide appends numbers, within the limits.
func appendWide[N ~uint8 | ~uint16 | ~uint32](dst []uint64, list []N) []uint64 {
	for _, v := range list[:min(len(list), maxList)] {
		dst = append(dst, uint64(v))
	}
	return dst
}
