package ransomware

import (
	"path"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// What access to a file holds ([MS-SMB2] 2.2.13.1).
const (
	reads     = 0x1 | 0x80000000
	writes    = 0x2 | 0x4 | 0x40000000
	mayDelete = 0x10000
	all       = 0x10000000
	most      = 0x02000000 // whatever the client may
)

const (
	maxOpen = 64 // files of a connection that are remembered, those opened last
	maxText = 64
	none    = -1
)

// file is one that a client asked for.
type file struct {
	name
	text    string // its last part, of what may be a note or a canary
	message uint64
	access  uint32
	madeOf  uint64 // whole name of the file that was read before this one was written
	granted bool
	read    bool
	wrote   bool
	note    bool
	canary  bool
}

// connection is one of SMB with the files that were opened last.
type connection struct {
	flow  uint64
	files []file // in a circle
	next  int
	at    int // of files: the one that was granted last
}

// ask remembers a file that is asked for.
func (c *connection) ask(r *sdk.SMB, canaries []string) {
	f := file{name: read(r.File), message: r.MessageID, access: r.Access}
	if f.access&(all|most) != 0 {
		f.access |= reads | writes | mayDelete
	}
	if f.access&writes != 0 {
		f.note = f.mayBeNote()
		f.name.text = strings.Clone(f.name.text)
	} else {
		f.name.text = ""
	}
	if asked := r.Access&(writes|mayDelete|all) != 0; f.note || asked && len(canaries) > 0 {
		f.text = last(r.File)
		f.canary = asked && isCanary(f.text, canaries)
	}
	if len(c.files) < maxOpen {
		c.files = append(c.files, f)
		return
	}
	if c.at == c.next {
		c.at = none
	}
	c.files[c.next] = f
	c.next = (c.next + 1) % maxOpen
}

// last is the last part of a path, not too long.
func last(text string) string {
	text = text[strings.LastIndexAny(text, `\/`)+1:]
	return strings.Clone(strings.ToValidUTF8(text[:min(len(text), maxText)], ""))
}

// back goes through the files, the one asked for last in front, until yield says no.
func (c *connection) back(yield func(i int, f *file) bool) {
	for n := range c.files {
		i := (c.next - 1 - n + 2*len(c.files)) % len(c.files)
		if !yield(i, &c.files[i]) {
			return
		}
	}
}

// grant notes that a file was opened, and returns it.
func (c *connection) grant(message uint64) (found *file) {
	c.back(func(i int, f *file) bool {
		if f.message == message && !f.granted {
			f.granted, c.at, found = true, i, f
		}
		return found == nil
	})
	return found
}

// last is the file that was opened last.
func (c *connection) last() *file {
	if c.at == none {
		return nil
	}
	return &c.files[c.at]
}

func (c *connection) read() {
	if f := c.last(); f != nil {
		f.read = true
	}
}

// toRename is the file that was last asked for to rename or delete it.
func (c *connection) toRename() (found *file) {
	c.back(func(_ int, f *file) bool {
		if f.access&mayDelete != 0 {
			found = f
		}
		return found == nil
	})
	return found
}

// hasRead reports whether a file was read before it was written, when it was opened now or before.
func (c *connection) hasRead(f *file) (found bool) {
	c.back(func(_ int, one *file) bool {
		found = one.read && one.whole == f.whole
		return !found
	})
	return found
}

// origin is the whole name of the file from which another one was made: it was read, and has the same name but for the
// extension, which was appended or replaced.
func (c *connection) origin(f *file) (whole uint64) {
	c.back(func(_ int, one *file) bool {
		if one.read && one.extension != f.extension && (one.whole == f.stem || one.stem == f.stem) {
			whole = one.whole
		}
		return whole == 0
	})
	return whole
}

// madeOf is the file that was made of another one.
func (c *connection) madeOf(old *file) (found *file) {
	c.back(func(_ int, one *file) bool {
		if one.madeOf == old.whole {
			found = one
		}
		return found == nil
	})
	return found
}

// isCanary reports whether it is the name of a file that nobody should touch.
func isCanary(text string, globs []string) bool {
	text = strings.ToLower(text)
	for _, glob := range globs {
		if matches, err := path.Match(glob, text); err == nil && matches {
			return true
		}
	}
	return false
}
