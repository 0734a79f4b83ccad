package ldap

import (
	"bytes"
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ber"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

const (
	resultSuccess  = 0
	resultContinue = 14 // of a bind that takes several steps
)

// search counts the entries of a search.
type search struct {
	id      int64
	entries int
}

// reader reads messages.
type reader struct {
	bind     bind
	tls      int64 // the message that asks for StartTLS, -1 for none
	searches []search
	request  Request
	response Response
	attempt  login.Attempt
	filter   []byte
}

func (r *reader) reset() {
	r.bind, r.tls, r.searches = bind{}, -1, r.searches[:0]
}

func (r *reader) message(f *app.Flow, d app.Dir, b []byte, _ int) app.Next {
	in := ber.Reader(b)
	var envelope, op ber.Reader
	var id int64
	if b[0] != ber.Sequence {
		return app.Done // wrapped from here on
	}
	if !in.Open(ber.Sequence, &envelope) || !envelope.Number(&id) || len(envelope) == 0 {
		return app.Continue
	}
	tag := envelope[0]
	if _, _, known := innerTag(tag); !known || !envelope.Open(tag, &op) {
		return app.Continue
	}
	switch kind := Op(tag & 0x1f); kind {
	case SearchEntry, SearchReference:
		r.count(id)
	case BindResponse, SearchDone, ModifyResponse, AddResponse, DeleteResponse, ModifyDNResponse, CompareResponse, ExtendedResponse:
		return r.result(f, d, id, kind, op)
	default:
		r.ask(f, d, id, kind, op)
	}
	return app.Continue
}

// count counts an entry, whose search is put down with the first one.
func (r *reader) count(id int64) {
	for i := range r.searches {
		if r.searches[i].id == id {
			r.searches[i].entries++
			return
		}
	}
	if len(r.searches) >= maxOpen {
		r.searches = r.searches[:copy(r.searches, r.searches[1:])]
	}
	r.searches = append(r.searches, search{id, 1})
}

func (r *reader) result(f *app.Flow, d app.Dir, id int64, kind Op, op ber.Reader) app.Next {
	m := &r.response
	*m = Response{ID: id, Op: kind}
	var name, text ber.Reader
	if !op.Enum(&m.Code) {
		return app.Continue
	}
	if op.Take(ber.Octets, &name) && op.Take(ber.Octets, &text) {
		m.Text = login.Clean(bytes.TrimRight(text, "\x00"), maxName)
	}
	for i, s := range r.searches {
		if s.id == id {
			m.Entries = s.entries
			r.searches = append(r.searches[:i], r.searches[i+1:]...)
			break
		}
	}
	f.Emit(d, m)
	if kind == BindResponse && r.bind.open && m.Code != resultContinue {
		r.attempt = r.bind.attempt(m.Code)
		r.bind = bind{}
		f.Emit(app.Client, &r.attempt)
	}
	if kind == ExtendedResponse && id == r.tls {
		r.tls = -1
		if m.Code == resultSuccess {
			return app.Again
		}
	}
	return app.Continue
}

func (r *reader) ask(f *app.Flow, d app.Dir, id int64, kind Op, op ber.Reader) {
	m := &r.request
	*m = Request{ID: id, Op: kind, Attributes: m.Attributes[:0]}
	var name ber.Reader
	switch kind {
	case Bind:
		r.logIn(m, op)
	case Search:
		r.search(m, f, op)
	case Delete:
		m.Name = login.Clean(op, maxName)
	case Extended:
		if op.Take(0x80, &name) {
			m.Name = login.Clean(name, maxName)
		}
		if m.Name == StartTLS {
			r.tls = id
		}
	case Modify, Add, ModifyDN, Compare:
		if op.Take(ber.Octets, &name) {
			m.Name = login.Clean(name, maxName)
		}
	}
	f.Emit(d, m)
}

// Ways to authenticate, as tags.
const (
	authSimple = 0x80
	authSASL   = 0xa3
	authNTLM   = 0x89 // and the two that follow: package discovery, negotiate, response
)

func (r *reader) logIn(m *Request, op ber.Reader) {
	var version int64
	var name, auth, mechanism ber.Reader
	if !op.Number(&version) || !op.Take(ber.Octets, &name) || len(op) == 0 {
		return
	}
	m.Name = login.Clean(name, maxName)
	b := &r.bind
	if !b.open {
		*b = bind{open: true}
	}
	if m.Name != "" {
		b.user = m.Name
	}
	tag := op[0]
	if !op.Open(tag, &auth) {
		return
	}
	switch tag {
	case authSimple:
		b.method, b.clear = "SIMPLE", len(auth) > 0
		if len(auth) == 0 && m.Name == "" {
			b.method = "ANONYMOUS"
		}
	case authSASL:
		if !auth.Take(ber.Octets, &mechanism) {
			return
		}
		b.method = login.Text(mechanism)
		var credentials ber.Reader
		if b.method == "PLAIN" && auth.Open(ber.Octets, &credentials) {
			_, rest, _ := bytes.Cut(credentials, []byte{0})
			user, _, found := bytes.Cut(rest, []byte{0})
			b.user, b.clear = login.Text(user), found
		}
	case authNTLM, authNTLM + 1, authNTLM + 2:
		b.method = "NTLM"
	}
}

func (r *reader) search(m *Request, f *app.Flow, op ber.Reader) {
	var base, types, filter, list, name ber.Reader
	var deref, sizeLimit, timeLimit int64
	if !op.Take(ber.Octets, &base) {
		return
	}
	m.Name = login.Clean(base, maxName)
	if !op.Enum(&m.Scope) || !op.Enum(&deref) || !op.Number(&sizeLimit) || !op.Number(&timeLimit) || !op.Take(ber.Boolean, &types) || len(op) == 0 {
		return
	}
	tag := op[0]
	if !op.Open(tag, &filter) {
		return
	}
	r.filter = appendFilter(r.filter[:0], tag, filter, 0)
	m.Filter = login.Clean(r.filter, maxFilter)
	if len(r.filter) > maxFilter {
		f.Cut(len(r.filter) - maxFilter)
	}
	if !op.Take(ber.Sequence, &list) {
		return
	}
	for list.Take(ber.Octets, &name) {
		if len(m.Attributes) >= maxAttributes {
			f.Cut(1)
			continue
		}
		m.Attributes = append(m.Attributes, login.Text(name))
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
