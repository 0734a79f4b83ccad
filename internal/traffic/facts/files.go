package facts

import (
	"mime"
	"path"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/smtp"
	"github.com/picketwatch/picket/sdk"
)

// Limits of files.
const (
	maxFile    = 1 << 30  // bytes of a body that are looked at
	maxEncoded = 1 << 20  // bytes of a body that are kept to undo its coding
	maxDecoded = 32 << 20 // bytes that come out of it
	maxRatio   = 100      // of these to those: a few packets must not cost the digest of megabytes
	minDecoded = 1 << 20  // bytes that may come out whatever the ratio
	maxName    = 255
	bodyBytes  = 4 << 10 // about what an open body costs
)

// bodies are the files of a connection that are being transferred, one in each direction, in HTTP/2 of each stream.
type bodies struct {
	side    [2]body
	streams []*stream
	// asked are the names that the latest requests asked for, which their answers do not repeat.
	asked [16]struct {
		number int
		name   string
	}
}

// body is a file that is being transferred.
type body struct {
	row     sdk.File
	open    bool
	holes   bool
	undo    bool   // its coding is undone once all of it is there
	coding  string // as the head says
	held    int    // bytes that the joins were told of
	encoded []byte // what was sent so far, when undo
	digest  digest
}

func (m *Maker) requestBody(f *app.Fact, b *http1.Request) {
	if !m.files.wanted {
		return
	}
	s := m.bodiesOf(f)
	name := askedName(b.Method, b.Target)
	at := &s.asked[b.Number%len(s.asked)]
	at.number, at.name = b.Number, name
	m.announced(f, &s.side[f.Dir], name, b.Length, b.Headers)
}

func (m *Maker) responseBody(f *app.Fact, b *http1.Response) {
	if !m.files.wanted {
		return
	}
	s := m.bodiesOf(f)
	name := ""
	if at := &s.asked[b.Number%len(s.asked)]; b.Number != 0 && at.number == b.Number {
		name = at.name
	}
	m.announced(f, &s.side[f.Dir], name, b.Length, b.Headers)
}

func (m *Maker) bodiesOf(f *app.Fact) *bodies {
	s, fresh := m.bodies.open(f.Flow.ID)
	if fresh {
		s.side[0].forget()
		s.side[1].forget()
		s.streams = nil
		clear(s.asked[:])
	}
	return s
}

func (b *body) forget() { *b = body{encoded: b.encoded[:0], digest: b.digest} }

// announced opens the file that follows a head.
func (m *Maker) announced(f *app.Fact, b *body, name string, length int64, fields []app.Field) {
	m.tellBody(f.Flow.ID, b) // one whose end was not told is over now
	if length == 0 || !m.wants(f.Flow, &m.files.share) {
		return
	}
	m.open(f, b, name)
	if length > 0 {
		b.row.Expected = uint64(length)
	}
	for _, h := range fields {
		switch {
		case is(h.Name, "content-encoding"):
			b.coding = strings.ToLower(cut(h.Value))
		case is(h.Name, "content-disposition"):
			if _, params, err := mime.ParseMediaType(h.Value); err == nil && params["filename"] != "" {
				b.row.Name = fileName(params["filename"])
			}
		}
	}
	b.undo = undoes(b.coding)
}

// bodyPart takes the next bytes of the file.
func (m *Maker) bodyPart(f *app.Fact, p *http1.BodyPart) {
	if !m.files.wanted {
		return
	}
	s := m.bodies.of(f.Flow.ID)
	if s == nil || !s.side[f.Dir].open {
		return
	}
	m.takeBody(f, &s.side[f.Dir], p.Data, p.Missing > 0, p.Last && p.Offset+int64(len(p.Data)) <= maxFile, p.Last)
}

