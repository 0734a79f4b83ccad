package smtp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"slices"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// FilePart is the fact of a piece of an attachment, with its transfer encoding undone (RFC 2045).
type FilePart struct {
	Name    string // as sent, on the first piece
	First   bool
	Data    []byte
	Missing bool // bytes are missing before Data, or could not be decoded
	Last    bool // the attachment ends here, as its mail says
}

// Limits of the parts of a mail.
const (
	maxDepth     = 8 // multiparts within one another
	maxBoundary  = 200
	maxPartField = 1024
	maxParts     = 256
)

// The fields of a part's header that say what it is.
const (
	contentType = iota
	contentDisposition
	contentEncoding
	partFields
)

// coding is how a part's content is written.
type coding uint8

const (
	plain coding = iota
	quoted
	base64Text
)

var partNames = [partFields]string{"content-type", "content-disposition", "content-transfer-encoding"}

// attachments follows the parts of a mail (RFC 2046) and hands out those that are files.
type attachments struct {
	boundaries []string // of the multiparts that are open, the outermost first
	fields     [partFields][]byte
	field      int  // that a folded line goes on, -1 for none
	body       bool // the part's header is over
	open       bool // its body is handed out
	coding     coding
	carry      []byte // characters of base64 that wait for more, or the end of a line that may be the last
	room       []byte
	parts      int
	part       FilePart
}

func (a *attachments) reset() {
	*a = attachments{boundaries: a.boundaries[:0], fields: a.fields, carry: a.carry[:0], room: a.room}
	a.header()
}

// header begins the header of a part.
func (a *attachments) header() {
	for i := range a.fields {
		a.fields[i] = a.fields[i][:0]
	}
	a.field, a.body = -1, false
}

// line takes a line of the mail; cut says that it was too long to be kept whole.
func (a *attachments) line(f *app.Flow, b []byte, cut bool) {
	if a.boundary(f, b) {
		return
	}
	switch {
	case a.open:
		a.content(f, b, cut)
	case a.body:
	case len(b) == 0:
		a.begin(f)
	case b[0] == ' ' || b[0] == '\t':
		if a.field >= 0 {
			a.extend(b)
		}
	default:
		a.named(b)
	}
}

// named takes a line that begins a field.
func (a *attachments) named(b []byte) {
	name, value, _ := bytes.Cut(b, []byte(":"))
	a.field = -1
	for i, known := range partNames {
		if len(name) == len(known) && strings.EqualFold(string(name), known) && len(a.fields[i]) == 0 {
			a.field = i
			a.extend(value)
		}
	}
}

func (a *attachments) extend(b []byte) {
	at := &a.fields[a.field]
	*at = append(*at, b[:min(len(b), maxPartField-len(*at))]...)
}

// boundary reports whether a line sets parts apart. What is left open inside of the part ends there.
func (a *attachments) boundary(f *app.Flow, b []byte) bool {
	if len(b) < 3 || b[0] != '-' || b[1] != '-' {
		return false
	}
	for i := len(a.boundaries) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(b[2:], []byte(a.boundaries[i]))
		rest = bytes.TrimRight(rest, " \t")
		if !ok || len(rest) > 0 && string(rest) != "--" {
			continue
		}
		a.end(f, i == len(a.boundaries)-1)
		a.boundaries = a.boundaries[:i+1]
		a.header()
		if len(rest) > 0 {
			a.boundaries, a.body = a.boundaries[:i], true // what follows is no part
		}
		return true
	}
	return false
}

// begin looks at a header that is whole: more parts follow, a file, or something else.
func (a *attachments) begin(f *app.Flow) {
	a.body = true
	kind, params, err := mime.ParseMediaType(string(a.fields[contentType]))
	if b := params["boundary"]; err == nil && strings.HasPrefix(kind, "multipart/") && b != "" && len(b) <= maxBoundary {
		if len(a.boundaries) < maxDepth {
			a.boundaries = append(a.boundaries, b)
		}
		return
	}
	place, disposition, _ := mime.ParseMediaType(string(a.fields[contentDisposition]))
	name := disposition["filename"]
	if name == "" {
		name = params["name"]
	}
	if name == "" && place != "attachment" {
		return
	}
	if a.parts++; a.parts > maxParts {
		f.Cut(1)
		return
	}
	switch strings.ToLower(strings.TrimSpace(string(a.fields[contentEncoding]))) {
	case "base64":
		a.coding = base64Text
	case "quoted-printable":
		a.coding = quoted
	default:
		a.coding = plain
	}
	a.open, a.carry = true, a.carry[:0]
	a.part = FilePart{Name: decoded(name), First: true}
	a.tell(f, nil)
}

// decoded is a name without the encoding that fields of mails have for other letters (RFC 2047).
func decoded(name string) string {
	var words mime.WordDecoder
	if plain, err := words.DecodeHeader(name); err == nil {
		name = plain
	}
	return text([]byte(name))
}

// content takes a line of a file.
func (a *attachments) content(f *app.Flow, b []byte, cut bool) {
	ok := true
	if a.coding == base64Text {
		ok = a.base64(b)
	} else {
		// What ends a line belongs to the boundary when that comes next (RFC 2046 section 5.1.1).
		a.room = append(a.room[:0], a.carry...)
		a.carry = append(a.carry[:0], "\r\n"...)
		if a.coding == quoted {
			a.quoted(b)
		} else {
			a.room = append(a.room, b...)
		}
	}
	a.part.Missing = a.part.Missing || cut || !ok
	if len(a.room) > 0 || a.part.Missing {
		a.tell(f, a.room)
	}
}

// missed notes that bytes of the mail were lost.
func (a *attachments) missed() {
	a.part.Missing = a.part.Missing || a.open
	a.carry = a.carry[:0]
}

// end ends the part. Whole says that the mail does not end before it.
func (a *attachments) end(f *app.Flow, whole bool) {
	if !a.open {
		return
	}
	a.open = false
	a.part.Last = whole
	a.part.Missing = a.part.Missing || a.coding == base64Text && len(a.carry) > 0
	a.tell(f, nil)
}

// finish ends the mail.
func (a *attachments) finish(f *app.Flow) {
	if a.open && len(a.boundaries) == 0 && a.coding != base64Text {
		a.tell(f, a.carry)
	}
	a.end(f, len(a.boundaries) == 0)
	a.reset()
}

func (a *attachments) tell(f *app.Flow, data []byte) {
	a.part.Data = data
	f.Part(app.Client, &a.part)
	a.part = FilePart{}
}

// base64 decodes what is whole of it into the room; the rest waits for the next line.
func (a *attachments) base64(b []byte) (ok bool) {
	a.carry = append(a.carry, bytes.TrimSpace(b)...)
	whole := a.carry[:len(a.carry)&^3]
	a.room = slices.Grow(a.room[:0], len(whole))[:len(whole)]
	n, err := base64.StdEncoding.Decode(a.room, whole)
	a.room = a.room[:n]
	a.carry = a.carry[:copy(a.carry, a.carry[len(whole):])]
	return err == nil
}

// quoted appends a line of quoted-printable, decoded, to the room. What is no escape stays as it is.
func (a *attachments) quoted(b []byte) {
	b = bytes.TrimRight(b, " \t")
	if soft, ok := bytes.CutSuffix(b, []byte("=")); ok {
		b, a.carry = soft, a.carry[:0]
	}
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '=' && i+2 < len(b) {
			var one [1]byte
			if _, err := hex.Decode(one[:], b[i+1:i+3]); err == nil {
				c, i = one[0], i+2
			}
		}
		a.room = append(a.room, c)
	}
}
