package mdns

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
)

// Limits on what answers can make it ask.
const (
	maxKnown     = 4 * 2048
	maxQuestions = 2048 // that answers lead to, in one Discover
	maxMessage   = 300  // bytes of questions for the names of addresses in one message
)

// What questions are made of (RFC 1035).
const (
	headerSize = 12
	classIN    = 1
	typeA      = 1
	typePTR    = 12
	typeTXT    = 16
	typeSRV    = 33
)

// kinds are the kinds of service that are asked for at once; others follow when a device lists them.
var kinds = []string{
	"_services._dns-sd._udp", "_http._tcp", "_airplay._tcp", "_googlecast._tcp", "_spotify-connect._tcp", "_hap._tcp", "_ipp._tcp",
	"_workstation._tcp", "_device-info._tcp", "_smb._tcp", "_ssh._tcp", "_printer._tcp",
}

type question struct {
	name string // in lower case, without the last dot
	kind uint16
}

// questions are those that were asked and those that are to be.
type questions struct {
	known map[question]bool
	next  []question
	left  int
}

func newQuestions(scope sdk.Scope) *questions {
	q := &questions{known: map[question]bool{}}
	q.left = maxQuestions
	for _, k := range kinds {
		q.add(k+".local", typePTR)
	}
	for addr := range iprange.Addresses(scope.Prefixes) {
		q.left++ // the range has a bound of its own
		q.add(reverse(addr), typePTR)
	}
	return q
}

// reverse is where the name of an address stands.
func reverse(addr netip.Addr) string {
	b := addr.As4()
	var out strings.Builder
	for i := range b {
		out.WriteString(strconv.Itoa(int(b[len(b)-1-i])))
		out.WriteByte('.')
	}
	return out.String() + "in-addr.arpa"
}

func (q *questions) add(name string, kind uint16) {
	one := question{strings.ToLower(strings.TrimSuffix(name, ".")), kind}
	if q.left == 0 || q.known[one] || !strings.HasSuffix(one.name, ".local") && !strings.HasSuffix(one.name, ".in-addr.arpa") {
		return
	}
	q.left--
	q.known[one] = true
	q.next = append(q.next, one)
}

// learn takes from answers what to ask next: kinds of service that a device lists, and services and hosts that it names. What an
// answer already says is not asked.
func (q *questions) learn(b *sdk.Batch) {
	for i := range b.DNS {
		r := &b.DNS[i]
		if !r.Response || r.Protocol != "mdns" {
			continue
		}
		for j := range min(len(r.AnswerNames), len(r.AnswerTypes)) {
			if len(q.known) < maxKnown {
				q.known[question{strings.ToLower(r.AnswerNames[j]), uint16(r.AnswerTypes[j])}] = true
			}
		}
		for j := range min(len(r.AnswerNames), len(r.AnswerTypes), len(r.Answers)) {
			name := r.AnswerNames[j]
			switch uint16(r.AnswerTypes[j]) {
			case typePTR:
				switch {
				case strings.HasPrefix(name, "_services._dns-sd."):
					q.add(r.Answers[j], typePTR)
				case strings.HasPrefix(name, "_"):
					q.add(r.Answers[j], typeSRV)
					q.add(r.Answers[j], typeTXT)
				}
			case typeSRV:
				if at := strings.LastIndexByte(r.Answers[j], ' '); at >= 0 {
					q.add(r.Answers[j][at+1:], typeA)
				}
			}
		}
	}
}

// due packs the questions that are to be asked now. The answer to one that does not come from port 5353 repeats the questions and
// has at most 512 bytes (RFC 6762, 6.7), so only questions with short answers share a message.
func (q *questions) due() [][]byte {
	var out [][]byte
	shared := false // the last message may be
	for _, one := range q.next {
		name, ok := wireName(one.name)
		if !ok {
			continue
		}
		brief := strings.HasSuffix(one.name, ".arpa")
		if !brief || !shared || len(out[len(out)-1])+len(name) > maxMessage {
			out = append(out, make([]byte, headerSize, maxMessage))
		}
		shared = brief
		m := append(out[len(out)-1], name...)
		m = binary.BigEndian.AppendUint16(m, one.kind)
		m = binary.BigEndian.AppendUint16(m, classIN)
		binary.BigEndian.PutUint16(m[4:], binary.BigEndian.Uint16(m[4:])+1)
		out[len(out)-1] = m
	}
	q.next = nil
	return out
}

// wireName reads a name in presentation format: a dot ends a label unless it is escaped, and \\DDD is a byte by its number.
func wireName(s string) ([]byte, bool) {
	const longest, longestLabel = 255, 63
	out, label := make([]byte, 0, len(s)+2), []byte(nil)
	end := func() bool {
		fits := len(label) > 0 && len(label) <= longestLabel
		out = append(append(out, byte(len(label))), label...)
		label = label[:0]
		return fits
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if !end() {
				return nil, false
			}
		case c != '\\':
			label = append(label, c)
		case i+3 < len(s) && isNumber(s[i+1:i+4]):
			n, err := strconv.ParseUint(s[i+1:i+4], 10, 8)
			if err != nil {
				return nil, false
			}
			label = append(label, byte(n))
			i += 3
		case i+1 < len(s):
			i++
			label = append(label, s[i])
		}
	}
	if !end() || len(out)+1 > longest {
		return nil, false
	}
	return append(out, 0), true
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }
