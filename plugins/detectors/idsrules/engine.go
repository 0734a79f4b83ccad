package idsrules

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/picketwatch/picket/sdk"
)

// engine evaluates rules over packets.
type engine struct {
	*index
	decoder   decoder
	flows     flows
	depth     int64 // bytes of each direction of a stream that are looked into
	limits    limits
	alert     func(r *rule, v *view)
	exhausted uint64 // evaluations that were given up
	missed    bool   // the latest evaluation failed by its contents alone

	packet     packet
	view       view
	behind     view // of the direction that the packet does not go
	told       view // of what a parser understood
	matching   matching
	stamps     []uint32 // by rule: the search in which it was found last
	matchedIn  []uint64 // by rule: the packet that matched last, by its payload or by what it adds to the stream
	inspected  uint64
	stamp      uint32
	candidates []*rule
	unpacker   unpacker
	room       [bufCount][]byte
	names      [][]byte // of a message of DNS
}

// view is what a rule is evaluated on.
type view struct {
	moment   moment
	dir      direction
	src, dst end
	flow     *flow // nil for a packet that belongs to none
	packet   *packet
	base     int64 // of the stream's window

	set, several uint64 // by buffer: what holds of it
	bufs         [bufCount][]byte
	each         [bufCount][][]byte // of buffers that come several times
}

// begin forgets the buffers of what was looked at before. They are not emptied, for a view is large.
func (v *view) begin(p *packet) {
	v.moment, v.dir, v.flow, v.packet, v.base, v.set, v.several = 0, 0, nil, p, 0, 0, 0
}

func newEngine(x *index, most, mostBuffered int, depth int64, limits limits, alert func(*rule, *view)) *engine {
	e := &engine{index: x, depth: depth, limits: limits, alert: alert, stamps: make([]uint32, len(x.rules)), matchedIn: make([]uint64, len(x.rules))}
	e.decoder.checksums = x.sums
	e.flows = flows{seed: rand.Uint64(), most: most, mostBuffered: mostBuffered, ended: e.ended, sets: x.sets}
	names := 0
	for _, r := range x.rules {
		names = max(names, r.names)
	}
	e.matching.extracted = make([]int64, names)
	return e
}

// inspect evaluates the rules on one packet.
func (e *engine) inspect(in *sdk.Packet) {
	p := &e.packet
	e.decoder.decode(p, in)
	e.inspected++
	v := &e.view
	v.begin(p)
	v.src, v.dst = end{addr: p.src, port: p.srcPort}, end{addr: p.dst, port: p.dstPort}
	if !p.events.none() {
		for _, r := range e.events {
			if r.events.meet(&p.events) {
				e.evaluate(r, v)
			}
		}
	}
	for _, r := range e.anything {
		e.evaluate(r, v)
	}
	if p.ipVersion == 0 {
		return
	}
	var f *flow
	var d direction
	if !p.later && (p.transport || p.proto != protoTCP && p.proto != protoUDP) {
		f, d = e.flows.find(p)
		f.advance(p, d)
		v.flow, v.dir = f, d
		v.src.sets, v.dst.sets = f.client.sets, f.server.sets
		if d == toClient {
			v.src.sets, v.dst.sets = v.dst.sets, v.src.sets
		}
	} else {
		v.src.sets, v.dst.sets = e.sets(p.src), e.sets(p.dst)
	}
	if f == nil || !f.judged[d] {
		if f != nil {
			f.judged[d] = true
		}
		e.addresses(&e.address, v)
	}
	switch {
	case f == nil || p.proto != protoTCP:
		e.datagram(v)
	default:
		if rules := e.byFlags[p.flags]; rules != nil {
			e.addresses(rules, v)
		}
		e.segment(v)
	}
}

func (e *events) meet(other *events) bool {
	for i := range e {
		if e[i]&other[i] != 0 {
			return true
		}
	}
	return false
}

func (e *engine) addresses(rules *addressRules, v *view) {
	e.run(rules.always, v)
	if rules.bySrc.mayHold(v.src.addr) {
		e.run(rules.bySrc.rules, v)
	}
	if rules.byDst.mayHold(v.dst.addr) {
		e.run(rules.byDst.rules, v)
	}
	if rules.to != nil {
		e.run(rules.to[v.dst.port], v)
	}
}

func (e *engine) run(rules []*rule, v *view) {
	for _, r := range rules {
		if r.moments.has(v.moment) {
			e.evaluate(r, v)
		}
	}
}

