package sigma

// kind is what one evaluation looks at.
type kind uint8

const (
	question   kind = iota // a question to DNS
	answer                 // an answer of DNS, with its question
	request                // a request of HTTP, with the head of its answer
	handshake              // a handshake of TLS
	opening                // a file of a share that is opened or renamed
	call                   // of a remote procedure
	ticket                 // of Kerberos that is handed out
	desktop                // a connection of RDP
	connection             // a flow
	kinds
	none = kinds // what no log would hold
)

// column is a value of records, which may be of several kinds.
type column uint8

const (
	srcIP column = iota
	dstIP
	srcPort
	dstPort
	dnsQuery
	dnsType
	dnsTypeNumber
	dnsCode
	dnsCodeNumber
	dnsAnswers
	dnsRejected
	httpURL       // whole; it begins at the path too
	httpTarget    // as it was sent
	httpPathQuery // the target; it begins at the query too
	httpStem
	httpExtension
	httpHost
	httpMethod
	httpUserAgent
	httpReferer
	httpStatus
	httpVersion
	httpType
	httpLine // as web servers log it
	tlsName
	tlsVersion
	tlsProtocol
	tlsSubject
	tlsIssuer
	tlsSerial
	tlsNames
	tlsKeyBits
	tlsJA3
	tlsJA3S
	smbShare
	smbFile
	rpcEndpoint
	rpcOperation
	krbType
	krbCipher
	krbService
	rdpCookie
	flowProto
	flowSentBytes
	flowGotBytes
	flowSentPackets
	flowGotPackets
	columns
)

// nature is what can be asked of a column.
type nature uint8

const (
	isText nature = iota
	isNumber
	isAddress
)

// natures of those that are no text.
var natures = [columns]nature{
	srcIP: isAddress, dstIP: isAddress, srcPort: isNumber, dstPort: isNumber, dnsTypeNumber: isNumber, dnsCodeNumber: isNumber,
	httpStatus: isNumber, tlsKeyBits: isNumber, flowSentBytes: isNumber, flowGotBytes: isNumber, flowSentPackets: isNumber, flowGotPackets: isNumber,
}

// reading says which fields of a log are which columns of a kind of records, and where words without a field are looked for.
type reading struct {
	kind   kind
	fields map[string]column
	words  []column
}

// source is a log that rules are written for. A rule is run over each kind of records that tells all its fields; in the first of
// those only when each holds what the one before it does.
type source struct {
	log      log
	readings []reading
	first    bool
}

func fields(maps ...map[string]column) map[string]column {
	out := map[string]column{}
	for _, m := range maps {
		for name, c := range m {
			out[name] = c
		}
	}
	return out
}

