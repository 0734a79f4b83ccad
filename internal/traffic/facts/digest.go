package facts

import (
	"crypto/md5" //nolint:gosec // lists of known files have it
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"math"

	"github.com/gabriel-vasile/mimetype"

	"github.com/picketwatch/picket/sdk"
)

// What is kept of a file's beginning: to tell its type, and in the record.
const (
	typeBytes = 1024
	beginning = 64
)

// digest is what is computed of a file as it passes. Reset readies it.
type digest struct {
	size   uint64
	begin  []byte
	sha256 hash.Hash
	md5    hash.Hash    // nil unless somebody wants what is in files
	counts *[256]uint64 // of each byte

	held    *contents // of all files; nil as md5
	keeps   bool      // somebody wants what is in this one
	content []byte    // its first bytes, then
}

func (d *digest) reset(held *contents, keeps bool) {
	d.release()
	d.held, d.keeps = held, keeps
	if d.held != nil {
		if d.md5 == nil {
			d.md5 = md5.New() //nolint:gosec // lists of known files have it
		}
		d.md5.Reset()
	}
	if d.sha256 == nil {
		d.sha256, d.counts = sha256.New(), new([256]uint64)
	}
	d.sha256.Reset()
	*d.counts = [256]uint64{}
	d.size, d.begin = 0, d.begin[:0]
}

// Write takes the next bytes. It never fails.
func (d *digest) Write(b []byte) (int, error) {
	d.write(b)
	return len(b), nil
}

func (d *digest) write(b []byte) {
	d.begin = append(d.begin, b[:min(len(b), typeBytes-len(d.begin))]...)
	d.sha256.Write(b)
	if d.md5 != nil {
		d.md5.Write(b)
	}
	if d.keeps {
		d.keep(b)
	}
	d.size += uint64(len(b))
	for _, c := range b {
		d.counts[c]++
	}
}

// fill writes what was computed into the record.
func (d *digest) fill(r *sdk.File) {
	r.Size = d.size
	r.Type = mimetype.Detect(d.begin).String()
	r.SHA256 = hex.EncodeToString(d.sha256.Sum(nil))
	if d.md5 != nil {
		r.MD5 = hex.EncodeToString(d.md5.Sum(nil))
	}
	r.Entropy = d.entropy()
	r.Begin = append(r.Begin, d.begin[:min(len(d.begin), beginning)]...)
}

// entropy is in bits a byte.
func (d *digest) entropy() float64 {
	var e float64
	for _, n := range d.counts {
		if n > 0 {
			p := float64(n) / float64(d.size)
			e -= p * math.Log2(p)
		}
	}
	return max(e, 0)
}