// datagram evaluates a packet that stands for itself.
func (e *engine) datagram(v *view) {
	p := v.packet
	v.moment = atPacket
	v.put(bufPayload, p.payload)
	e.begin()
	list := otherPackets
	if p.proto == protoUDP {
		list = udpPackets
		if v.flow != nil && v.flow.app == appNone && (p.srcPort == 53 || p.dstPort == 53) && saneDNS(p.payload) {
			v.flow.app = appDNS
		}
		e.byPort(1, v)
	}
	e.find(&e.packets[list], v, p.payload, 0, single)
	e.settleCandidates(v, e.index.datagram[list])
	if v.flow != nil && v.flow.app == appDNS {
		e.dns(v, p.payload)
	}
}

func (e *engine) byPort(which int, v *view) {
	rules := &e.ports[which]
	if rules.has(v.dst.port) {
		for _, r := range rules.to[v.dst.port] {
			e.candidate(r, v)
		}
	}
	if rules.has(v.src.port) {
		for _, r := range rules.from[v.src.port] {
			e.candidate(r, v)
		}
	}
}

// segment evaluates a packet of TCP, and what it adds to its stream.
func (e *engine) segment(v *view) {
	p, f := v.packet, v.flow
	s := &f.sides[v.dir]
	v.moment = atPacket
	v.put(bufPayload, p.payload)
	aligned := false
	if len(p.payload) > 0 && !s.encrypted && s.total < e.depth {
		seq := p.seq
		if p.flags&2 != 0 {
			seq++ // data that came with a SYN
		}
		aligned = !s.started || seq == s.next
		first := aligned
		e.flows.take(f, v.dir, seq, p.payload, func(data []byte, lost bool) {
			e.streamed(v, data, lost, first)
			first = false
		})
		if s.total >= e.depth {
			e.flows.drop(s)
		}
		e.flows.crowd(f)
	}
	if !aligned {
		e.begin()
		e.byPort(0, v)
		if len(p.payload) > 0 && !s.encrypted {
			e.find(&e.streams[v.dir], v, p.payload, 0, single)
		}
		v.moment = atPacket
		v.put(bufPayload, p.payload)
		e.settleCandidates(v, e.alone[atPacket][v.dir])
	}
	if f.closed[0] && f.closed[1] && (f.http != nil || s.window != nil) {
		e.ended(f)
		e.flows.release(f)
	}
}

// streamed evaluates data that is in order. With whole it is the payload of the packet.
func (e *engine) streamed(v *view, data []byte, lost, whole bool) {
	f, d := v.flow, v.dir
	s := &f.sides[d]
	if lost {
		e.flows.drop(s)
		if f.http != nil {
			f.http.broken(d)
		}
		if f.tls != nil {
			f.tls.finish(d)
		}
		return
	}
	e.flows.extend(s, data)
	if f.app == appNone {
		f.detect(d)
	}
	e.application(v, data)
	e.begin()
	in := inStream
	if whole {
		in = inBoth
	}
	v.base = s.base
	e.find(&e.streams[d], v, s.window, len(s.window)-len(data), in)
	v.base = 0
	e.byPort(0, v)
	if whole {
		v.moment = atPacket
		v.put(bufPayload, v.packet.payload)
		e.settleCandidates(v, e.alone[atPacket][d])
	}
	for _, r := range s.waiting {
		e.candidate(r, v)
	}
	s.waiting = s.waiting[:0]
	if alone := e.alone[atStream][d]; len(e.candidates)+len(alone) > 0 {
		v.moment, v.base = atStream, s.base
		v.put(bufPayload, s.window)
		e.settleCandidates(v, alone)
	}
	if f.tls != nil && f.tls.done[d] && f.tls.state&tlsClientHello != 0 {
		s.encrypted = true // nothing can be found in what follows
		e.flows.drop(s)
	}
}

// application hands data to the parser of its protocol, and evaluates what that understands.
func (e *engine) application(v *view, data []byte) {
	f, d := v.flow, v.dir
	switch f.app {
	case appHTTP:
		if f.http == nil {
			f.http = &httpConversation{}
			if f.sides[d].base > 0 {
				f.http.sides[d].state = lost
			}
			e.late(f, d.back())
			data = f.sides[d].window
		}
		before := f.http.held
		f.http.feed(d, data, func(d direction, m, request *message) { e.message(v, d, m, request) })
		e.flows.buffered += f.http.held - before
	case appTLS:
		if f.tls == nil {
			f.tls = &tlsConversation{}
			data = f.sides[d].window
		}
		before := cap(f.tls.text[d])
		f.tls.feed(d, data, e.wanted[bufJA3], func(h hello) { e.hello(v, h) }, func(c certificate) { e.certificate(v, c) })
		e.flows.buffered += cap(f.tls.text[d]) - before
	case appSSH:
		if !f.bannerRead[d] {
			e.banner(v)
		}
	case appDNS:
		e.dnsStream(v)
	}
}

