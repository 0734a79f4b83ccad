package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/picketwatch/picket/sdk"
	gomail "github.com/wneessen/go-mail"
)

// maxSubject bounds the subject in characters; what is cut off stands in the text.
const maxSubject = 200

// message writes the mail for a notice. Nothing in it depends on when or how often it is sent, except for the boundary
// between its parts.
func (c *Config) message(notice sdk.Notice, now time.Time) (*gomail.Msg, error) {
	from, err := address("from", c.From)
	if err != nil {
		return nil, err
	}
	to, err := c.recipients()
	if err != nil {
		return nil, err
	}
	text, html, err := bodies(notice)
	if err != nil {
		return nil, sdk.Errorf(sdk.Internal, "write the text of the mail: %w", err)
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	m.FromMailAddress(from)
	m.ToMailAddress(to...)
	m.Subject(c.subject(notice))
	m.SetMessageIDWithValue(messageID("notice", notice.ID, from))
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday replies to it
	if notice.Alert != nil && notice.Alert.ID != "" {
		// All mails about one finding refer to the same mail that never was, so that mail programs show one thread.
		m.SetGenHeader("References", "<"+messageID("alert", notice.Alert.ID, from)+">")
	}
	if notice.Time.IsZero() {
		notice.Time = now
	}
	m.SetDateWithValue(notice.Time)
	m.SetBodyString(gomail.TypeTextPlain, text)
	m.AddAlternativeString(gomail.TypeTextHTML, html)
	return m, nil
}

// subject is one line, whatever the title: a line break in it would be a way to add headers.
func (c *Config) subject(notice sdk.Notice) string {
	parts := []string{c.SubjectPrefix}
	switch notice.Event {
	case "alert.resolved":
		parts = append(parts, "resolved:")
	case "test":
		parts = append(parts, "test:")
	default:
		if notice.Severity != "" {
			parts = append(parts, string(notice.Severity)+":")
		}
	}
	parts = append(parts, notice.Title)
	line := []rune(oneLine(strings.Join(parts, " ")))
	if len(line) > maxSubject {
		line = append(line[:maxSubject-1], '…')
	}
	return string(line)
}

// messageID derives an id from ours, so that a mail that is sent twice has the same one and can be recognised. An id
// that could not stand in a header as it is gives way to its hash.
func messageID(what, id string, from *mail.Address) string {
	const fitting = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	if id == "" || len(id) > 64 || strings.Trim(id, fitting) != "" {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:16])
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	return "picket." + what + "." + id + "@" + strings.ToLower(domain)
}

func isControl(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// oneLine turns runs of spaces and control characters into single spaces.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "�")
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || isControl(r) }), " ")
}

// plain keeps line breaks and tabs, and drops other control characters, which a terminal might obey.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && isControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// fact is a line of the table below the text.
type fact struct{ Name, Value string }

type page struct {
	Title, Text, URL string
	Facts            []fact
}

func bodies(notice sdk.Notice) (text, html string, err error) {
	p := page{Title: oneLine(notice.Title), Text: plain(notice.Text), URL: oneLine(notice.URL), Facts: facts(notice)}
	var t, h bytes.Buffer
	if err := textTemplate.Execute(&t, p); err != nil {
		return "", "", err
	}
	if err := htmlTemplate.Execute(&h, p); err != nil {
		return "", "", err
	}
	return t.String(), h.String(), nil
}
