package idsrules

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/idsrules/internal/pcre"
)

// compiler turns statements into rules. What it does not understand it refuses: no keyword is left out.
type compiler struct {
	variables variables
	bits      map[string]int        // flowbits by name
	sets      map[string]*addresses // by their text, and by what that means
	uses      map[*addresses]int
	shared    []*addresses
}

// addresses reads a set, the same one for the same addresses. What many rules have is shared.
func (c *compiler) addresses(text string) (*addresses, error) {
	s, known := c.sets[text]
	if !known {
		var err error
		if s, err = c.variables.addresses(text); err != nil {
			return nil, err
		}
		meaning := fmt.Sprint(s.yes, s.no)
		if same, known := c.sets[meaning]; known {
			s = same
		}
		c.sets[text], c.sets[meaning] = s, s
	}
	if c.uses[s]++; s.shared < 0 && !s.any() && c.uses[s] > 2 && len(c.shared) < maxShared {
		s.shared = len(c.shared)
		c.shared = append(c.shared, s)
	}
	return s, nil
}

// unfinished is a rule while its options are read.
type unfinished struct {
	*rule
	c        *compiler
	in       buffer // where contents go: bufPayload until a sticky buffer
	sticky   bool
	empty    bool // nothing was looked for in it yet
	last     test // the latest test
	lastIn   buffer
	content  *content // the latest content or uricontent
	chosen   *content // by fast_pattern
	names    map[string]int
	classSet bool
}

var (
	errNotSupported = errors.New("not supported")
	errEmpty        = errors.New("a buffer in which nothing is looked for")
)

// compile makes a rule of a statement.
func (c *compiler) compile(s statement) (*rule, *refusal) {
	refuse := func(keyword string, err error) (*rule, *refusal) {
		return nil, &refusal{s.file, s.line, s.sid, keyword, err.Error()}
	}
	u := &unfinished{rule: &rule{priority: 3, gid: 1}, c: c, names: map[string]int{}}
	switch s.action {
	case "alert", "drop", "reject", "rejectsrc", "rejectdst", "rejectboth": // Picket watches; it stops nothing
	default:
		return refuse("action "+s.action, errNotSupported)
	}
	if err := u.protocol(s.proto); err != nil {
		return refuse("protocol "+s.proto, err)
	}
	u.both = s.both
	var err error
	for _, a := range []struct {
		text string
		to   **addresses
	}{{s.src, &u.src}, {s.dst, &u.dst}} {
		if *a.to, err = c.addresses(a.text); err != nil {
			return refuse("addresses", err)
		}
	}
	for _, p := range []struct {
		text string
		to   *ports
	}{{s.srcPorts, &u.srcPorts}, {s.dstPorts, &u.dstPorts}} {
		if *p.to, err = c.variables.ports(p.text); err != nil {
			return refuse("ports", err)
		}
	}
	for _, o := range s.options {
		read, known := keywords[o.name]
		if !known {
			return refuse(o.name, errNotSupported)
		}
		if err := read(u, o.value); err != nil {
			return refuse(o.name, err)
		}
	}
	if keyword, err := u.finish(); err != nil {
		return refuse(keyword, err)
	}
	return u.rule, nil
}

func (u *unfinished) protocol(name string) error {
	if n, known := networks[name]; known {
		u.network = n
		u.wholePackets, u.onlyStream = name == "tcp-pkt", name == "tcp-stream"
		return nil
	}
	app, known := applications[name]
	if !known {
		return errNotSupported
	}
	u.app, u.network = app, onlyTCP
	if app == appDNS {
		u.network = tcpOrUDP
	}
	return nil
}

