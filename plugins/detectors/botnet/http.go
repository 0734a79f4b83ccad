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
}

// pageKey is a page that a client sends to.
type pageKey struct {
	client, server bare.Addr
	port           uint16
	where          uint64 // hash of the path
}

// page is what is known of requests to it within some hours.
type page struct {
	pageKey
	host, path string
	requests   uint64
	counts     [9]uint64 // by sign
	lengths    [4]int64  // of the last requests
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
	// littleBytes is an answer that says no more than that something came.
	littleBytes = 64
	// forgetPage is how long a page is quiet until it begins anew, in ns.
	forgetPage = 6 * hour
)

// exchange weighs a request that sends something. What says clearly what it is, as JSON, and goes to no script is a service's.
func (d *Detector) exchange(h *sdk.HTTP, sink sdk.FindingSink) error {
	if h.Method != "POST" || h.GRPC || len(d.ignore) > 0 && d.ignored(h.Client, h.Server) {
		return nil
	}
	signs := signsOf(h)
	if signs&(vagueBody|gate) == 0 || bits.OnesCount16(uint16(signs)) < fewSigns {
		return nil
	}
	path, _, _ := strings.Cut(h.Target, "?")
	key := pageKey{client: bare.Of(h.Client), server: bare.Of(h.Server), port: h.ServerPort, where: hash(path)}
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
			signs |= sameLength
		}
	}
	p.lengths[p.requests%uint64(len(p.lengths))] = h.RequestLength
	p.requests++
	for i := range p.counts {
		if signs&(1<<i) != 0 {
			p.counts[i]++
		}
	}
	p.Add(at, h.Packet, flowref.Ref{ID: h.Flow, SrcPort: h.ClientPort, DstPort: h.ServerPort})
	if p.requests < 2*p.told || p.requests < fewRequests || p.score() < d.cfg.Signs-1 {
		return nil
	}
	p.told = p.requests
	return sink.Finding(d.ofPage(p))
}

func (d *Detector) lastOfPage(p *page, sink sdk.FindingSink) error {
	if p.told == 0 || p.told == p.requests || p.score() < d.cfg.Signs-1 {
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
		return 3*p.counts[i] >= p.requests
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
	for _, end := range []string{".php", ".asp", ".aspx", ".cgi", ".pl", ".jsp"} {
		if len(path) > len(end) && strings.EqualFold(path[len(path)-len(end):], end) {
			s |= gate
		}
	}
	if h.RequestLength != 0 && vague(h.RequestType, s&(noAgent|halfBrowser) != 0) {
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
	case "application/x-www-form-urlencoded":
		return program
	}
	return false
}
