package sigma

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// Limits of what is remembered of connections of SMB.
const (
	maxSessions = 4096
	maxTrees    = 16
	maxShare    = 256
)

// shares remember the names of shares, by connection and the number that the server gave them.
type shares struct {
	sessions recent.Table[uint64, *session]
}

// session is a connection.
type session struct {
	flow  uint64
	asked []tree // by message
	trees []tree // by number
}

type tree struct {
	number uint64
	share  string
}

func newShares() shares { return shares{recent.New[uint64, *session](maxSessions)} }

// connect reads that a client asks for a share, or the number that it gets.
func (s *shares) connect(c *sdk.SMB) {
	one, known := s.sessions.Get(c.Flow)
	if !known {
		if c.Response {
			return
		}
		if old, full := s.sessions.Crowded(); full {
			s.sessions.Forget(old.flow)
		}
		one = &session{flow: c.Flow}
		s.sessions.Put(c.Flow, one)
	}
	if !c.Response {
		one.asked = put(one.asked, tree{c.MessageID, strings.Clone(c.Share[:min(len(c.Share), maxShare)])})
		return
	}
	if i := find(one.asked, c.MessageID); i >= 0 {
		if c.Status == 0 {
			one.trees = put(one.trees, tree{c.Tree, one.asked[i].share})
		}
		one.asked = slices.Delete(one.asked, i, i+1)
	}
}

// of is the share that a command is about, empty when it was not seen.
func (s *shares) of(c *sdk.SMB) string {
	if one, known := s.sessions.Get(c.Flow); known {
		if i := find(one.trees, c.Tree); i >= 0 {
			return one.trees[i].share
		}
	}
	return ""
}

func find(list []tree, number uint64) int {
	return slices.IndexFunc(list, func(t tree) bool { return t.number == number })
}

// put adds a tree in the place of that with its number; the oldest makes room.
func put(list []tree, t tree) []tree {
	if i := find(list, t.number); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) >= maxTrees {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, t)
}

// appendTo writes the memory behind b, for read.
func (s *shares) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(s.sessions.Len()))
	for one := range s.sessions.All() {
		b = binary.AppendUvarint(b, one.flow)
		for _, list := range [...][]tree{one.asked, one.trees} {
			b = binary.AppendUvarint(b, uint64(len(list)))
			for _, t := range list {
				b = binary.AppendUvarint(b, t.number)
				b = append(binary.AppendUvarint(b, uint64(len(t.share))), t.share...)
			}
		}
	}
	return b
}

// read reads what appendTo wrote into an empty memory.
func (s *shares) read(p *saved.Packed) error {
	for range p.Count() {
		one := &session{flow: p.Uint()}
		for _, list := range [...]*[]tree{&one.asked, &one.trees} {
			for range min(p.Count(), maxTrees) {
				*list = append(*list, tree{p.Uint(), string(p.Bytes(maxShare))})
			}
		}
		if p.Err() != nil || s.sessions.Has(one.flow) || s.sessions.Len() >= maxSessions {
			return fmt.Errorf("a connection makes no sense: %w", p.Err())
		}
		s.sessions.Put(one.flow, one)
	}
	return p.Err()
}
