package facts

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/sdk"
)

// ParseKind reads KIND[:FIRST], as in ot:64: the first so many facts of a flow are enough. Without a number first is 0.
func ParseKind(text string) (kind string, first int, err error) {
	kind, number, limited := strings.Cut(text, ":")
	if limited {
		first, err = strconv.Atoi(number)
		if err != nil || first < 1 {
			return "", 0, fmt.Errorf("%q: how many facts of a flow are enough is a number from 1 to %d", text, maxFirst)
		}
	}
	return kind, first, checkKind(kind, first)
}

// maxFirst is how far the facts of a flow are counted.
const maxFirst = math.MaxUint16 - 1

func checkKind(kind string, first int) error {
	switch {
	case !slices.Contains(sdk.FactKinds, kind):
		return fmt.Errorf("there are no facts of kind %q (there are: %s)", kind, strings.Join(sdk.FactKinds, ", "))
	case first < 0 || first > maxFirst:
		return fmt.Errorf("%s: the first %d facts of a flow are wanted, but no more than %d are counted", kind, first, maxFirst)
	case first > 0 && kind == sdk.FactsLogins:
		return fmt.Errorf("of %s all are told: who guesses passwords may do so in one flow", kind)
	}
	return nil
}

// share is how much of a kind is wanted.
type share struct {
	wanted bool
	first  uint16 // of a flow; 0 for all
	brief  bool   // beyond the first ones of a flow its facts are told in brief
	index  int    // of the kind in sdk.FactKinds
	cut    uint64 // flows of which more could have been told
}

// wants reports whether one fact more of the flow is wanted, and counts it. When nobody wants anything more of what the
// flow's protocol tells, the flow is read no further.
func (m *Maker) wants(f *app.Flow, s *share) bool {
	if !s.wanted || s.first == 0 || f.ID == 0 {
		return s.wanted
	}
	n := &m.taken(f)[s.index]
	if *n < s.first {
		*n++
		return true
	}
	if *n == s.first {
		*n++
		s.cut++
	}
	if m.satisfied(f) {
		f.Enough()
	}
	return false
}

// inFull is how many facts of each flow are told in full where the others are told in brief.
const inFull = 64

// isBrief reports whether one fact more of the flow is told in brief, and counts it.
func (m *Maker) isBrief(f *app.Flow, s *share) bool {
	if !s.brief || f.ID == 0 {
		return false
	}
	n := &m.taken(f)[s.index]
	if *n >= inFull {
		return true
	}
	*n++
	return false
}

type counters = [len(app.Flow{}.Taken)]uint16

// taken counts the facts of a flow. Packets that belong to no flow of TCP or UDP are told by flows that hold nothing.
func (m *Maker) taken(f *app.Flow) *counters {
	const tcp, udp = 6, 17
	if f.Transport == tcp || f.Transport == udp {
		return &f.Taken
	}
	n := m.singles[f.ID]
	if n == nil {
		n = &counters{}
		m.singles[f.ID] = n
	}
	return n
}

// satisfied reports whether nobody wants more of what the flow's protocol tells.
func (m *Maker) satisfied(f *app.Flow) bool {
	feeds := m.feeds[f.Protocol()]
	if len(feeds) == 0 {
		return false // somebody wants all of it
	}
	n := m.taken(f)
	for _, s := range feeds {
		if n[s.index] < s.first {
			return false
		}
	}
	return true
}

// bounded are the shares that a protocol feeds, none when one of them is without a bound.
func (m *Maker) bounded(protocol string) []*share {
	var out []*share
	for _, s := range m.shares() {
		if !s.wanted || !needs(sdk.FactKinds[s.index], protocol) {
			continue
		}
		if s.first == 0 {
			return nil
		}
		out = append(out, s)
	}
	return out
}

func (m *Maker) shares() [11]*share {
	return [...]*share{
		&m.dns.share, &m.tls.share, &m.http.share, &m.smb.share, &m.dhcp.share, &m.arp.share, &m.ot.share, &m.files.share, &m.logins.share,
		&m.messages.share, &m.contents.share,
	}
}

// ToldNoMore is, by kind, of how many flows only the first facts were told.
func (m *Maker) ToldNoMore() map[string]uint64 {
	out := map[string]uint64{}
	for _, s := range m.shares() {
		if s.cut > 0 {
			out[sdk.FactKinds[s.index]] = s.cut
		}
	}
	return out
}