// late feeds what came before the protocol was known.
func (e *engine) late(f *flow, d direction) {
	if s := &f.sides[d]; s.base == 0 && len(s.window) > 0 {
		before := f.http.held
		v := e.other(&e.behind, f, d)
		f.http.feed(d, s.window, func(d direction, m, request *message) { e.message(v, d, m, request) })
		e.flows.buffered += f.http.held - before
	} else if s.base > 0 {
		f.http.sides[d].state = lost
	}
}

// other is a view of the ends of a flow, for what no single packet stands for.
func (e *engine) other(v *view, f *flow, d direction) *view {
	v.begin(&e.packet)
	v.flow, v.dir, v.src, v.dst = f, d, f.client, f.server
	if d == toClient {
		v.src, v.dst = v.dst, v.src
	}
	return v
}

// ended evaluates what was begun when a flow ends.
func (e *engine) ended(f *flow) {
	if f.http != nil {
		f.http.end(func(d direction, m, request *message) { e.message(e.other(&e.behind, f, d), d, m, request) })
	}
}

// begin forgets the candidates.
func (e *engine) begin() {
	e.stamp++
	e.candidates = e.candidates[:0]
}

func (e *engine) candidate(r *rule, v *view) {
	if e.stamps[r.index] != e.stamp {
		e.stamps[r.index] = e.stamp
		if r.concerns(v) {
			e.candidates = append(e.candidates, r)
		}
	}
}

// concerns reports whether a rule is for the ports and the protocol of a view.
func (r *rule) concerns(v *view) bool {
	if r.app != appNone && (v.flow == nil || r.app != v.flow.app) {
		return false
	}
	return r.both || r.dstHull.has(v.dst.port, &r.dstPorts) && r.srcHull.has(v.src.port, &r.srcPorts)
}

// place is what a text is that is searched.
type place uint8

const (
	single   place = iota // it stands for itself
	inStream              // it is the window of a stream, and ends with what is new
	inBoth                // the same, and what is new is the payload of the packet
)

// find adds the rules whose content lies in a text and ends behind its first from bytes.
func (e *engine) find(s *search, v *view, text []byte, from int, in place) {
	if s.sieve == nil || len(text) <= from {
		return
	}
	s.sieve.Find(text, from, func(n int32, end int) {
		for _, r := range s.rules[n] {
			if e.stamps[r.index] == e.stamp {
				continue
			}
			c := r.fast
			start := end - len(c.pattern)
			if !c.nocase && !bytes.Equal(text[start:end], c.pattern) || c.fixed() && !fits(r, start, from, v.base, in) {
				continue
			}
			e.candidate(r, v)
		}
	})
}

// fits reports whether the content of a rule is where it must be, in the stream or in the packet.
func fits(r *rule, start, from int, base int64, in place) bool {
	switch in {
	case single:
		return r.fast.fits(int64(start))
	case inBoth:
		if r.moments.has(atPacket) && r.fast.fits(int64(start-from)) {
			return true
		}
	}
	return r.moments.has(atStream) && r.fast.fits(base+int64(start))
}

// settleCandidates evaluates the candidates of the view's moment, and before them those that are always to be tried. Of a stream
// those that do not match yet wait for more.
func (e *engine) settleCandidates(v *view, always []*rule) {
	for _, r := range always {
		e.evaluate(r, v)
	}
	if len(e.candidates) > 1 {
		slices.SortFunc(e.candidates, byOrder)
	}
	for _, r := range e.candidates {
		if !r.moments.has(v.moment) {
			continue
		}
		if e.evaluate(r, v) || !e.missed || v.moment != atStream || r.fast == nil {
			continue
		}
		if s := &v.flow.sides[v.dir]; len(s.waiting) < maxWaiting && r.waits() {
			s.waiting = append(s.waiting, r)
		}
	}
}

// waits reports whether more of a stream can make the rule match.
func (r *rule) waits() bool {
	for _, g := range r.groups {
		if g.buf == bufPayload && len(g.tests) > 1 {
			return r.searched()
		}
	}
	return false
}

func (v *view) put(b buffer, text []byte) {
	v.bufs[b] = text
	v.set |= 1 << b
}

// putAll fills a buffer that comes several times.
func (v *view) putAll(b buffer, texts [][]byte) {
	v.each[b] = texts
	v.set |= 1 << b
	v.several |= 1 << b
}