// finish checks what one keyword alone cannot show.
func (u *unfinished) finish() (keyword string, err error) {
	if u.empty {
		return "content", errEmpty
	}
	for _, g := range u.groups {
		app := bufferApplication[g.buf]
		switch {
		case app == appNone:
		case u.app == appNone && (u.network == onlyTCP || u.network == anyIP || app == appDNS && u.network == onlyUDP):
			if u.app = app; app == appDNS && u.network == anyIP {
				u.network = tcpOrUDP
			} else if u.network == anyIP {
				u.network = onlyTCP
			}
		case u.app != app:
			return "protocol", errors.New("a buffer of another protocol than the rule's")
		}
		for _, t := range g.tests {
			if c, is := t.(*content); is {
				if err := c.check(); err != nil {
					return "content", err
				}
				c.prepare()
			}
		}
	}
	u.settle(u.chosen)
	if u.moments == 0 {
		return "content", errors.New("buffers that are never filled at once")
	}
	if u.needsPacket() && (u.moments&^during(atPacket, atStream)) != 0 && len(u.packet)+len(u.flags) > 0 {
		return "content", errors.New("a test of one packet with a buffer of a protocol")
	}
	return "", nil
}

func (c *content) check() error {
	n := int64(len(c.pattern))
	switch {
	case c.isNear && (c.hasDepth || c.offset != number{}):
		return errors.New("both a fixed and a relative place")
	case c.hasDepth && c.depth.from == 0 && c.depth.value < n, c.hasNear && c.within.from == 0 && c.within.value < n:
		return errors.New("less room than the pattern needs")
	}
	return nil
}

// add puts a test where it looks: into the sticky buffer, or with what it looks on from.
func (u *unfinished) add(t test) {
	b := u.in
	if _, is := t.(*content); !is && !u.sticky && t.relative() && u.last != nil {
		b = u.lastIn
	}
	g := u.group(b)
	g.tests = append(g.tests, t)
	u.last, u.lastIn, u.empty = t, b, false
}

// move puts the latest content into another buffer, as http_uri and the like say.
func (u *unfinished) move(to buffer) error {
	if u.sticky {
		return errors.New("behind a sticky buffer")
	}
	if u.content == nil || u.last != test(u.content) || u.lastIn != bufPayload {
		return errors.New("not behind its content")
	}
	from := u.group(bufPayload)
	from.tests = from.tests[:len(from.tests)-1]
	u.groups = slices.DeleteFunc(u.groups, func(g group) bool { return len(g.tests) == 0 })
	g := u.group(to)
	g.tests = append(g.tests, u.content)
	u.lastIn = to
	return nil
}

