package plane

// shelf are the frames that the plugin keeps for further instances: the newest, as many as fit. Both ends reckon alike, so that
// the host knows without asking what it need not send again. Frames are numbered from 1 in the order in which they came.
type shelf[T any] struct {
	frames, bytes uint32 // how many fit, and how long they may be together; 0: none is kept
	last          uint64 // the number of the newest
	kept          []onShelf[T]
	size          int // together
}

type onShelf[T any] struct {
	what T
	size int
}

// fits says whether a frame can be kept at all.
func (s *shelf[T]) fits(size int) bool { return s.frames > 0 && size <= int(s.bytes) }

// add keeps a frame that fits, and lets the oldest go for it.
func (s *shelf[T]) add(what T, size int, gone func(T)) {
	for len(s.kept) > 0 && (len(s.kept) >= int(s.frames) || s.size+size > int(s.bytes)) {
		old := s.kept[0]
		s.kept = s.kept[:copy(s.kept, s.kept[1:])]
		s.size -= old.size
		gone(old.what)
	}
	s.kept = append(s.kept, onShelf[T]{what, size})
	s.size += size
	s.last++
}

// find returns the number of the newest frame for which is holds, 0 when none is kept.
func (s *shelf[T]) find(is func(T) bool) uint64 {
	for i := len(s.kept) - 1; i >= 0; i-- {
		if is(s.kept[i].what) {
			return s.last - uint64(len(s.kept)-1-i)
		}
	}
	return 0
}

// get returns the frame with a number, false when it is not kept.
func (s *shelf[T]) get(number uint64) (what T, ok bool) {
	back := s.last - number
	if number == 0 || number > s.last || back >= uint64(len(s.kept)) {
		return what, false
	}
	return s.kept[uint64(len(s.kept))-1-back].what, true
}