var (
	hosts     = map[string]column{"src_ip": srcIP, "dst_ip": dstIP, "src_port": srcPort, "dst_port": dstPort}
	zeekHosts = map[string]column{"id.orig_h": srcIP, "id.resp_h": dstIP, "id.orig_p": srcPort, "id.resp_p": dstPort}

	dnsQuestion = fields(hosts, map[string]column{"query": dnsQuery, "record_type": dnsType})
	dnsAnswer   = fields(dnsQuestion, map[string]column{"answer": dnsAnswers})

	zeekQuestion = fields(zeekHosts, map[string]column{"query": dnsQuery, "qtype_name": dnsType, "qtype": dnsTypeNumber})
	zeekAnswer   = fields(zeekQuestion, map[string]column{"answers": dnsAnswers, "rejected": dnsRejected, "rcode": dnsCodeNumber, "rcode_name": dnsCode})

	// The names of the W3C, as proxies and web servers write them.
	extended = fields(hosts, map[string]column{
		"c-ip": srcIP, "c-uri": httpURL, "cs-uri": httpURL, "c-uri-query": httpPathQuery, "cs-uri-query": httpPathQuery, "c-uri-stem": httpStem, "cs-uri-stem": httpStem,
		"c-uri-extension": httpExtension, "cs-host": httpHost, "cs-method": httpMethod, "c-useragent": httpUserAgent, "cs-user-agent": httpUserAgent,
		"cs-referer": httpReferer, "cs-referrer": httpReferer, "cs-version": httpVersion, "sc-status": httpStatus,
	})
	proxied = fields(extended, map[string]column{"r-dns": httpHost})
	// tunnelled is what a proxy sees of a connection that is encrypted.
	tunnelled = fields(hosts, map[string]column{"c-ip": srcIP, "cs-host": tlsName, "r-dns": tlsName})

	zeekHTTP = fields(zeekHosts, map[string]column{
		"c-uri": httpURL, "c-useragent": httpUserAgent, // rules mix them
		"host": httpHost, "uri": httpTarget, "method": httpMethod, "user_agent": httpUserAgent, "referrer": httpReferer,
		"status_code": httpStatus, "version": httpVersion, "resp_mime_types": httpType,
	})
	zeekTLS = fields(zeekHosts, map[string]column{
		"server_name": tlsName, "version": tlsVersion, "next_protocol": tlsProtocol, "subject": tlsSubject, "issuer": tlsIssuer, "ja3": tlsJA3, "ja3s": tlsJA3S,
	})
	zeekCertificate = fields(zeekHosts, map[string]column{
		"certificate.serial": tlsSerial, "certificate.subject": tlsSubject, "certificate.issuer": tlsIssuer, "certificate.key_length": tlsKeyBits, "san.dns": tlsNames,
	})
)

// sources are all logs that the wire tells.
var sources = []source{
	{log{category: "dns"}, []reading{{question, dnsQuestion, []column{dnsQuery}}, {answer, dnsAnswer, nil}}, true},
	{log{category: "proxy"}, []reading{{request, proxied, nil}, {handshake, tunnelled, nil}}, false},
	{log{category: "webserver"}, []reading{{request, extended, []column{httpLine}}}, false},
	{log{category: "firewall"}, []reading{{connection, hosts, nil}}, false},
	{log{product: "zeek", service: "conn"}, []reading{{connection, fields(zeekHosts, map[string]column{
		"proto": flowProto, "orig_bytes": flowSentBytes, "resp_bytes": flowGotBytes, "orig_pkts": flowSentPackets, "resp_pkts": flowGotPackets,
	}), nil}}, false},
	{log{product: "zeek", service: "dns"}, []reading{{question, zeekQuestion, nil}, {answer, zeekAnswer, nil}}, true},
	{log{product: "zeek", service: "http"}, []reading{{request, zeekHTTP, nil}}, false},
	{log{product: "zeek", service: "ssl"}, []reading{{handshake, zeekTLS, nil}}, false},
	{log{product: "zeek", service: "x509"}, []reading{{handshake, zeekCertificate, nil}}, false},
	{log{product: "zeek", service: "smb_files"}, []reading{{opening, fields(zeekHosts, map[string]column{"path": smbShare, "name": smbFile}), []column{smbShare, smbFile}}}, false},
	{log{product: "zeek", service: "dce_rpc"}, []reading{{call, fields(zeekHosts, map[string]column{"endpoint": rpcEndpoint, "operation": rpcOperation}), nil}}, false},
	{log{product: "zeek", service: "kerberos"}, []reading{{ticket, fields(zeekHosts, map[string]column{"request_type": krbType, "cipher": krbCipher, "service": krbService}), nil}}, false},
	{log{product: "zeek", service: "rdp"}, []reading{{desktop, fields(zeekHosts, map[string]column{"cookie": rdpCookie}), nil}}, false},
}

func sourceOf(l log) (*source, error) {
	for i := range sources {
		if sources[i].log == l {
			return &sources[i], nil
		}
	}
	return nil, &lack{keyword: l.String(), reason: "the wire does not tell what is in this log", elsewhere: true}
}
