package botnet

import (
	"math/bits"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// sign is one of the weak signs that add up.
type sign uint16

const (
	numericHost sign = 1 << iota // of the internet
	oddPort
	noAgent       // no user agent, that of a library, or one that nothing has
	halfBrowser   // it says that it is a browser, and does not ask as one does
	gate          // the path of a script
	vagueBody     // bytes without a type, or a form from what is no browser
	littleAnswer  // an error, or hardly anything, and it goes on
	sameLength    // as the one before
	fetchesOrders // a page of text answers what is no browser
	identifier    // the address holds what only one host or session has
	onlyHere      // the host says who asks in a way that it has nowhere else
	manyServers   // the same goes to several servers
	letterKey     // a parameter of one letter holds a word by chance
	// signs is how many there are.
	signs = iota
)

var signNames = []struct {
	sign
	text string
}{
	{numericHost, "a bare address"},
	{oddPort, "an unusual port"},
	{noAgent, "no proper user agent"},
	{halfBrowser, "a browser that does not ask like one"},
	{gate, "the path of a script"},
	{vagueBody, "a body of no clear type"},
	{littleAnswer, "hardly an answer"},
	{sameLength, "always the same length"},
	{fetchesOrders, "a web page as the answer to a program"},
	{identifier, "an identifier in the address"},
	{onlyHere, "a user agent that the host has nowhere else"},
	{manyServers, "the same to several servers"},
	{letterKey, "a word by chance under a name of one letter"},
}

// pageKey is a page that a client sends to; without a server it is requests of one kind, wherever they go.
type pageKey struct {
	client, server bare.Addr
	port           uint16
	where          uint64 // hash of the path, or of the kind
}

// page is what is known of requests to it within some hours.
type page struct {
	pageKey
	host, path string
	requests   uint64
	counts     [signs]uint64      // by sign
	lengths    [4]int64           // of the last requests
	servers    [maxServers]uint64 // hashes of the first ones, of a kind
	told       uint64
	evidence.Evidence
}

const (
	// maxText is how much of a name or a path is kept.
	maxText = 128
	// fewRequests are judged: one is chance.
	fewRequests = 3
	// fewSigns are worth remembering.
	fewSigns = 2
	// maxServers is how many servers of a kind are told apart, and fewServers from how many on they are several.
	maxServers, fewServers = 8, 3
	// littleBytes is an answer that says no more than that something came.
	littleBytes = 64
	// forgetPage is how long a page is quiet until it begins anew, in ns.
	forgetPage = 6 * hour
)

// exchange weighs a request that sends something, or that asks an address by what only one host has. What says clearly what it is, as
// JSON, and goes to no script is a service's.
func (d *Detector) exchange(h *sdk.HTTP, sink sdk.FindingSink) error {
	if h.Method == "" || h.GRPC || len(d.ignore) > 0 && d.ignored(h.Client, h.Server) {
		return nil
	}
	client, agent := bare.Of(h.Client), hash(h.UserAgent)
	s := signsOf(h)
	if d.onlyHere(client, agent, hash(h.Host)) {
		s |= onlyHere
	}
	asks := h.Method == "GET" && s&numericHost != 0 && s&(gate|identifier) != 0
	if h.Method != "POST" && !asks || s&(vagueBody|gate|identifier) == 0 || bits.OnesCount16(uint16(s)) < fewSigns {
		return nil
	}
	path, _, _ := strings.Cut(h.Target, "?")
	server := bare.Of(h.Server)
	if err := d.request(h, s, pageKey{client: client, server: server, port: h.ServerPort, where: hash(path)}, path, sink); err != nil {
		return err
	}
	kind, _, _ := strings.Cut(h.RequestType, ";")
	return d.request(h, s, pageKey{client: client, where: agent ^ hash(kind+h.Method+ending(path))}, path, sink)
}

// request adds one to a page, or to a kind.
func (d *Detector) request(h *sdk.HTTP, s sign, key pageKey, path string, sink sdk.FindingSink) error {
	at := h.Time.UnixNano()
	p, known := d.pages.Get(key)
	switch {
	case known && at-p.End() > forgetPage:
		if err := d.lastOfPage(p, sink); err != nil {
			return err
		}
		*p = page{pageKey: key, host: p.host, path: p.path}
	case !known:
		if old, full := d.pages.Crowded(); full {
			if err := d.lastOfPage(old, sink); err != nil {
				return err
			}
			d.pages.Forget(old.pageKey)
		}
		p = &page{pageKey: key, host: short(h.Host), path: short(path)}
		d.pages.Put(key, p)
	}
	for _, one := range p.lengths {
		if h.RequestLength > 0 && one == h.RequestLength {
			s |= sameLength
		}
	}
	p.lengths[p.requests%uint64(len(p.lengths))] = h.RequestLength
	p.requests++
	if p.ofKind() {
		if p.meet(hash(h.Host)); p.met() >= fewServers {
			p.counts[bits.TrailingZeros16(uint16(manyServers))] = p.requests
		}
	}
	for i := range p.counts {
		if s&(1<<i) != 0 {
			p.counts[i]++
		}
	}
	ref := flowref.Ref{ID: h.Flow, SrcPort: h.ClientPort, DstPort: h.ServerPort}
	if p.ofKind() { // its flows go to several servers
		ref = flowref.Ref{}
	}
	p.Add(at, h.Packet, ref)
	if p.requests < 2*p.told || !d.telling(p) {
		return nil
	}
	p.told = p.requests
	return sink.Finding(d.ofPage(p))
}

// telling reports whether a page has signs enough. A single request needs two more of them; a kind is told when a program's goes
// to several servers.
func (d *Detector) telling(p *page) bool {
	switch score := p.score(); {
	case p.ofKind():
		program := p.counts[bits.TrailingZeros16(uint16(noAgent))] + p.counts[bits.TrailingZeros16(uint16(halfBrowser))]
		return p.met() >= fewServers && 2*program > p.requests && score >= d.cfg.Signs-1
	case p.requests < fewRequests:
		return score > d.cfg.Signs || score == d.cfg.Signs && p.uploads()
	default:
		return score >= d.cfg.Signs-1
	}
}

// uploads reports whether a program sends something of no clear type to an unusual port of a bare address, which is odd by itself.
func (p *page) uploads() bool {
	all := func(s sign) bool { return p.counts[bits.TrailingZeros16(uint16(s))] == p.requests }
	return all(numericHost) && all(oddPort) && all(vagueBody) && (all(noAgent) || all(halfBrowser))
}

// ofKind reports whether it is requests of one kind, and not a page.
func (p *page) ofKind() bool { return p.server == (bare.Addr{}) }

// meet remembers a server.
func (p *page) meet(server uint64) {
	for i, known := range p.servers {
		if known == server {
			return
		}
		if known == 0 {
			p.servers[i] = server
			return
		}
	}
}

// met is how many servers there are, up to as many as are told apart.
func (p *page) met() (n int) {
	for _, known := range p.servers {
		if known != 0 {
			n++
		}
	}
	return n
}

// agents are how a host says who asks, each with the server that hears it, and how often.
type agents struct {
	client bare.Addr
	list   [8]struct {
		agent, server uint64
		many          bool
		requests      uint64
	}
}

// enoughRequests are those of other programs from which on it says something that one program asks a single server.
const enoughRequests = 10

// onlyHere remembers how a host says who asks, and reports whether it does so with this server alone. The least used one of the host
// makes room for another.
func (d *Detector) onlyHere(client bare.Addr, agent, server uint64) bool {
	a, known := d.agents.Get(client)
	if !known {
		if old, full := d.agents.Crowded(); full {
			d.agents.Forget(old.client)
		}
		a = &agents{client: client}
		d.agents.Put(client, a)
	}
	at, others := -1, uint64(0)
	least := 0
	for i := range a.list {
		switch {
		case a.list[i].requests > 0 && a.list[i].agent == agent:
			at = i
			continue
		case a.list[i].requests < a.list[least].requests:
			least = i
		}
		others += a.list[i].requests
	}
	if at < 0 {
		at = least
		others -= a.list[at].requests
		a.list[at].agent, a.list[at].server, a.list[at].many, a.list[at].requests = agent, server, false, 0
	}
	one := &a.list[at]
	one.requests++
	one.many = one.many || one.server != server
	return !one.many && others >= enoughRequests
}

func (d *Detector) lastOfPage(p *page, sink sdk.FindingSink) error {
	if p.told == 0 || p.told == p.requests || !d.telling(p) {
		return nil
	}
	p.told = p.requests
	return sink.Finding(d.ofPage(p))
}

// score is how many signs most of the requests have. Lengths repeat when every third is one of those before.
func (p *page) score() (n int) {
	for i := range p.counts {
		if p.has(i) {
			n++
		}
	}
	return n
}

func (p *page) has(i int) bool {
	if sign(1)<<i == sameLength {
		return p.requests >= fewRequests && 3*p.counts[i] >= p.requests
	}
	return 2*p.counts[i] > p.requests
}

func short(s string) string { return strings.Clone(s[:min(len(s), maxText)]) }

func signsOf(h *sdk.HTTP) (s sign) {
	name := h.Host
	if host, _, ported := strings.Cut(name, ":"); ported {
		name = host
	}
	if a, err := netip.ParseAddr(name); err == nil && outside(a) {
		s |= numericHost
	}
	switch h.ServerPort {
	case 80, 443, 3128, 8080, 8443:
	default:
		s |= oddPort
	}
	browser := strings.HasPrefix(h.UserAgent, "Mozilla/")
	switch {
	case !browser && oddAgent(h.UserAgent):
		s |= noAgent
	case browser && (h.Referer == "" || !browserLike(h.RequestHeaders)) && !has(h.RequestHeaders, "Origin"):
		s |= halfBrowser
	}
	path, _, _ := strings.Cut(h.Target, "?")
	if ending(path) != "" {
		s |= gate
	}
	if identifies(h.Target) {
		s |= identifier
	}
	if keyedByLetter(h.Target) {
		s |= letterKey
	}
	if h.RequestLength != 0 && vague(h.RequestType, !browser || s&halfBrowser != 0) {
		s |= vagueBody
	}
	if h.Status >= 400 && h.Status < 500 && h.Status != 401 && h.Status != 407 || h.Status == 200 && h.ResponseLength >= 0 && h.ResponseLength <= littleBytes {
		s |= littleAnswer
	}
	if s&(noAgent|halfBrowser) != 0 && h.Status == 200 && h.ResponseLength > littleBytes && strings.HasPrefix(h.ContentType, "text/html") {
		s |= fetchesOrders
	}
	return s
}

// ending is that of a script, "" for other paths.
func ending(path string) string {
	for _, end := range []string{".php", ".asp", ".aspx", ".cgi", ".pl", ".jsp"} {
		if len(path) > len(end) && strings.EqualFold(path[len(path)-len(end):], end) {
			return end
		}
	}
	return ""
}

// What an identifier has at least: sums and keys in base 16 or 64 have 24 characters and more, and many digits among them.
const (
	identifierLength = 24
	identifierDigits = 5
)

// identifies reports whether part of a target is by chance. What hyphens divide (dates, words, the UUIDs of services) is not.
func identifies(target string) bool {
	length, digits, letters := 0, 0, 0
	for i := range len(target) {
		switch c := target[i]; {
		case c >= '0' && c <= '9':
			digits++
			length++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			letters++
			length++
		case c == '+', c == '%':
			length++
		default:
			length, digits, letters = 0, 0, 0
		}
		if length >= identifierLength && digits >= identifierDigits && letters >= identifierDigits {
			return true
		}
	}
	return false
}

// keyedByLetter reports whether all that a target asks for is a word by chance whose name is one letter, as in ?u=vx12ab9d0: small
// letters and digits, two of each at least, eight or more in all.
func keyedByLetter(target string) bool {
	_, query, _ := strings.Cut(target, "?")
	if len(query) < len("x=")+8 || query[1] != '=' || query[0] < 'a' || query[0] > 'z' {
		return false
	}
	digits, letters := 0, 0
	for _, c := range []byte(query[2:]) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z':
			letters++
		default:
			return false
		}
	}
	return digits >= 2 && letters >= 2
}

// oddAgent reports whether a user agent is missing, that of a library, or a word without a version.
func oddAgent(agent string) bool {
	for _, library := range []string{"curl/", "Wget/", "python", "Python", "Go-http-client/", "Java/", "libwww", "WinHTTP", "WinHttp", "PowerShell", "okhttp/", "aiohttp/", "node-fetch", "axios/"} {
		if strings.HasPrefix(agent, library) {
			return true
		}
	}
	return !strings.Contains(agent, "/")
}

// browserLike reports whether a request says which languages it wants, as those of browsers do.
func browserLike(headers []string) bool { return has(headers, "Accept-Language") }

func has(headers []string, name string) bool {
	for _, h := range headers {
		if len(h) > len(name) && h[len(name)] == ':' && strings.EqualFold(h[:len(name)], name) {
			return true
		}
	}
	return false
}

// vague reports whether a type says nothing: none, that of any bytes, or that of forms where no browser sends it.
func vague(kind string, program bool) bool {
	kind, _, _ = strings.Cut(kind, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "", "application/octet-stream", "text/plain", "*/*":
		return true
	case "application/x-www-form-urlencoded", "multipart/form-data":
		return program
	}
	return false
}
