package snmp

import "sync"

// perCollection is how many samples a host takes of one collection.
const perCollection = 20_000

// share divides them among the devices. One half belongs to all alike, so that each has its part whatever the others bring; of the
// other half one device that has more may take half, unless it is alone.
type share struct {
	own, more int // of one device

	mu   sync.Mutex // guards left
	left int        // of the half that is for those who have more
}

func newShare(devices int) *share {
	half := perCollection / 2
	s := &share{own: half / devices, more: half / 2, left: half}
	if devices == 1 {
		s.more = half
	}
	return s
}

// take returns how many of so many samples a device may bring.
func (s *share) take(want int) int {
	if want <= s.own {
		return want
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	more := min(want-s.own, s.more, s.left)
	s.left -= more
	return s.own + more
}
