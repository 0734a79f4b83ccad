package tlscert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// fetch returns the certificates that a server sends, its own first.
func fetch(ctx context.Context, host sdk.Host, t target) ([]*x509.Certificate, error) {
	conn, err := host.Dial(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return nil, err
		}
	}
	if upgrade := upgrades[t.scheme]; upgrade != nil {
		if err := upgrade(conn); err != nil {
			return nil, fmt.Errorf("%s: %w", t.scheme, err)
		}
	}
	// Any certificate is taken, because those that are no good are to be seen too; nothing is ever sent over the connection.
	settings := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	if net.ParseIP(t.name) == nil {
		settings.ServerName = t.name
	}
	secure := tls.Client(conn, settings)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	chain := secure.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, errors.New("TLS: the server has no certificate")
	}
	return chain, nil
}

// upgrades ask a server that begins in the clear to speak TLS from here on.
var upgrades = map[string]func(io.ReadWriter) error{
	"smtp":     smtp,
	"imap":     imap,
	"pop3":     pop3,
	"ftp":      ftp,
	"ldap":     ldap,
	"postgres": postgres,
}

// RFC 3207.
func smtp(c io.ReadWriter) error {
	if err := reply(c, "220"); err != nil {
		return err
	}
	if err := say(c, "EHLO picket.invalid"); err != nil {
		return err
	}
	if err := reply(c, "250"); err != nil {
		return err
	}
	if err := say(c, "STARTTLS"); err != nil {
		return err
	}
	return reply(c, "220")
}

// RFC 4217.
func ftp(c io.ReadWriter) error {
	if err := reply(c, "220"); err != nil {
		return err
	}
	if err := say(c, "AUTH TLS"); err != nil {
		return err
	}
	return reply(c, "234")
}

// RFC 2595.
func imap(c io.ReadWriter) error {
	if err := expect(c, "* OK"); err != nil {
		return err
	}
	if err := say(c, "a1 STARTTLS"); err != nil {
		return err
	}
	for range maxReply {
		said, err := line(c)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(said, "* ") {
			return begins(said, "a1 OK")
		}
	}
	return errTalk
}

// RFC 2595.
func pop3(c io.ReadWriter) error {
	if err := expect(c, "+OK"); err != nil {
		return err
	}
	if err := say(c, "STLS"); err != nil {
		return err
	}
	return expect(c, "+OK")
}

// RFC 4511, 4.14: an extended request in BER, and the result code of its answer.
func ldap(c io.ReadWriter) error {
	const oid = "1.3.6.1.4.1.1466.20037"
	request := append([]byte{0x30, 7 + byte(len(oid)), 0x02, 1, 1, 0x77, 2 + byte(len(oid)), 0x80, byte(len(oid))}, oid...)
	if _, err := c.Write(request); err != nil {
		return err
	}
	body, err := element(c, 0x30)
	if err != nil {
		return err
	}
	// The number of the message, then the answer, which begins with the result.
	if len(body) < 8 || body[0] != 0x02 || body[1] != 1 || body[3] != 0x78 {
		return errors.New("the answer is not that of LDAP")
	}
	result := body[5:]
	if body[4] >= 0x80 {
		result = result[min(int(body[4]&0x7f), len(result)):]
	}
	if len(result) < 3 || result[0] != 0x0a || result[1] != 1 {
		return errors.New("the answer is not that of LDAP")
	}
	if result[2] != 0 {
		return fmt.Errorf("the server refuses with the result %d", result[2])
	}
	return nil
}

// maxElement bounds the answer of LDAP.
const maxElement = 4 << 10

// element reads one of BER with that tag.
func element(r io.Reader, tag byte) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(head[1])
	if n >= 0x80 {
		var long [4]byte
		digits := n & 0x7f
		if digits < 1 || digits > len(long) {
			return nil, errTalk
		}
		if _, err := io.ReadFull(r, long[len(long)-digits:]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint32(long[:]))
	}
	if head[0] != tag || n > maxElement {
		return nil, errTalk
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// The request for encryption of PostgreSQL's protocol; the answer is one letter.
func postgres(c io.ReadWriter) error {
	if _, err := c.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return errors.New("the server has no TLS")
	}
	return nil
}

const (
	maxReply = 64 // lines
	maxLine  = 2 << 10
)

var errTalk = errors.New("the server says something else than its protocol has")

func say(w io.Writer, text string) error {
	_, err := io.WriteString(w, text+"\r\n")
	return err
}

// reply reads one of SMTP or FTP, whose last line has a blank behind its code.
func reply(r io.Reader, code string) error {
	for range maxReply {
		said, err := line(r)
		if err != nil {
			return err
		}
		if len(said) < 4 || said[3] != '-' {
			return begins(said, code)
		}
	}
	return errTalk
}

func expect(r io.Reader, start string) error {
	said, err := line(r)
	if err != nil {
		return err
	}
	return begins(said, start)
}

func begins(said, start string) error {
	if !strings.HasPrefix(said, start) {
		return fmt.Errorf("the server says %.80q", said)
	}
	return nil
}

// line reads byte by byte: what comes after it is TLS.
func line(r io.Reader) (string, error) {
	var b [1]byte
	var out []byte
	for len(out) < maxLine {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(out), "\r"), nil
		}
		out = append(out, b[0])
	}
	return "", errTalk
}