// takeBody takes the next bytes of a file. Whole says that it ends with them and that all of it was looked at.
func (m *Maker) takeBody(f *app.Fact, b *body, data []byte, missing, whole, last bool) {
	from := b.row.FromServer
	b.row.Seen = seen(f)
	b.row.FromServer = from
	b.holes = b.holes || missing
	if b.holes || len(b.encoded)+len(data) > maxEncoded {
		b.asSent()
	}
	if b.undo {
		b.encoded = append(b.encoded, data...)
	} else {
		b.digest.write(data)
	}
	if last {
		b.row.Complete = !b.holes && whole
		m.tellBody(f.Flow.ID, b)
		return
	}
	m.holds(f.Flow.ID, b, bodyBytes+len(b.encoded))
}

// mailFile takes a piece of an attachment.
func (m *Maker) mailFile(f *app.Fact, p *smtp.FilePart) {
	if !m.files.wanted {
		return
	}
	b := &m.bodiesOf(f).side[f.Dir]
	if p.First {
		m.tellBody(f.Flow.ID, b) // its end was not seen
		if !m.wants(f.Flow, &m.files.share) {
			return
		}
		m.open(f, b, fileName(p.Name))
	}
	if b.open {
		m.takeBounded(f, b, p.Data, p.Missing, p.Last)
	}
}

// takeBounded is takeBody for parsers that hand out all of a file.
func (m *Maker) takeBounded(f *app.Fact, b *body, data []byte, missing, last bool) {
	if b.digest.size+uint64(len(data)) > maxFile {
		data, missing = nil, true
	}
	m.takeBody(f, b, data, missing, last, last)
}

// open begins a file.
func (m *Maker) open(f *app.Fact, b *body, name string) {
	b.forget()
	b.open = true
	b.row = sdk.File{Seen: seen(f), Protocol: f.Protocol, Name: name}
	b.digest.reset()
	m.holds(f.Flow.ID, b, bodyBytes)
}

// holds notes what a body costs now.
func (m *Maker) holds(flow uint64, b *body, bytes int) {
	more := bytes - b.held
	b.held = bytes
	m.bodies.grew(flow, more)
}

// asSent gives up undoing the coding: the file is what was sent.
func (b *body) asSent() {
	if b.undo {
		b.undo = false
		b.digest.write(b.encoded)
		b.encoded = b.encoded[:0]
	}
}

// tellBody tells of a file as far as it was seen.
func (m *Maker) tellBody(flow uint64, b *body) {
	if !b.open {
		return
	}
	b.open = false
	if b.undo {
		m.unpack.undo(b)
	}
	if b.digest.size > 0 {
		at := &m.files.row
		begin := at.Begin[:0]
		*at = b.row
		at.Begin = begin
		b.digest.fill(at)
		withoutSecrets(at, b.digest.begin)
		m.files.add(at)
	}
	if cap(b.encoded) > maxEncoded/16 {
		b.encoded = nil
	}
	m.holds(flow, b, 0)
}

func (m *Maker) tellBodies(flow uint64, s *bodies) {
	m.tellBody(flow, &s.side[app.Client])
	m.tellBody(flow, &s.side[app.Server])
	for len(s.streams) > 0 {
		m.endStream(flow, s, 0)
	}
}

// withoutSecrets ends the beginning of a file with the first name of a secret. What somebody sent in a form of HTTP is short enough
// to be guessed by its digest, which is left out then.
func withoutSecrets(r *sdk.File, body []byte) {
	r.Begin, _ = beforeSecrets(r.Begin)
	if _, named := beforeSecrets(body); named && !r.FromServer && r.Size <= typeBytes && strings.HasPrefix(r.Protocol, "http") {
		r.SHA256 = ""
	}
}

// askedName is the name of the file that a request asks for. CONNECT asks for a host.
func askedName(method, target string) string {
	if connects(method) {
		return ""
	}
	return fileName(target)
}

// fileName is the last part of a path.
func fileName(target string) string {
	target, _, _ = strings.Cut(target, "?")
	target, _, _ = strings.Cut(target, "#")
	name := redacted(path.Base(strings.ReplaceAll(target, `\`, "/")))
	if name == "/" || name == "." {
		return ""
	}
	return name[:min(len(name), maxName)]
}
