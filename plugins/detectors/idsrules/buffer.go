package idsrules

// buffer is one of the texts that rules look into.
type buffer uint8

const (
	bufPayload buffer = iota // of the packet, or of the stream so far
	bufURI
	bufRawURI
	bufMethod
	bufHeader
	bufRawHeader
	bufCookie
	bufUserAgent
	bufHost
	bufRawHost
	bufRequestBody
	bufResponseBody
	bufFile
	bufStatus
	bufStatusText
	bufHeaderNames
	bufContentType
	bufContentLength
	bufReferer
	bufServer
	bufLocation
	bufAccept
	bufAcceptEncoding
	bufAcceptLanguage
	bufConnection
	bufProtocol
	bufRequestLine
	bufResponseLine
	bufRequestHeader  // each header by itself
	bufResponseHeader // the same
	bufDNSQuery
	bufSNI
	bufCertSubject
	bufCertIssuer
	bufCertSerial
	bufCertFingerprint
	bufJA3
	bufSSHSoftware
	bufSSHProtocol
	bufCount
)

// moment is when rules are evaluated.
type moment uint8

const (
	atPacket moment = iota
	atStream
	atRequest
	atResponse
	atDNS
	atClientHello
	atCertificate
	atSSH
	momentCount
)

// moments is a set of them.
type moments uint16

func (m moments) has(one moment) bool { return m>>one&1 != 0 }

func during(list ...moment) (m moments) {
	for _, one := range list {
		m |= 1 << one
	}
	return m
}

// bufferMoments says when a buffer is filled. What belongs to a request is still there at its answer.
var bufferMoments = func() (out [bufCount]moments) {
	for b := bufURI; b <= bufResponseHeader; b++ {
		out[b] = during(atRequest, atResponse)
	}
	for _, b := range []buffer{bufResponseBody, bufStatus, bufStatusText, bufServer, bufLocation, bufResponseLine, bufResponseHeader} {
		out[b] = during(atResponse)
	}
	out[bufDNSQuery] = during(atDNS)
	out[bufSNI], out[bufJA3] = during(atClientHello), during(atClientHello)
	for b := bufCertSubject; b <= bufCertFingerprint; b++ {
		out[b] = during(atCertificate)
	}
	out[bufSSHSoftware], out[bufSSHProtocol] = during(atSSH), during(atSSH)
	return out
}()

// bothWays are the buffers that are filled from a request and again from its answer.
var bothWays = map[buffer]bool{bufHeader: true, bufRawHeader: true, bufCookie: true, bufHeaderNames: true, bufContentType: true,
	bufContentLength: true, bufConnection: true, bufProtocol: true, bufFile: true}

// application is a protocol above the transport.
type application uint8

const (
	appNone application = iota // not known yet, or none of these
	appHTTP
	appTLS
	appSSH
	appFTP
	appSMTP
	appSMB
	appDNS
	appModbus
	appDNP3
	appOther // none of these, and that is certain
)

var applications = map[string]application{
	"http": appHTTP, "http1": appHTTP, "tls": appTLS, "ssl": appTLS, "ssh": appSSH, "ftp": appFTP, "smtp": appSMTP, "smb": appSMB,
	"dns": appDNS, "modbus": appModbus, "dnp3": appDNP3,
}

var bufferApplication = func() (out [bufCount]application) {
	for b := bufURI; b <= bufResponseHeader; b++ {
		out[b] = appHTTP
	}
	out[bufDNSQuery] = appDNS
	for b := bufSNI; b <= bufJA3; b++ {
		out[b] = appTLS
	}
	out[bufSSHSoftware], out[bufSSHProtocol] = appSSH, appSSH
	return out
}()

// modifiers are the keywords that stand behind a content and say where it is looked for.
var modifiers = map[string]buffer{
	"http_uri": bufURI, "http_raw_uri": bufRawURI, "http_method": bufMethod, "http_header": bufHeader, "http_raw_header": bufRawHeader,
	"http_cookie": bufCookie, "http_user_agent": bufUserAgent, "http_host": bufHost, "http_raw_host": bufRawHost,
	"http_client_body": bufRequestBody, "http_server_body": bufResponseBody, "http_stat_code": bufStatus, "http_stat_msg": bufStatusText,
}

// sticky are the keywords that stand before all contents that are looked for there.
var sticky = map[string]buffer{
	"pkt_data": bufPayload, "file_data": bufFile, "file.data": bufFile,
	"http.uri": bufURI, "http.uri.raw": bufRawURI, "http.method": bufMethod, "http.header": bufHeader, "http.header.raw": bufRawHeader,
	"http.cookie": bufCookie, "http.user_agent": bufUserAgent, "http.host": bufHost, "http.host.raw": bufRawHost,
	"http.request_body": bufRequestBody, "http.response_body": bufResponseBody, "http.stat_code": bufStatus, "http.stat_msg": bufStatusText,
	"http.header_names": bufHeaderNames, "http_header_names": bufHeaderNames, "http.content_type": bufContentType, "http_content_type": bufContentType,
	"http.content_len": bufContentLength, "http_content_len": bufContentLength, "http.referer": bufReferer, "http_referer": bufReferer,
	"http.server": bufServer, "http.location": bufLocation, "http.accept": bufAccept, "http_accept": bufAccept,
	"http.accept_enc": bufAcceptEncoding, "http_accept_enc": bufAcceptEncoding, "http.accept_lang": bufAcceptLanguage, "http_accept_lang": bufAcceptLanguage,
	"http.connection": bufConnection, "http_connection": bufConnection, "http.protocol": bufProtocol, "http_protocol": bufProtocol,
	"http.request_line": bufRequestLine, "http_request_line": bufRequestLine, "http.response_line": bufResponseLine, "http_response_line": bufResponseLine,
	"http.request_header": bufRequestHeader, "http.response_header": bufResponseHeader,
	"dns.query": bufDNSQuery, "dns_query": bufDNSQuery, "tls.sni": bufSNI, "tls_sni": bufSNI,
	"tls.cert_subject": bufCertSubject, "tls_cert_subject": bufCertSubject, "tls.cert_issuer": bufCertIssuer, "tls_cert_issuer": bufCertIssuer,
	"tls.cert_serial": bufCertSerial, "tls_cert_serial": bufCertSerial, "tls.cert_fingerprint": bufCertFingerprint, "tls_cert_fingerprint": bufCertFingerprint,
	"ja3.hash": bufJA3, "ja3_hash": bufJA3,
	"ssh.software": bufSSHSoftware, "ssh_software": bufSSHSoftware, "ssh.proto": bufSSHProtocol, "ssh_proto": bufSSHProtocol,
}

// pcreBuffers are the letters behind a pcre that say where it is looked for.
var pcreBuffers = map[byte]buffer{
	'U': bufURI, 'I': bufRawURI, 'P': bufRequestBody, 'Q': bufResponseBody, 'H': bufHeader, 'D': bufRawHeader, 'M': bufMethod, 'C': bufCookie,
	'S': bufStatus, 'Y': bufStatusText, 'V': bufUserAgent, 'W': bufHost, 'Z': bufRawHost,
}
