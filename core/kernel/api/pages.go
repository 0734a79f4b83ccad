package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"mime"
	"path"
	"strings"
	"sync"
)

// pages are the files of the web app, each with its compressed form once somebody has asked for that.
type pages struct {
	files fs.FS

	mu     sync.Mutex        // guards packed
	packed map[string][]byte // gzip by name; nil for what does not get smaller
}

// smallPage is what is not worth compressing, in bytes.
const smallPage = 1 << 10

// open returns the content of a file and its type, compressed when that is wanted and makes it smaller.
func (p *pages) open(name string, compressed bool) (content []byte, kind string, packed bool, err error) {
	content, err = fs.ReadFile(p.files, name)
	if err != nil {
		return nil, "", false, err
	}
	kind = mime.TypeByExtension(path.Ext(name))
	if !compressed || len(content) < smallPage || !packable(kind) {
		return content, kind, false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	small, done := p.packed[name]
	if !done {
		small = pack(content)
		if p.packed == nil {
			p.packed = map[string][]byte{}
		}
		p.packed[name] = small
	}
	if small == nil {
		return content, kind, false, nil
	}
	return small, kind, true, nil
}

func packable(kind string) bool {
	kind, _, _ = strings.Cut(kind, ";")
	return strings.HasPrefix(kind, "text/") || kind == "application/json" || kind == "image/svg+xml"
}

func pack(content []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = io.Copy(w, bytes.NewReader(content))
	}
	if err != nil || w.Close() != nil || out.Len() >= len(content) {
		return nil
	}
	return out.Bytes()
}

// takesGzip reports whether a browser said that it does. The browsers of this app say it without weights.
func takesGzip(acceptEncoding string) bool {
	for part := range strings.SplitSeq(acceptEncoding, ",") {
		if name, weight, _ := strings.Cut(strings.TrimSpace(part), ";"); name == "gzip" && strings.TrimSpace(weight) != "q=0" {
			return true
		}
	}
	return false
}