// evaluate reports whether a rule matches, and does what it says then.
func (e *engine) evaluate(r *rule, v *view) bool {
	e.missed = false
	if v.moment == atStream && e.matchedIn[r.index] == e.inspected {
		return true // the packet was an alert by itself
	}
	if !r.network.has(v.packet) && v.moment <= atStream {
		return false
	}
	if r.toServer != r.toClient && (v.flow == nil || (v.dir == toServer) != r.toServer) {
		return false
	}
	if !r.between(&v.src, &v.dst) && (!r.both || !r.between(&v.dst, &v.src)) {
		return false
	}
	f := v.flow
	if f == nil {
		if r.app != appNone || r.established || len(r.bits)+len(r.flow) > 0 {
			return false
		}
	} else {
		if r.app != appNone && r.app != f.app || (r.established || r.notEstablished) && f.established() != r.established {
			return false
		}
		for _, holds := range r.flow {
			if !holds(f, v.dir) {
				return false
			}
		}
	}
	if v.moment <= atStream {
		for i := range r.flags {
			if v.packet.proto != protoTCP || !r.flags[i].holds(v.packet.flags) {
				return false
			}
		}
		for _, holds := range r.packet {
			if !holds(v.packet) {
				return false
			}
		}
	}
	for _, b := range r.bits {
		if b.condition() && slices.ContainsFunc(b.bits, f.bit) != (b.action == bitIsSet) {
			return false
		}
	}
	if e.missed = !e.contents(r, v); e.missed {
		return false
	}
	e.matchedIn[r.index] = e.inspected
	e.matched(r, v)
	return true
}

// contents reports whether all buffers hold what the rule asks for.
func (e *engine) contents(r *rule, v *view) bool {
	for i := range r.groups {
		g := &r.groups[i]
		if v.set>>g.buf&1 == 0 || v.moment == atStream && v.base > 0 && r.moments.has(atPacket) {
			return false
		}
		if v.several>>g.buf&1 == 0 {
			if !e.holds(g, v.bufs[g.buf]) {
				return false
			}
			continue
		}
		if !slices.ContainsFunc(v.each[g.buf], func(text []byte) bool { return e.holds(g, text) }) {
			return false
		}
	}
	return true
}

func (e *engine) holds(g *group, text []byte) bool {
	m := &e.matching
	m.steps, m.exhausted = maxSteps, false
	ok := m.all(g.tests, text, 0)
	if m.exhausted {
		e.exhausted++
	}
	return ok
}

// matched counts a match, sets its bits and passes the alert on.
func (e *engine) matched(r *rule, v *view) {
	if r.filter != nil && !e.limits.pass(r, r.filter, v) {
		return
	}
	for _, b := range r.bits {
		switch b.action {
		case bitSet, bitUnset:
			v.flow.setBit(b.bits[0], b.action == bitSet)
		case bitToggle:
			v.flow.setBit(b.bits[0], !v.flow.bit(b.bits[0]))
		}
	}
	if r.silent || r.limit != nil && !e.limits.pass(r, r.limit, v) {
		return
	}
	e.alert(r, v)
}

// transaction evaluates what a parser understood: the buffers of the view are filled.
func (e *engine) transaction(v *view) {
	e.begin()
	for left := v.set &^ (1 << bufPayload); left != 0; left &= left - 1 {
		b := bits.TrailingZeros64(left)
		if v.several>>b&1 == 0 {
			e.find(&e.buffers[b], v, v.bufs[b], 0, single)
			continue
		}
		for _, text := range v.each[b] {
			e.find(&e.buffers[b], v, text, 0, single)
		}
	}
	e.settleCandidates(v, e.alone[v.moment][v.dir])
}

// within is the view of one transaction on the way d, with the packet that completed it.
func (e *engine) within(v *view, d direction, m moment) *view {
	out := e.other(&e.told, v.flow, d)
	out.moment = m
	if d == v.dir && len(v.flow.sides[d].window) > 0 {
		out.put(bufPayload, v.flow.sides[d].window)
	}
	return out
}

func (e *engine) hello(v *view, h hello) {
	t := e.within(v, v.dir, atClientHello)
	if h.sni != nil {
		t.put(bufSNI, h.sni)
	}
	if h.ja3 != "" {
		t.put(bufJA3, []byte(h.ja3))
	}
	e.transaction(t)
}

func (e *engine) certificate(v *view, c certificate) {
	t := e.within(v, v.dir, atCertificate)
	t.put(bufCertSubject, c.subject)
	t.put(bufCertIssuer, c.issuer)
	t.put(bufCertSerial, c.serial)
	t.put(bufCertFingerprint, c.fingerprint)
	e.transaction(t)
}

