package app

import "bytes"

// Frames cuts the bytes of one direction into messages that say their own length. A message that lies whole in the bytes
// at hand is handed out where it lies; only an unfinished one is copied.
type Frames struct {
	// Size returns the length of the message that begins with head, 0 when head is too short to tell, below 0 when no
	// message begins so.
	Size func(head []byte) int
	// Max bounds what is kept of one message.
	Max int
	// Tail, when set, gets the bytes of a message beyond Max as they come, and how many are missing before them. It is called
	// between the message and the next one.
	Tail func(b []byte, missing int)

	held []byte
	skip int // bytes of a message that was cut
	bad  bool
}

// Bad reports whether no message can begin where one should. It stays so until Reset.
func (f *Frames) Bad() bool { return f.bad }

// Next returns the next message in b and what follows it. A message longer than Max is cut to Max, and cut says by how
// much. Without a message ok is false: the unfinished one is held for the next call, unless the bytes are Bad.
func (f *Frames) Next(b []byte) (msg, rest []byte, cut int, ok bool) {
	if f.skip > 0 {
		n := min(f.skip, len(b))
		f.skip -= n
		if f.Tail != nil && n > 0 {
			f.Tail(b[:n], 0)
		}
		b = b[n:]
	}
	for len(b) > 0 && !f.bad {
		head := b
		if len(f.held) > 0 {
			head = f.held
		}
		size := f.Size(head)
		switch {
		case size < 0:
			f.bad = true
			return nil, nil, 0, false
		case len(f.held) == 0 && size > 0 && min(size, f.Max) <= len(b):
			return f.done(b[:min(size, f.Max)], b[min(size, f.Max):], size)
		case size > 0 && min(size, f.Max) <= len(f.held):
			msg = f.held
			f.held = f.held[:0]
			return f.done(msg, b, size)
		}
		want := min(size, f.Max) - len(f.held)
		if size == 0 {
			if len(f.held) >= f.Max {
				f.bad = true
				return nil, nil, 0, false
			}
			want = 1
			if len(f.held) == 0 {
				want = min(len(b), f.Max)
			}
		}
		n := min(want, len(b))
		f.held = append(f.held, b[:n]...)
		b = b[n:]
	}
	switch size := f.sizeHeld(); {
	case size < 0:
		f.bad = true
	case size > 0 && min(size, f.Max) <= len(f.held):
		msg = f.held
		f.held = f.held[:0]
		return f.done(msg, nil, size)
	}
	return nil, nil, 0, false
}

func (f *Frames) sizeHeld() int {
	if len(f.held) == 0 {
		return 0
	}
	return f.Size(f.held)
}

func (f *Frames) done(msg, rest []byte, size int) ([]byte, []byte, int, bool) {
	cut := size - len(msg)
	if f.Tail != nil {
		f.skip = cut
		return msg, rest, cut, true
	}
	f.skip = min(cut, len(rest))
	rest = rest[f.skip:]
	f.skip = cut - f.skip
	return msg, rest, cut, true
}

// Miss steps over n bytes that were lost, when they belong to the part of a message that is cut anyway. It says whether
// that is so; otherwise where the next message begins is not known.
func (f *Frames) Miss(n int) bool {
	if n > f.skip {
		return false
	}
	f.skip -= n
	if f.Tail != nil {
		f.Tail(nil, n)
	}
	return true
}

// Reset forgets the unfinished message. It keeps a modest buffer.
func (f *Frames) Reset() {
	f.skip, f.held, f.bad = 0, f.held[:0], false
	if cap(f.held) > 16<<10 {
		f.held = nil
	}
}

// Lines cuts the bytes of one direction into lines that end in LF or CR LF.
type Lines struct {
	Max  int // what is kept of one line
	held []byte
	over int // bytes of the line beyond Max
}

// Next returns the next line without its end and what follows it. A longer line is cut to Max, and cut says by how much.
// Without a whole line ok is false, and what there is of it is held.
func (l *Lines) Next(b []byte) (line, rest []byte, cut int, ok bool) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		rest = b[i+1:]
		line = b[:i]
		if len(l.held) > 0 || l.over > 0 {
			l.hold(line)
			line = l.held
			l.held = l.held[:0]
		}
		cut, l.over = l.over, 0
		if len(line) > l.Max {
			cut += len(line) - l.Max
			line = line[:l.Max]
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		return line, rest, cut, true
	}
	l.hold(b)
	return nil, nil, 0, false
}

func (l *Lines) hold(b []byte) {
	n := min(len(b), l.Max-len(l.held))
	l.held = append(l.held, b[:n]...)
	l.over += len(b) - n
}

// Held is how many bytes of an unfinished line are held.
func (l *Lines) Held() int { return len(l.held) + l.over }

// Reset forgets the unfinished line.
func (l *Lines) Reset() {
	l.held, l.over = l.held[:0], 0
	if cap(l.held) > 16<<10 {
		l.held = nil
	}
}
