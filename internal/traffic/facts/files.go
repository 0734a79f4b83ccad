package facts

import (
	"mime"
	"path"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ftp"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
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
	maxForm    = 64 << 10 // bytes of a form: longer ones that somebody sends are shown, whatever they name
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
	tells   bool // the file is wanted
	shows   bool // so is what is in it
}

func (m *Maker) requestBody(f *app.Fact, b *http1.Request) {
	if !m.carves() {
		return
	}
	s := m.bodiesOf(f)
	name := askedName(b.Method, b.Target)
	at := &s.asked[b.Number%len(s.asked)]
	at.number, at.name = b.Number, name
	m.announced(f, &s.side[f.Dir], name, b.Length, b.Headers)
}

func (m *Maker) responseBody(f *app.Fact, b *http1.Response) {
	if !m.carves() {
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

// carves reports whether somebody wants files, or what is in them.
func (m *Maker) carves() bool { return m.files.wanted || m.contents.wanted }

// announced opens the file that follows a head.
func (m *Maker) announced(f *app.Fact, b *body, name string, length int64, fields []app.Field) {
	m.tellBody(f.Flow.ID, b) // one whose end was not told is over now
	if length == 0 || !m.open(f, b, name) {
		return
	}
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
	if !m.carves() {
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
	if !m.carves() {
		return
	}
	b := &m.bodiesOf(f).side[f.Dir]
	if p.First {
		m.tellBody(f.Flow.ID, b) // its end was not seen
		if !m.open(f, b, fileName(p.Name)) {
			return
		}
	}
	if b.open {
		m.takeBounded(f, b, p.Data, p.Missing, p.Last)
	}
}

// ftpFile takes a piece of a file that FTP transfers. It ends with its connection, however that ended: only where the server said
// how long it is all of it is known to be there.
func (m *Maker) ftpFile(f *app.Fact, p *ftp.FilePart) {
	if !m.carves() {
		return
	}
	b := &m.bodiesOf(f).side[f.Dir]
	if p.First && !m.open(f, b, fileName(p.Name)) {
		f.Flow.Enough()
		return
	}
	if b.open {
		b.row.Protocol = "ftp"
		b.row.Expected = p.Size
		size := b.digest.size + uint64(len(p.Data))
		m.takeBounded(f, b, p.Data, p.Missing || p.Last && p.Size > 0 && size != p.Size, p.Last)
	}
}

// smbFile takes a piece of a file that is read from a share or written to it. One that is read only in parts is not complete.
func (m *Maker) smbFile(f *app.Fact, p *smb.FilePart) {
	if !m.carves() {
		return
	}
	s, i := m.streamOf(f, p.File)
	if i < 0 {
		if p.Last {
			return
		}
		s = m.bodiesOf(f)
		if len(s.streams) >= maxStreams {
			m.endStream(f.Flow.ID, s, 0)
		}
		s.streams = append(s.streams, m.newStream(p.File, fileName(p.Name)))
		m.bodies.grew(f.Flow.ID, streamBytes)
		if s, i = m.streamOf(f, p.File); i < 0 {
			return // the flow had to make room
		}
		if !m.open(f, &s.streams[i].side[f.Dir], s.streams[i].name) {
			return
		}
	}
	x := s.streams[i]
	b := &x.side[f.Dir]
	if !b.open && !p.Last && !m.open(f, b, x.name) {
		return
	}
	if b.open {
		b.row.Expected = p.Size
		size := b.digest.size + uint64(len(p.Data))
		m.takeBounded(f, b, p.Data, p.Missing || p.Last && p.Size > 0 && size != p.Size, p.Last)
	}
	if s, i = m.streamOf(f, p.File); i >= 0 && p.Last && !x.side[1-f.Dir].open {
		m.endStream(f.Flow.ID, s, i)
	}
}

// takeBounded is takeBody for parsers that hand out all of a file.
func (m *Maker) takeBounded(f *app.Fact, b *body, data []byte, missing, last bool) {
	if b.digest.size+uint64(len(data)) > maxFile {
		data, missing = nil, true
	}
	m.takeBody(f, b, data, missing, last, last)
}

// open begins a file, unless nobody wants it, or one more of the flow.
func (m *Maker) open(f *app.Fact, b *body, name string) bool {
	if m.sent && f.Dir == app.Server {
		return false
	}
	tells, shows := m.wants(f.Flow, &m.files.share), m.wants(f.Flow, &m.contents.share)
	if !tells && !shows {
		return false
	}
	b.forget()
	b.open, b.tells, b.shows = true, tells, shows
	b.row = sdk.File{Seen: seen(f), Protocol: f.Protocol, Name: name}
	if m.contents.wanted {
		b.digest.reset(&m.held, shows)
	} else {
		b.digest.reset(nil, false)
	}
	m.holds(f.Flow.ID, b, bodyBytes)
	return true
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
		secret := withoutSecrets(at, b.digest.begin)
		if b.tells {
			m.files.add(at)
		}
		m.tellContent(b, at, secret)
	}
	b.digest.release()
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
// to be guessed by its digest, which is left out then. It says whether what is in it may be a secret.
func withoutSecrets(r *sdk.File, body []byte) bool {
	r.Begin, _ = beforeSecrets(r.Begin)
	_, named := beforeSecrets(body)
	named = named && strings.HasPrefix(r.Protocol, "http")
	if named && !r.FromServer && r.Size <= typeBytes {
		r.SHA256, r.MD5 = "", ""
	}
	return named && (r.Size <= typeBytes || !r.FromServer && r.Size <= maxForm)
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