// banner reads the first line of SSH: SSH-2.0-software.
func (e *engine) banner(v *view) {
	s := &v.flow.sides[v.dir]
	line, _, whole := bytes.Cut(s.window, []byte("\n"))
	if !whole {
		return
	}
	v.flow.bannerRead[v.dir] = true
	parts := bytes.SplitN(bytes.TrimSpace(line), []byte("-"), 3)
	if s.base > 0 || len(parts) != 3 {
		return
	}
	t := e.within(v, v.dir, atSSH)
	t.put(bufSSHProtocol, parts[1])
	software, _, _ := bytes.Cut(parts[2], []byte(" "))
	t.put(bufSSHSoftware, software)
	e.transaction(t)
}

// message fills the buffers of HTTP.
func (e *engine) message(v *view, d direction, m, request *message) {
	t := e.within(v, d, atRequest)
	if d == toClient {
		t.moment = atResponse
	}
	raw := m.head
	if len(m.body) > 0 && e.wanted[bufPayload] {
		raw = append(append(e.room[bufPayload][:0], m.head...), m.body...)
		e.room[bufPayload] = raw
	}
	t.put(bufPayload, raw)
	if d == toServer {
		e.request(t, m)
		t.put(bufRequestBody, m.body)
	} else {
		e.response(t, m)
		if request != nil {
			e.request(t, request)
		}
	}
	e.both(t, m, d)
	e.transaction(t)
}

func (e *engine) request(t *view, m *message) {
	t.put(bufMethod, m.parts[0])
	t.put(bufRawURI, m.parts[1])
	e.room[bufURI] = normalizeURI(e.room[bufURI][:0], m.parts[1])
	t.put(bufURI, e.room[bufURI])
	t.put(bufRequestLine, m.first)
	t.header(m, bufUserAgent, "user-agent")
	t.header(m, bufReferer, "referer")
	t.header(m, bufAccept, "accept")
	t.header(m, bufAcceptEncoding, "accept-encoding")
	t.header(m, bufAcceptLanguage, "accept-language")
	if host, has := m.get("host"); has {
		t.put(bufRawHost, host)
		if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
			host = host[:i]
		}
		e.room[bufHost] = lowered(e.room[bufHost][:0], host)
		t.put(bufHost, e.room[bufHost])
	}
	if e.wanted[bufRequestHeader] {
		t.putAll(bufRequestHeader, m.lines())
	}
}

func (e *engine) response(t *view, m *message) {
	t.put(bufStatus, m.parts[1])
	t.put(bufStatusText, m.parts[2])
	t.put(bufResponseLine, m.first)
	t.header(m, bufServer, "server")
	t.header(m, bufLocation, "location")
	if e.wanted[bufResponseHeader] {
		t.putAll(bufResponseHeader, m.lines())
	}
	if e.wanted[bufResponseBody] || e.wanted[bufFile] {
		body := e.unpacker.unpack(m)
		t.put(bufResponseBody, body)
		t.put(bufFile, body)
	}
}

// both fills the buffers that requests and answers have.
func (e *engine) both(t *view, m *message, d direction) {
	t.header(m, bufContentType, "content-type")
	t.header(m, bufContentLength, "content-length")
	t.header(m, bufConnection, "connection")
	cookie := "cookie"
	t.put(bufProtocol, m.parts[2])
	if d == toClient {
		cookie = "set-cookie"
		t.put(bufProtocol, m.parts[0])
	}
	t.header(m, bufCookie, cookie)
	_, raw, _ := bytes.Cut(m.head, []byte("\n"))
	t.put(bufRawHeader, raw)
	all, names := e.room[bufHeader][:0], append(e.room[bufHeaderNames][:0], "\r\n"...)
	for _, h := range m.headers {
		names = append(append(names, h.name...), "\r\n"...)
		if len(h.name) == len(cookie) && equalFold(h.name, []byte(cookie)) {
			continue
		}
		all = append(append(append(append(all, h.name...), ": "...), h.value...), "\r\n"...)
	}
	names = append(names, "\r\n"...)
	e.room[bufHeader], e.room[bufHeaderNames] = all, names
	t.put(bufHeader, all)
	t.put(bufHeaderNames, names)
}

func (v *view) header(m *message, b buffer, name string) {
	if value, has := m.get(name); has {
		v.put(b, value)
	}
}

// lines are the headers, each by itself.
func (m *message) lines() [][]byte {
	out := make([][]byte, 0, len(m.headers))
	for _, h := range m.headers {
		out = append(out, append(append(append([]byte(nil), h.name...), ": "...), h.value...))
	}
	return out
}
