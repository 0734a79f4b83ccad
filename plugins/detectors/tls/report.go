package tls

import (
	"fmt"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/sdk"
)

// What is found, by number.
const (
	toolCertificate uint8 = iota
	knownFingerprint
	unnamedChannel
	torConnection
	certificateChanged
	certificateTime
	certificateName
	outdated
	outdatedClient
	rareFingerprint
	heartbleed
)

// rule is what is said of it.
type rule struct {
	id, purpose string
	techniques  []string
	severity    sdk.Severity
	confidence  float64
	benign      string
}

var rules = [...]rule{
	toolCertificate: {"tool-certificate", "A server shows the certificate that a tool for attacks makes by default.",
		[]string{"T1573.002", "T1071.001", "T1587.003"}, sdk.SeverityHigh, 0.9, "A test of one's own defences."},
	knownFingerprint: {"known-fingerprint", "A client or a certificate is in the operator's list of bad ones.",
		[]string{"T1573.002", "T1071.001"}, sdk.SeverityMedium, 0.6, "A fingerprint of a client is that of a library, which others use, too."},
	unnamedChannel: {"unnamed-channel", "A connection to a server outside of which neither the client nor a certificate tells who it is.",
		[]string{"T1573.002", "T1071.001"}, sdk.SeverityLow, 0.45, "Appliances that are managed by their addresses over the internet, cameras, programs that connect peers."},
	torConnection: {"tor", "A client uses Tor.",
		[]string{"T1090.003"}, sdk.SeverityMedium, 0.7, "People who may use Tor."},
	certificateChanged: {"certificate-changed", "A server shows another certificate, which it vouches for itself, long before the one before ends.",
		nil, sdk.SeverityLow, 0.4, "A device that was set up anew, a proxy that inspects what is encrypted."},
	certificateTime: {"certificate-time", "The certificate of a server has expired or is not valid yet.",
		nil, sdk.SeverityLow, 0.95, "Nobody renewed it."},
	certificateName: {"certificate-name", "The certificate of a server outside is not for the name that was asked for.",
		nil, sdk.SeverityLow, 0.6, "A server of many sites that shows the certificate of another one."},
	outdated: {"outdated-server", "A server protects with a version, a cipher, a key or a signature that is outdated.",
		nil, sdk.SeverityInfo, 0.95, "Old devices."},
	outdatedClient: {"outdated-client", "A client offers nothing better than an outdated version.",
		nil, sdk.SeverityInfo, 0.95, "Old devices."},
	rareFingerprint: {"rare-client", "A client says hello like no other in the network, and began to after the others were learned.",
		[]string{"T1071.001"}, sdk.SeverityInfo, 0.3, "A new program, or a new version of one that only one host has yet."},
	heartbleed: {"heartbleed", "A heartbeat asked for more than it brought, as whoever wants to read the memory of the other side does (CVE-2014-0160).",
		[]string{"T1190"}, sdk.SeverityHigh, 0.9, "A scanner that looks for servers that are open to it."},
}

// leaked says that a heartbeat was answered with more than it brought.
const leaked uint32 = 1

// Signs of what is in the operator's list.
const (
	listedClient uint32 = 1 << iota
	listedCertificate
)

func (d *Detector) listed(r *sdk.TLS) (signs uint32) {
	if len(d.bad) == 0 {
		return 0
	}
	if _, found := d.bad[r.JA3]; found {
		signs |= listedClient
	}
	if _, found := d.bad[r.JA4]; found {
		signs |= listedClient
	}
	for _, sum := range r.Chain {
		if _, found := d.bad[sum]; found {
			signs |= listedCertificate
		}
	}
	return signs
}

