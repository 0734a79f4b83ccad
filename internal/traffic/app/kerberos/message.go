package kerberos

import (
	"encoding/binary"
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ber"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

func (r *reader) message(f *app.Flow, d app.Dir, b []byte) {
	kind, fields, ok := body(b)
	if !ok {
		return
	}
	m := &r.msg
	*m = Message{Type: kind, Encryptions: m.Encryptions[:0]}
	switch kind {
	case ASRequest, TGSRequest:
		m.readRequest(f, fields)
	case ASReply, TGSReply:
		m.readReply(fields)
	case Error:
		m.readError(fields)
	}
	f.Emit(d, m)
	r.follow(f)
}

// follow joins a request for the first ticket and its answer to an attempt to log in.
func (r *reader) follow(f *app.Flow) {
	m := &r.msg
	result := login.Failed
	switch {
	case m.Type == ASRequest:
		r.user, r.realm, r.proof, r.open = m.Client, m.Realm, m.Proof, true
		return
	case !r.open:
		return
	case m.Type == ASReply:
		r.open = false
		if !r.proof {
			return // a ticket without a proof says nothing about who asked
		}
		result = login.Granted
	case m.Type != Error || m.Code == codeProofWanted || m.Code == codeTooBig || m.Code == codeSkew || m.Code == codeMore:
		return
	}
	r.open = false
	r.attempt = login.Attempt{User: r.user + "@" + r.realm, Method: "AS", Result: result, Code: strconv.FormatInt(m.Code, 10)}
	f.Emit(app.Client, &r.attempt)
}

// each calls take with the number and the value of every field.
func each(fields ber.Reader, take func(number byte, v ber.Reader)) {
	for {
		tag, v, ok := fields.Next()
		if !ok || tag&0xe0 != 0xa0 {
			return
		}
		take(tag&0x1f, v)
	}
}

// list calls take with the fields of a sequence.
func list(v ber.Reader, take func(number byte, v ber.Reader)) {
	var fields ber.Reader
	if v.Open(ber.Sequence, &fields) {
		each(fields, take)
	}
}

func (m *Message) readRequest(f *app.Flow, fields ber.Reader) {
	each(fields, func(n byte, v ber.Reader) {
		switch n {
		case 3:
			m.readProofs(v)
		case 4:
			list(v, func(n byte, v ber.Reader) { m.readBody(f, n, v) })
		}
	})
}

// Kinds of data that prove something.
const (
	dataTicket    = 1 // the first ticket, with a proof that its key is known
	dataTimestamp = 2
	dataPKInit    = 16
	dataEncrypted = 138 // a timestamp in an armoured request
)

func (m *Message) readProofs(v ber.Reader) {
	var all, item ber.Reader
	var kind int64
	if !v.Open(ber.Sequence, &all) {
		return
	}
	for range maxData {
		if !all.Take(ber.Sequence, &item) {
			return
		}
		kind = 0
		each(item, func(n byte, v ber.Reader) {
			switch n {
			case 1:
				if v.Number(&kind) && (kind == dataTimestamp || kind == dataPKInit || kind == dataEncrypted) {
					m.Proof = true
				}
			case 2:
				if kind == dataTicket {
					m.readPresented(v)
				}
			}
		})
	}
}

// readPresented reads the ticket of an AP-REQ.
func (m *Message) readPresented(v ber.Reader) {
	const request = 0x6e
	var data, inner ber.Reader
	if !v.Take(ber.Octets, &data) || !data.Open(request, &inner) {
		return
	}
	list(inner, func(n byte, v ber.Reader) {
		if n == 3 {
			_, m.Presented = readTicket(v)
		}
	})
}

func (m *Message) readBody(f *app.Flow, n byte, v ber.Reader) {
	const bits = 0x03
	switch n {
	case 0:
		var options ber.Reader
		if v.Take(bits, &options) && len(options) == 5 {
			m.Options = binary.BigEndian.Uint32(options[1:])
		}
	case 1:
		m.Client = name(v)
	case 2:
		m.Realm = text(v)
	case 3:
		m.Service = name(v)
	case 8:
		var all ber.Reader
		var kind int64
		if !v.Open(ber.Sequence, &all) {
			return
		}
		for all.Number(&kind) {
			if len(m.Encryptions) >= maxEncryptions {
				f.Cut(1)
				continue
			}
			m.Encryptions = append(m.Encryptions, int32(kind))
		}
	}
}

func (m *Message) readReply(fields ber.Reader) {
	each(fields, func(n byte, v ber.Reader) {
		switch n {
		case 3:
			m.Realm = text(v)
		case 4:
			m.Client = name(v)
		case 5:
			m.Service, m.Ticket = readTicket(v)
		}
	})
}

// readTicket reads what a ticket is for, and its encryption.
func readTicket(v ber.Reader) (service string, encryption int32) {
	const ticket = 0x61
	var inner ber.Reader
	if !v.Open(ticket, &inner) {
		return "", 0
	}
	list(inner, func(n byte, v ber.Reader) {
		switch n {
		case 2:
			service = name(v)
		case 3:
			list(v, func(n byte, v ber.Reader) {
				var kind int64
				if n == 0 && v.Number(&kind) {
					encryption = int32(kind)
				}
			})
		}
	})
	return service, encryption
}

func (m *Message) readError(fields ber.Reader) {
	each(fields, func(n byte, v ber.Reader) {
		switch n {
		case 6:
			v.Number(&m.Code)
		case 8:
			m.Client = name(v)
		case 9:
			m.Realm = text(v)
		case 10:
			m.Service = name(v)
		}
	})
}

// text reads a KerberosString.
func text(v ber.Reader) string {
	const general = 0x1b
	var s ber.Reader
	if !v.Take(general, &s) {
		return ""
	}
	return login.Text(s)
}

// name reads a principal, its parts with slashes between.
func name(v ber.Reader) string {
	out := ""
	list(v, func(n byte, v ber.Reader) {
		var all ber.Reader
		if n != 1 || !v.Open(ber.Sequence, &all) {
			return
		}
		for i := 0; i < maxParts && len(all) > 0; i++ {
			_, part, ok := all.Next()
			if !ok {
				return
			}
			if i > 0 {
				out += "/"
			}
			out += login.Text(part)
		}
	})
	return out
}
