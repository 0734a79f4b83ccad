package facts

import "github.com/picketwatch/picket/sdk"

// Limits of what is in files: bytes that wait for the ends of their files, and bytes that are told of in a second of the capture.
// A file that has no room is told without.
const (
	maxContents  = 16 << 20
	maxPerSecond = 32 << 20
)

// contents is what all open files hold of their bytes together.
type contents struct {
	bytes   int
	second  int64
	told    int    // in that second
	dropped uint64 // files whose bytes were not told of
}

// keep takes the next bytes of a file, as far as there is room.
func (d *digest) keep(b []byte) {
	b = b[:min(len(b), sdk.MaxContent-len(d.content))]
	if d.held.bytes+len(b) > maxContents {
		d.held.dropped++
		d.release()
		d.keeps = false
		return
	}
	d.held.bytes += len(b)
	d.content = append(d.content, b...)
}

// release forgets the bytes of a file.
func (d *digest) release() {
	if d.held == nil {
		return
	}
	d.held.bytes -= len(d.content)
	if d.content = d.content[:0]; cap(d.content) > bodyBytes {
		d.content = nil
	}
}

// fits reports whether so many bytes more can be told of now.
func (c *contents) fits(at int64, bytes int) bool {
	if second := at / 1e9; second != c.second {
		c.second, c.told = second, 0
	}
	if c.told+bytes > maxPerSecond {
		c.dropped++
		return false
	}
	c.told += bytes
	return true
}

// tellContent tells what is in a file that was told of by r, unless that may be a secret.
func (m *Maker) tellContent(b *body, r *sdk.File, secret bool) {
	d := &b.digest
	if !b.shows || secret || len(d.content) == 0 || !m.held.fits(r.Time.UnixNano(), len(d.content)) {
		return
	}
	at := &m.contents.row
	*at = sdk.Content{
		Seen: r.Seen, Protocol: r.Protocol, Name: r.Name, Type: r.Type, Size: r.Size, SHA256: r.SHA256, MD5: r.MD5,
		Complete: r.Complete && uint64(len(d.content)) == r.Size, Data: d.content,
	}
	m.contents.add(at)
	at.Data = nil
}

// ContentsDropped is of how many files nobody was shown what is in them, because it was too much at once.
func (m *Maker) ContentsDropped() uint64 { return m.held.dropped }