// judge is how severe a matter is, how sure, and its text.
func judge(i *issue.Issue) (sdk.Severity, float64, string) {
	r := &rules[i.Key.Rule]
	severity, confidence := r.severity, r.confidence
	client, server, name := i.Key.Client.Addr(), "", ""
	if i.Key.Server.Addr().IsValid() {
		server = i.Server()
	}
	if len(i.Names) > 0 {
		name = i.Names[0]
	}
	switch i.Key.Rule {
	case toolCertificate:
		return severity, confidence, fmt.Sprintf("%s is connected to %s, which shows the certificate that %s makes by default", client, server, name)
	case knownFingerprint:
		if i.Signs&listedCertificate != 0 {
			return sdk.SeverityHigh, 0.9, fmt.Sprintf("%s is connected to %s, whose certificate is listed as bad", client, server)
		}
		return severity, confidence, fmt.Sprintf("%s says hello to %s as what is listed as bad does", client, server)
	case unnamedChannel:
		confidence = float64(weigh(i.Signs)) / 100
		if i.Signs&strong != 0 {
			severity = sdk.SeverityMedium
		}
		return severity, confidence, fmt.Sprintf("%s is connected to %s, and nothing proves who that is: %s", client, server, words(channelWords, i.Signs))
	case torConnection:
		if i.Signs&torCertificate != 0 {
			confidence = 0.9
		}
		return severity, confidence, fmt.Sprintf("%s uses Tor, by %s", client, words([]string{"the certificates of relays", "several servers with names made by chance"}, i.Signs))
	case certificateChanged:
		if i.Signs&noAuthority != 0 {
			return sdk.SeverityMedium, 0.65, fmt.Sprintf("%s got a certificate from %s that it vouches for itself, where an authority did before", client, server)
		}
		return severity, confidence, fmt.Sprintf("%s got another certificate from %s, of the same name, long before the one before ends", client, server)
	case certificateTime:
		if i.Signs&inside != 0 {
			severity = sdk.SeverityInfo
		}
		return severity, confidence, fmt.Sprintf("%s shows a certificate that %s (%s)", server, words([]string{"has expired", "is not valid yet"}, i.Signs), name)
	case certificateName:
		return severity, confidence, fmt.Sprintf("%s shows a certificate that is not for %s", server, strings.Join(i.Names, ", "))
	case heartbleed:
		if i.Signs&leaked != 0 {
			return severity, 0.97, fmt.Sprintf("%s read memory of %s by heartbeats that ask for more than they bring (Heartbleed)", client, server)
		}
		return severity, confidence, fmt.Sprintf("%s asked %s for its memory by heartbeats that ask for more than they bring (Heartbleed), and got none", client, server)
	case outdated, outdatedClient:
		if i.Signs&weak != 0 {
			severity = sdk.SeverityLow
		}
		if i.Key.Rule == outdatedClient {
			return severity, confidence, fmt.Sprintf("%s offers nothing newer than TLS 1.1, and got %s", client, words(strengthWords, i.Signs))
		}
		return severity, confidence, fmt.Sprintf("%s protects with %s", server, words(strengthWords, i.Signs))
	}
	return severity, confidence, fmt.Sprintf("%s says hello like no other in the network: %s", client, name)
}

var (
	channelWords  = []string{"no name is asked for", "the server vouches for itself", "its certificate says nothing", "the port is unusual", "no protocols are offered"}
	strengthWords = []string{"SSL 3.0 or less", "TLS 1.0", "TLS 1.1", "no encryption", "a cipher for export", "no proof of who the server is", "RC4", "DES, 3DES or their kin",
		"a short key", "a key that is broken", "a certificate signed by MD5 or SHA-1"}
)

// words names signs, one after the other.
func words(names []string, signs uint32) string {
	var out []string
	for i, name := range names {
		if signs&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

func (d *Detector) finding(i *issue.Issue) sdk.Finding {
	r := &rules[i.Key.Rule]
	severity, confidence, text := judge(i)
	f := i.Finding(severity, confidence)
	f.Detector, f.Rule, f.Techniques, f.Summary = "picket/tls", r.id, r.techniques, text
	return f
}