// number reads a number, or the name of one that was extracted.
func (u *unfinished) number(text string) (number, error) {
	text = strings.TrimSpace(text)
	if place, known := u.names[text]; known {
		return number{from: place + 1}, nil
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || n < math.MinInt32 || n > math.MaxUint32 {
		return number{}, fmt.Errorf("no number: %q", text)
	}
	return number{value: n}, nil
}

func (u *unfinished) flowbit(name string) (int, error) {
	if name == "" || strings.ContainsAny(name, " ,;") {
		return 0, fmt.Errorf("no name: %q", name)
	}
	n, known := u.c.bits[name]
	if !known {
		n = len(u.c.bits)
		u.c.bits[name] = n
	}
	return n, nil
}

func parts(value string) []string {
	out := strings.Split(value, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

// parseInterval reads n, <n, >n, <=n, >=n, n-m and n<>m, where the ends are left out unless inclusive.
func parseInterval(value string, least, most int64, inclusive bool) (interval, error) {
	value = strings.TrimSpace(value)
	var i interval
	if rest, is := strings.CutPrefix(value, "!"); is {
		i.negated, value = true, strings.TrimSpace(rest)
	}
	read := func(text string) (int64, error) {
		n, err := strconv.ParseInt(strings.TrimSpace(text), 0, 64)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("not between %d and %d: %q", least, most, text)
		}
		return n, nil
	}
	var err error
	i.lo, i.hi = least, most
	low, high, between := strings.Cut(value, "<>")
	if !between && !strings.HasPrefix(value, "-") {
		if low, high, between = strings.Cut(value, "-"); between {
			inclusive = true
		}
	}
	switch {
	case between:
		if i.lo, err = read(low); err != nil {
			return i, err
		}
		if i.hi, err = read(high); err != nil {
			return i, err
		}
		if !inclusive {
			i.lo++
			i.hi--
		}
		if i.lo > i.hi {
			return i, fmt.Errorf("nothing lies between: %q", value)
		}
	case strings.HasPrefix(value, "<="):
		i.hi, err = read(value[2:])
	case strings.HasPrefix(value, ">="):
		i.lo, err = read(value[2:])
	case strings.HasPrefix(value, "<"):
		i.hi, err = read(value[1:])
		i.hi--
	case strings.HasPrefix(value, ">"):
		i.lo, err = read(value[1:])
		i.lo++
	default:
		i.lo, err = read(strings.TrimPrefix(value, "="))
		i.hi = i.lo
	}
	return i, err
}

// keywords are all that rules may hold.
var keywords map[string]func(u *unfinished, value string) error

func init() {
	keywords = map[string]func(u *unfinished, value string) error{
		"msg":       readMessage,
		"sid":       func(u *unfinished, v string) error { return read32(&u.sid, v) },
		"gid":       func(u *unfinished, v string) error { return read32(&u.gid, v) },
		"rev":       func(u *unfinished, v string) error { return read32(&u.rev, v) },
		"classtype": readClass,
		"priority":  readPriority,
		"metadata":  readMetadata,
		"reference": func(*unfinished, string) error { return nil },
		"target":    readTarget,
		"noalert":   func(u *unfinished, _ string) error { u.silent = true; return nil },

		"content":    readContent,
		"uricontent": readURIContent,
		"nocase":     onContent(func(_ *unfinished, c *content, _ string) error { c.nocase = true; return nil }),
		"rawbytes":   onContent(func(*unfinished, *content, string) error { return nil }), // the payload is never anything else
		"offset":     onContent(func(u *unfinished, c *content, v string) (err error) { c.offset, err = u.number(v); return err }),
		"depth": onContent(func(u *unfinished, c *content, v string) (err error) {
			c.hasDepth = true
			c.depth, err = u.number(v)
			return err
		}),
		"distance": onContent(func(u *unfinished, c *content, v string) (err error) {
			c.isNear = true
			c.distance, err = u.number(v)
			return err
		}),
		"within":       onContent(readWithin),
		"startswith":   onContent(readStarts),
		"endswith":     onContent(func(_ *unfinished, c *content, _ string) error { c.ends = true; return nil }),
		"fast_pattern": onContent(readFastPattern),
		"prefilter":    func(*unfinished, string) error { return nil }, // a wish about the order of the search, not about what is found
		"pcre":         readExpression,
		"isdataat":     readDataAt,
		"bsize":        readSize,
		"urilen":       readURILength,
		"byte_test":    readByteTest,
		"byte_jump":    readByteJump,
		"byte_extract": readByteExtract,
		"byte_math":    readByteMath,

		"flow":     readFlow,
		"flowbits": readFlowbits,
		"flags":    readFlags,
		"dsize":    onPacket(0, 65535, func(p *packet) (int64, bool) { return int64(len(p.payload)), true }),
		"ttl":      onPacket(0, 255, func(p *packet) (int64, bool) { return int64(p.ttl), p.ipVersion != 0 }),
		"id":       onPacket(0, 65535, func(p *packet) (int64, bool) { return int64(p.ipID), p.ipVersion == 4 }),
		"seq":      onPacket(0, math.MaxUint32, func(p *packet) (int64, bool) { return int64(p.seq), p.proto == protoTCP && p.transport }),
		"ack":      onPacket(0, math.MaxUint32, func(p *packet) (int64, bool) { return int64(p.ack), p.proto == protoTCP && p.transport }),
		"window":   onPacket(0, 65535, func(p *packet) (int64, bool) { return int64(p.window), p.proto == protoTCP && p.transport }),
		"itype":    onPacket(0, 255, func(p *packet) (int64, bool) { return int64(p.icmpType), p.isICMP() }),
		"icode":    onPacket(0, 255, func(p *packet) (int64, bool) { return int64(p.icmpCode), p.isICMP() }),
		"icmp_id":  onPacket(0, 65535, func(p *packet) (int64, bool) { return int64(p.icmpID), p.isICMP() }),
		"icmp_seq": onPacket(0, 65535, func(p *packet) (int64, bool) { return int64(p.icmpSeq), p.isICMP() }),
		"ip_proto": readIPProtocol,
		"sameip": func(u *unfinished, _ string) error {
			u.packet = append(u.packet, func(p *packet) bool { return p.ipVersion != 0 && p.src == p.dst })
			return nil
		},
		"fragbits": readFragBits,

		"threshold":        func(u *unfinished, v string) error { return readLimit(&u.limit, v, false) },
		"detection_filter": func(u *unfinished, v string) error { return readLimit(&u.filter, v, true) },

		"decode-event":        readDecodeEvent,
		"app-layer-protocol":  readApplication,
		"ssl_state":           readTLSState,
		"ssl_version":         readTLSVersion,
		"ssh.softwareversion": readSSHSoftware,
	}
	for name, b := range modifiers {
		keywords[name] = func(u *unfinished, _ string) error { return u.move(b) }
	}
	for name, b := range sticky {
		keywords[name] = func(u *unfinished, _ string) error { return u.stick(b) }
	}
	for name, e := range checksumEvents {
		keywords[name] = func(u *unfinished, value string) error {
			if value != "invalid" {
				return fmt.Errorf("%q is not supported", value) // that nothing is wrong says nothing
			}
			u.events.add(e)
			return nil
		}
	}
}

func (p *packet) isICMP() bool {
	return p.transport && (p.proto == protoICMP || p.proto == protoICMPv6)
}

func readMessage(u *unfinished, value string) error {
	text, negated, err := quoted(value)
	if err != nil || negated {
		return errors.New("no text in quotes")
	}
	u.msg = title(strings.NewReplacer(`\;`, ";", `\"`, `"`, `\\`, `\`, `\:`, ":").Replace(text))
	return nil
}

func read32(to *uint32, value string) error {
	n, err := strconv.ParseUint(value, 10, 32)
	*to = uint32(n)
	if err != nil {
		return fmt.Errorf("no number: %q", value)
	}
	return nil
}

func readClass(u *unfinished, value string) error {
	u.class = title(value)
	if p, known := classPriorities[u.class]; known && !u.classSet {
		u.priority = p
	}
	return nil
}

func readPriority(u *unfinished, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 255 {
		return fmt.Errorf("no priority: %q", value)
	}
	u.priority, u.classSet = n, true
	return nil
}

// readMetadata takes the ATT&CK techniques out of what is otherwise for people.
func readMetadata(u *unfinished, value string) error {
	for _, part := range parts(value) {
		name, text, _ := strings.Cut(part, " ")
		if name != "mitre_technique_id" {
			continue
		}
		if id := strings.ReplaceAll(strings.TrimSpace(text), "_", "."); techniqueID(id) && !slices.Contains(u.techniques, id) && len(u.techniques) < 16 {
			u.techniques = append(u.techniques, id)
		}
	}
	return nil
}

// techniqueID reports whether a text looks like T1059 or T1059.001.
func techniqueID(id string) bool {
	main, sub, has := strings.Cut(id, ".")
	number := func(s string, n int) bool {
		return len(s) == n && strings.Trim(s, "0123456789") == ""
	}
	return strings.HasPrefix(main, "T") && number(main[1:], 4) && (!has || number(sub, 3))
}

func readTarget(_ *unfinished, value string) error {
	if value != "src_ip" && value != "dest_ip" {
		return fmt.Errorf("neither src_ip nor dest_ip: %q", value)
	}
	return nil
}

func readContent(u *unfinished, value string) error {
	text, negated, err := quoted(value)
	if err != nil {
		return err
	}
	c := &content{negated: negated}
	if c.pattern, err = pattern(text); err != nil {
		return err
	}
	u.content = c
	u.add(c)
	return nil
}

func readURIContent(u *unfinished, value string) error {
	if err := readContent(u, value); err != nil {
		return err
	}
	return u.move(bufURI)
}

func onContent(do func(u *unfinished, c *content, value string) error) func(*unfinished, string) error {
	return func(u *unfinished, value string) error {
		if u.content == nil {
			return errors.New("not behind a content")
		}
		return do(u, u.content, value)
	}
}

func readWithin(u *unfinished, c *content, value string) (err error) {
	c.isNear, c.hasNear = true, true
	c.within, err = u.number(value)
	return err
}

func readStarts(_ *unfinished, c *content, _ string) error {
	if c.hasDepth || c.isNear || c.offset != (number{}) {
		return errors.New("with another place")
	}
	c.hasDepth, c.depth = true, number{value: int64(len(c.pattern))}
	return nil
}

// readFastPattern takes the author's advice which content is the rarest. Which part of it is looked for first is decided here.
func readFastPattern(u *unfinished, c *content, value string) error {
	if c.negated {
		return errors.New("of a negated content")
	}
	if value != "" && value != "only" {
		from, size, _ := strings.Cut(value, ",")
		lo, err := strconv.Atoi(strings.TrimSpace(from))
		n, err2 := strconv.Atoi(strings.TrimSpace(size))
		if err != nil || err2 != nil || lo < 0 || n < 1 || lo+n > len(c.pattern) {
			return fmt.Errorf("no part of the content: %q", value)
		}
	}
	u.chosen = c
	return nil
}

func (u *unfinished) stick(b buffer) error {
	if u.empty {
		return errEmpty
	}
	u.in, u.sticky, u.empty, u.content, u.last = b, true, true, nil, nil
	return nil
}

func readExpression(u *unfinished, value string) error {
	text, negated, err := quoted(value)
	if err != nil {
		return err
	}
	end := strings.LastIndexByte(text, '/')
	if len(text) < 2 || text[0] != '/' || end < 1 {
		return errors.New("no expression between slashes")
	}
	e := &expression{negated: negated}
	var flags pcre.Flags
	to, moved := bufPayload, false
	for i := end + 1; i < len(text); i++ {
		switch c := text[i]; c {
		case 'i':
			flags.Fold = true
		case 's':
			flags.DotAll = true
		case 'm':
			flags.Lines = true
		case 'x':
			flags.Extended = true
		case 'A':
			flags.Anchored = true
		case 'E':
			flags.EndOnly = true
		case 'G':
			flags.Ungreedy = true
		case 'R':
			e.near = true
		case 'B', 'O': // the payload as it is; its own limit of steps: always so
		default:
			b, known := pcreBuffers[c]
			if !known || moved {
				return fmt.Errorf("/%c is not supported", c)
			}
			to, moved = b, true
		}
	}
	if e.re, err = pcre.Compile(text[1:end], flags); err != nil {
		return err
	}
	if !moved {
		u.add(e)
		return nil
	}
	if u.sticky && u.in != to {
		return errors.New("a buffer of its own behind a sticky one")
	}
	g := u.group(to)
	g.tests = append(g.tests, e)
	u.last, u.lastIn = e, to
	u.empty = u.empty && to != u.in
	return nil
}

func readDataAt(u *unfinished, value string) error {
	d := &dataAt{}
	list := parts(value)
	text, negated := strings.CutPrefix(list[0], "!")
	d.negated = negated
	var err error
	if d.at, err = u.number(text); err != nil {
		return err
	}
	for _, word := range list[1:] {
		switch word {
		case "relative":
			d.near = true
		case "rawbytes":
		default:
			return fmt.Errorf("%q is not supported", word)
		}
	}
	u.add(d)
	return nil
}

func readSize(u *unfinished, value string) error {
	if !u.sticky {
		return errors.New("not behind a sticky buffer")
	}
	is, err := parseInterval(value, 0, math.MaxInt32, false)
	u.add(&size{is})
	return err
}

func readURILength(u *unfinished, value string) error {
	value, kind, _ := strings.Cut(value, ",")
	b := bufRawURI
	switch strings.TrimSpace(kind) {
	case "norm":
		b = bufURI
	case "", "raw":
	default:
		return fmt.Errorf("%q is not supported", kind)
	}
	is, err := parseInterval(value, 0, 65535, false)
	g := u.group(b)
	g.tests = append(g.tests, &size{is})
	return err
}

func onPacket(least, most int64, of func(*packet) (int64, bool)) func(*unfinished, string) error {
	return func(u *unfinished, value string) error {
		is, err := parseInterval(value, least, most, false)
		if err != nil {
			return err
		}
		u.packet = append(u.packet, func(p *packet) bool {
			n, has := of(p)
			return has && is.has(n)
		})
		return nil
	}
}

func readIPProtocol(u *unfinished, value string) error {
	names := map[string]string{"tcp": "6", "udp": "17", "icmp": "1", "igmp": "2", "ipv6": "41", "gre": "47", "esp": "50", "ah": "51", "sctp": "132"}
	name, negated := strings.CutPrefix(value, "!")
	if n, known := names[strings.ToLower(name)]; known {
		if value = n; negated {
			value = "!" + n
		}
	}
	if n, err := strconv.Atoi(value); err == nil && n != protoTCP && n != protoUDP {
		u.unusual = true
	}
	return onPacket(0, 255, func(p *packet) (int64, bool) { return int64(p.proto), p.ipVersion != 0 })(u, value)
}

func readFragBits(u *unfinished, value string) error {
	if value != "M" && value != "!M" {
		return fmt.Errorf("%q is not supported", value)
	}
	u.packet = append(u.packet, func(p *packet) bool { return p.ipVersion != 0 && p.moreFragments == (value == "M") })
	return nil
}

func readFlow(u *unfinished, value string) error {
	for _, word := range parts(value) {
		switch word {
		case "to_server", "from_client":
			u.toServer = true
		case "to_client", "from_server":
			u.toClient = true
		case "established":
			u.established = true
		case "not_established":
			u.notEstablished = true
		case "stateless":
		case "only_stream":
			u.onlyStream = true
		case "no_stream":
			u.wholePackets = true
		default:
			return fmt.Errorf("%q is not supported", word)
		}
	}
	switch {
	case u.established && u.notEstablished, u.toServer && u.toClient, u.onlyStream && u.wholePackets:
		return fmt.Errorf("it contradicts itself: %s", value)
	}
	return nil
}

func readFlowbits(u *unfinished, value string) error {
	action, names, _ := strings.Cut(value, ",")
	actions := map[string]bitAction{"set": bitSet, "unset": bitUnset, "toggle": bitToggle, "isset": bitIsSet, "isnotset": bitIsNotSet}
	action = strings.TrimSpace(action)
	if action == "noalert" {
		u.silent = true
		return nil
	}
	do, known := actions[action]
	if !known {
		return fmt.Errorf("%q is not supported", action)
	}
	op := bitOperation{action: do}
	for name := range strings.SplitSeq(names, "|") {
		n, err := u.flowbit(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		op.bits = append(op.bits, n)
	}
	if len(op.bits) > 1 && !op.condition() {
		return errors.New("more than one bit")
	}
	u.bits = append(u.bits, op)
	return nil
}

func readFlags(u *unfinished, value string) error {
	if u.network != onlyTCP || u.app != appNone {
		return errors.New("not in a rule of tcp")
	}
	list := parts(value)
	if len(list) > 2 {
		return fmt.Errorf("no flags: %q", value)
	}
	var f flagTest
	letters := strings.TrimSpace(list[0])
	if letters != "" && strings.IndexByte("+*!", letters[0]) >= 0 {
		f.mode, letters = letters[0], letters[1:]
	} else if n := len(letters); n > 0 && strings.IndexByte("+*!", letters[n-1]) >= 0 {
		f.mode, letters = letters[n-1], letters[:n-1]
	}
	var err error
	if f.want, err = flagBits(letters); err != nil {
		return err
	}
	if len(list) == 2 {
		if f.ignore, err = flagBits(list[1]); err != nil {
			return err
		}
	}
	u.flags = append(u.flags, f)
	return nil
}

func flagBits(letters string) (bits uint8, err error) {
	of := map[byte]uint8{'F': 1, 'S': 2, 'R': 4, 'P': 8, 'A': 16, 'U': 32, 'E': 64, '2': 64, 'C': 128, '1': 128}
	for i := range len(letters) {
		bit, known := of[letters[i]&^boolByte(letters[i] >= 'a', 32)]
		if !known && letters[i] != '0' {
			return 0, fmt.Errorf("no flags: %q", letters)
		}
		bits |= bit
	}
	if letters == "" {
		return 0, errors.New("no flags")
	}
	return bits, nil
}

func boolByte(is bool, b byte) byte {
	if is {
		return b
	}
	return 0
}

func readDecodeEvent(u *unfinished, value string) error {
	e, known := decodeEvents[value]
	if !known {
		return fmt.Errorf("%s is not supported", value)
	}
	u.events.add(e)
	return nil
}

func readApplication(u *unfinished, value string) error {
	text, negated := strings.CutPrefix(value, "!")
	app, known := applications[text]
	if !known {
		return fmt.Errorf("%q is not supported", value)
	}
	u.flow = append(u.flow, func(f *flow, _ direction) bool { return f.app != appNone && (f.app == app) != negated })
	return nil
}

func readTLSState(u *unfinished, value string) error {
	states := map[string]tlsState{"client_hello": tlsClientHello, "server_hello": tlsServerHello, "client_keyx": tlsClientKey, "server_keyx": tlsServerKey}
	var any, not tlsState
	for name := range strings.SplitSeq(strings.ReplaceAll(value, "|", ","), ",") {
		text, negated := strings.CutPrefix(strings.TrimSpace(name), "!")
		state, known := states[text]
		if !known {
			return fmt.Errorf("%q is not supported", name)
		}
		if negated {
			not |= state
		} else {
			any |= state
		}
	}
	u.flow = append(u.flow, func(f *flow, _ direction) bool {
		return f.tls != nil && (any == 0 || f.tls.state&any != 0) && f.tls.state&not == 0
	})
	return nil
}

func readTLSVersion(u *unfinished, value string) error {
	versions := map[string]uint16{"sslv2": 0x200, "sslv3": 0x300, "tls1.0": 0x301, "tls1.1": 0x302, "tls1.2": 0x303, "tls1.3": 0x304}
	var want []uint16
	negated := false
	for _, name := range parts(value) {
		text, not := strings.CutPrefix(name, "!")
		v, known := versions[text]
		if !known || len(want) > 0 && not != negated {
			return fmt.Errorf("%q is not supported", value)
		}
		want, negated = append(want, v), not
	}
	u.flow = append(u.flow, func(f *flow, d direction) bool {
		return f.tls != nil && f.tls.version[d] != 0 && slices.Contains(want, f.tls.version[d]) != negated
	})
	return nil
}

func readSSHSoftware(u *unfinished, value string) error {
	text, negated, err := quoted(value)
	if err != nil || negated || text == "" {
		return errors.New("no text in quotes")
	}
	g := u.group(bufSSHSoftware)
	c := &content{nocase: true, hasDepth: true}
	if c.pattern, err = pattern(text); err != nil {
		return err
	}
	c.depth, c.ends = number{value: int64(len(c.pattern))}, true
	g.tests = append(g.tests, c)
	return nil
}

// fieldOf reads the first words of byte_test and its like: how many bytes, and where.
func (u *unfinished) fieldOf(bytes, offset string, options []string, other func(word string) error) (f field, err error) {
	if f.bytes, err = strconv.Atoi(bytes); err != nil || f.bytes < 0 || f.bytes > maxDigits {
		return f, fmt.Errorf("not a number of bytes: %q", bytes)
	}
	if f.offset, err = u.number(offset); err != nil {
		return f, err
	}
	text := false
	for _, word := range options {
		switch word {
		case "relative":
			f.near = true
		case "big", "endian big":
		case "little", "endian little":
			f.little = true
		case "string":
			text = true
		case "hex":
			f.base = 16
		case "dec":
			f.base = 10
		case "oct":
			f.base = 8
		default:
			if mask, is := strings.CutPrefix(word, "bitmask "); is {
				if f.mask, err = strconv.ParseUint(strings.TrimSpace(mask), 0, 32); err != nil || f.mask == 0 {
					return f, fmt.Errorf("no mask: %q", mask)
				}
				continue
			}
			if err := other(word); err != nil {
				return f, err
			}
		}
	}
	switch {
	case text && f.base == 0:
		f.base = 10
	case !text:
		if f.base = 0; f.bytes > 8 {
			return f, fmt.Errorf("more than 8 bytes: %d", f.bytes)
		}
	}
	if f.bytes == 0 { // byte_jump of nothing goes on by what is said
		f.base = 0
	}
	return f, nil
}

func noOther(word string) error { return fmt.Errorf("%q is not supported", word) }

func readByteTest(u *unfinished, value string) error {
	list := parts(value)
	if len(list) < 4 {
		return errors.New("fewer than 4 parts")
	}
	t := &byteTest{op: list[1]}
	if rest, is := strings.CutPrefix(list[1], "!"); is {
		t.negated, t.op = true, strings.TrimSpace(rest)
		if t.op == "" {
			t.op = "="
		}
	}
	if !slices.Contains([]string{"<", ">", "=", "<=", ">=", "&", "^"}, t.op) {
		return fmt.Errorf("%q is not supported", list[1])
	}
	var err error
	if t.value, err = u.number(list[2]); err != nil {
		return err
	}
	if t.field, err = u.fieldOf(list[0], list[3], list[4:], noOther); err != nil {
		return err
	}
	u.add(t)
	return nil
}

func readByteJump(u *unfinished, value string) error {
	list := parts(value)
	if len(list) < 2 {
		return errors.New("fewer than 2 parts")
	}
	j := &byteJump{multiplier: 1}
	var err error
	j.field, err = u.fieldOf(list[0], list[1], list[2:], func(word string) error {
		name, text, _ := strings.Cut(word, " ")
		switch name {
		case "align":
			j.align = true
		case "from_beginning":
			j.fromBegin = true
		case "from_end":
			j.fromEnd = true
		case "multiplier":
			n, err := u.number(text)
			if err != nil || n.from > 0 || n.value < 1 || n.value > 65535 {
				return fmt.Errorf("no multiplier: %q", text)
			}
			j.multiplier = n.value
		case "post_offset":
			n, err := u.number(text)
			j.post = n
			return err
		default:
			return noOther(word)
		}
		return nil
	})
	if err != nil {
		return err
	}
	u.add(j)
	return nil
}

// name makes room for a number that is extracted.
func (u *unfinished) name(name string) (int, error) {
	if name == "" || name[0] >= '0' && name[0] <= '9' || name[0] == '-' {
		return 0, fmt.Errorf("no name: %q", name)
	}
	if place, known := u.names[name]; known {
		return place, nil
	}
	place := len(u.names)
	u.names[name] = place
	u.rule.names = len(u.names)
	return place, nil
}

func readByteExtract(u *unfinished, value string) error {
	list := parts(value)
	if len(list) < 3 {
		return errors.New("fewer than 3 parts")
	}
	x := &byteExtract{multiplier: 1}
	var err error
	x.field, err = u.fieldOf(list[0], list[1], list[3:], func(word string) error {
		name, text, _ := strings.Cut(word, " ")
		switch name {
		case "align":
			if text != "" && text != "4" {
				return noOther(word)
			}
			x.align = true
		case "multiplier":
			n, err := u.number(text)
			if err != nil || n.from > 0 || n.value < 1 || n.value > 65535 {
				return fmt.Errorf("no multiplier: %q", text)
			}
			x.multiplier = n.value
		default:
			return noOther(word)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if x.to, err = u.name(list[2]); err != nil {
		return err
	}
	u.add(x)
	return nil
}

func readByteMath(u *unfinished, value string) error {
	x := &byteMath{}
	var bytes, offset, result string
	var options []string
	for _, part := range parts(value) {
		name, text, _ := strings.Cut(part, " ")
		text = strings.TrimSpace(text)
		var err error
		switch name {
		case "bytes":
			bytes = text
		case "offset":
			offset = text
		case "oper":
			x.op = text
		case "rvalue":
			x.value, err = u.number(text)
		case "result":
			result = text
		case "string":
			options = append(options, "string", text)
		default:
			options = append(options, part)
		}
		if err != nil {
			return err
		}
	}
	if !slices.Contains([]string{"+", "-", "*", "/", "<<", ">>"}, x.op) {
		return fmt.Errorf("%q is not supported", x.op)
	}
	var err error
	if x.field, err = u.fieldOf(bytes, offset, options, noOther); err != nil {
		return err
	}
	if x.to, err = u.name(result); err != nil {
		return err
	}
	u.add(x)
	return nil
}
