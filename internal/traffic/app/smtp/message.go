package smtp

import (
	"bytes"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// Limits of what is kept of a mail.
const (
	maxField = 512
	maxFiles = 32
)

// message collects a mail.
type message struct {
	mail  Mail
	body  bool    // the header is over
	field *string // that a line which begins with a space goes on
}

func (m *message) reset() { *m = message{mail: Mail{To: m.mail.To[:0], Files: m.mail.Files[:0]}} }

func (m *message) addTo(to string, f *app.Flow) {
	if len(m.mail.To) >= maxTo {
		f.Cut(1)
		return
	}
	m.mail.To = append(m.mail.To, to)
}

// line takes a line of header or body. The parts of a body have headers too, which name the attachments.
func (m *message) line(b []byte) {
	m.file(b)
	switch {
	case m.body:
	case len(b) == 0:
		m.body = true
	case b[0] == ' ' || b[0] == '\t':
		if m.field != nil && len(*m.field) < maxField {
			*m.field += " " + text(bytes.TrimSpace(b))
		}
	default:
		name, value, _ := bytes.Cut(b, []byte(":"))
		m.field = m.header(name)
		if m.field != nil {
			*m.field = text(bytes.TrimSpace(value))
		}
	}
}

// header is where a field goes to, nil when it is not kept.
func (m *message) header(name []byte) *string {
	switch strings.ToLower(string(name[:min(len(name), 16)])) {
	case "subject":
		return &m.mail.Subject
	case "from":
		return &m.mail.HeaderFrom
	case "message-id":
		return &m.mail.MessageID
	case "user-agent", "x-mailer":
		return &m.mail.UserAgent
	}
	return nil
}

// file looks for the name of an attachment. Lines of encoded content begin otherwise, nearly always.
func (m *message) file(b []byte) {
	if len(b) == 0 || b[0] != ' ' && b[0] != '\t' && b[0] != 'C' && b[0] != 'c' || len(m.mail.Files) >= maxFiles {
		return
	}
	const mark = "filename="
	i := 0
	for i+len(mark) <= len(b) && !bytes.EqualFold(b[i:i+len(mark)], []byte(mark)) {
		i++
	}
	if i+len(mark) > len(b) {
		return
	}
	value := b[i+len(mark):]
	if quoted, found := bytes.CutPrefix(value, []byte(`"`)); found {
		value, _, _ = bytes.Cut(quoted, []byte(`"`))
	} else {
		value, _, _ = bytes.Cut(value, []byte(";"))
	}
	if name := text(bytes.TrimSpace(value)); name != "" {
		m.mail.Files = append(m.mail.Files, name)
	}
}

func text(b []byte) string { return login.Clean(b, maxField) }
