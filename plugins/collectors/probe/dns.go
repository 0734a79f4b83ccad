package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/url"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/picketwatch/picket/sdk"
)

var dnsTypes = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS,
	"PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA, "SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT,
}

// parseQuestion reads the path and the query of dns://server/name?type=A.
func parseQuestion(u *url.URL) (dnsmessage.Question, error) {
	query := u.Query()
	kind := "A"
	if query.Has("type") {
		kind = strings.ToUpper(query.Get("type"))
	}
	query.Del("type")
	name, err := dnsmessage.NewName(strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), ".") + ".")
	q := dnsmessage.Question{Name: name, Type: dnsTypes[kind], Class: dnsmessage.ClassINET}
	if err == nil && q.Type != 0 && len(query) == 0 {
		_, err = pack(q, 0)
	}
	if err != nil || q.Type == 0 || len(query) > 0 {
		return q, sdk.Errorf(sdk.InvalidConfig, "%q: a dns target is dns://server/name and perhaps ?type= with A, AAAA, MX, NS, PTR, SOA, SRV or TXT", u)
	}
	return q, nil
}

func pack(q dnsmessage.Question, id uint16) ([]byte, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	return m.Pack()
}

// resolve asks a name server one question over UDP. Any answer to it shows that the server works, a refusal too.
func (r *result) resolve(ctx context.Context, host sdk.Host, t target) error {
	conn, err := host.Dial(ctx, "udp", t.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	var random [2]byte
	rand.Read(random[:])
	id := binary.BigEndian.Uint16(random[:])
	question, err := pack(t.question, id)
	if err != nil {
		return err
	}
	if _, err := conn.Write(question); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for range 16 { // late answers to others may come first
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if rcode, ok := parseAnswer(buf[:n], id, t.question); ok {
			r.rcode = &rcode
			return nil
		}
	}
	return errors.New("the answers are to other questions")
}

// parseAnswer returns the result of the answer to a question.
func parseAnswer(packet []byte, id uint16, q dnsmessage.Question) (rcode int, ok bool) {
	var p dnsmessage.Parser
	head, err := p.Start(packet)
	if err != nil || !head.Response || head.ID != id {
		return 0, false
	}
	asked, err := p.Question()
	if errors.Is(err, dnsmessage.ErrSectionDone) { // some servers leave it out of an error
		return int(head.RCode), head.RCode != dnsmessage.RCodeSuccess
	}
	same := err == nil && strings.EqualFold(asked.Name.String(), q.Name.String()) && asked.Type == q.Type
	return int(head.RCode), same
}
