package rdns

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// maxNames is how many names of one address are taken.
const maxNames = 16

// question asks for the names of one address.
type question struct {
	id   uint16
	name dnsmessage.Name
}

// newQuestion makes a question with an id that nobody can guess.
func newQuestion(addr netip.Addr) (question, error) {
	name, err := dnsmessage.NewName(reverseName(addr))
	if err != nil {
		return question{}, err
	}
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return question{}, err
	}
	return question{id: binary.BigEndian.Uint16(id[:]), name: name}, nil
}

// reverseName is where the names of an address stand: 4.3.2.1.in-addr.arpa. for 1.2.3.4.
func reverseName(addr netip.Addr) string {
	raw := addr.Unmap().AsSlice()
	slices.Reverse(raw)
	if len(raw) == 4 {
		labels := make([]string, 4)
		for i, b := range raw {
			labels[i] = strconv.Itoa(int(b))
		}
		return strings.Join(labels, ".") + ".in-addr.arpa."
	}
	out := make([]byte, 0, 73)
	for _, b := range raw {
		digits := hex.EncodeToString([]byte{b})
		out = append(out, digits[1], '.', digits[0], '.')
	}
	return string(out) + "ip6.arpa."
}

func (q question) pack() ([]byte, error) {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: q.name, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

var (
	errForeign   = errors.New("not the answer to this question")
	errTruncated = errors.New("the answer does not fit into a datagram")
)

// refusal is an answer that says that the server cannot or will not answer.
type refusal dnsmessage.RCode

func (r refusal) Error() string {
	return "the server answered " + strings.TrimPrefix(dnsmessage.RCode(r).String(), "RCode")
}

// parse reads an answer and returns the names in it, none when there are none.
func (q question) parse(packet []byte) ([]string, error) {
	var p dnsmessage.Parser
	header, err := p.Start(packet)
	if err != nil || !header.Response || header.ID != q.id {
		return nil, errForeign
	}
	asked, err := p.AllQuestions()
	if err != nil || len(asked) != 1 || asked[0].Type != dnsmessage.TypePTR || !strings.EqualFold(asked[0].Name.String(), q.name.String()) {
		return nil, errForeign
	}
	switch {
	case header.Truncated:
		return nil, errTruncated
	case header.RCode == dnsmessage.RCodeNameError:
		return nil, nil
	case header.RCode != dnsmessage.RCodeSuccess:
		return nil, refusal(header.RCode)
	}
	return pointers(&p)
}

// pointers reads the PTR records of an answer. They may stand under another name, to which an alias led (RFC 2317).
func pointers(p *dnsmessage.Parser) ([]string, error) {
	var out []string
	for len(out) < maxNames {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if h.Type != dnsmessage.TypePTR || h.Class != dnsmessage.ClassINET {
			if err := p.SkipAnswer(); err != nil {
				return nil, fmt.Errorf("read the answer: %w", err)
			}
			continue
		}
		r, err := p.PTRResource()
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if name := hostname(r.PTR.String()); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out) // servers turn the order, which would look like a change
	return out, nil
}

// hostname returns a name in the form in which it is kept, or "" for what is no name of a host: anyone who owns an
// address decides what its record says.
func hostname(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "" || len(s) > 253 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return ""
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 {
			return ""
		}
	}
	return s
}
