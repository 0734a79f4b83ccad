package facts

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
)

// unpacker undoes the codings of bodies. What it takes for that is tens of kilobytes, which it has once.
type unpacker struct {
	in   bytes.Reader
	gzip gzip.Reader
	zlib io.ReadCloser
	buf  []byte
}

// undoes reports whether a coding of HTTP can be undone.
func undoes(coding string) bool { return coding == "gzip" || coding == "x-gzip" || coding == "deflate" }

// undo undoes the coding of a body. One that cannot be undone at all stays as it was sent.
func (u *unpacker) undo(b *body) {
	u.in.Reset(b.encoded)
	defer u.in.Reset(nil)
	r, err := u.open(b.coding)
	if err != nil {
		b.asSent()
		return
	}
	if u.buf == nil {
		u.buf = make([]byte, 16<<10)
	}
	most := min(maxDecoded, max(minDecoded, maxRatio*int64(len(b.encoded))))
	n, err := io.CopyBuffer(&b.digest, io.LimitReader(r, most+1), u.buf)
	if n == 0 && err != nil {
		b.asSent()
		return
	}
	b.row.Expected = 0 // what was announced is the length of the coding
	b.row.Complete = b.row.Complete && err == nil && n <= most
}

// open readies what undoes a coding, whose head it reads.
func (u *unpacker) open(coding string) (io.Reader, error) {
	if coding != "deflate" {
		return &u.gzip, u.gzip.Reset(&u.in)
	}
	if u.zlib != nil {
		return u.zlib, u.zlib.(zlib.Resetter).Reset(&u.in, nil)
	}
	r, err := zlib.NewReader(&u.in)
	if err != nil {
		return nil, err
	}
	u.zlib = r
	return r, nil
}
