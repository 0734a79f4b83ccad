package facts

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/http2"
	"github.com/picketwatch/picket/internal/traffic/app/login"
	"github.com/picketwatch/picket/sdk"
)

// exchanges are the requests of a connection that wait for their answer.
type exchanges struct{ waiting []exchange }

type exchange struct {
	row   sdk.HTTP
	login login.Attempt // Method is "" when nobody logs in
	quiet bool          // nothing is told of it but the login
	asked int64         // when the request was seen, in nanoseconds; 0 when it was not
	bytes int
}

// Limits of one connection and one exchange.
const (
	maxWaiting = 64
	maxHeads   = 16 << 10 // bytes of the fields of one head
)

// unknownLength is that of a body whose length is not known before.
const unknownLength = -1

// requested opens an exchange.
func (m *Maker) requested(f *app.Fact, number uint32) *exchange {
	e, fresh := m.exchanges.open(f.Flow.ID)
	if fresh {
		e.waiting = e.waiting[:0]
	}
	if len(e.waiting) >= maxWaiting {
		m.tellExchange(f.Flow.ID, e, 0)
	}
	if n := len(e.waiting); n < cap(e.waiting) {
		e.waiting = e.waiting[:n+1] // with the lists that are there
	} else {
		e.waiting = append(e.waiting, exchange{})
	}
	x := &e.waiting[len(e.waiting)-1]
	x.reset(f, number)
	x.asked = f.Flow.Time
	return x
}

func (x *exchange) reset(f *app.Fact, number uint32) {
	*x = exchange{row: sdk.HTTP{
		Seen: seen(f), Number: number, RequestHeaders: x.row.RequestHeaders[:0], ResponseHeaders: x.row.ResponseHeaders[:0],
	}}
	x.row.FromServer = false // the record is of both sides
}

// find is where a request waits.
func (e *exchanges) find(number uint32) int {
	return slices.IndexFunc(e.waiting, func(x exchange) bool { return x.row.Number == number })
}

// asked opens the exchange of a request, nil when nobody wants it.
func (m *Maker) asked(f *app.Fact, number uint32, fields []app.Field) *exchange {
	told := m.wants(f.Flow, &m.http.share)
	if !told && (!m.logins.wanted || !authorizes(fields)) {
		return nil
	}
	x := m.requested(f, number)
	x.quiet = !told
	return x
}

func authorizes(fields []app.Field) bool {
	return slices.ContainsFunc(fields, func(h app.Field) bool { return is(h.Name, "authorization") })
}

func (m *Maker) request1(f *app.Fact, b *http1.Request) {
	m.requestBody(f, b)
	x := m.asked(f, uint32(b.Number), b.Headers)
	if x == nil {
		return
	}
	r := &x.row
	r.Version, r.Method, r.Host, r.Target, r.UserAgent = version1(b.Minor), b.Method, shownHost(b.Host), shownTarget(b.Method, b.Target), shown(b.UserAgent)
	r.RequestLength = b.Length
	m.requestFields(x, b.Headers)
	m.exchanges.grew(f.Flow.ID, x.bytes)
}

func (m *Maker) request2(f *app.Fact, b *http2.Request) {
	m.requestStream(f, b)
	x := m.asked(f, b.Stream, b.Headers)
	if x == nil {
		return
	}
	r := &x.row
	r.Version, r.Method, r.Host, r.Target, r.UserAgent = "2", b.Method, shownHost(b.Authority), shownTarget(b.Method, b.Path), shown(b.UserAgent)
	r.RequestLength, r.GRPC = unknownLength, b.GRPC
	m.requestFields(x, b.Headers)
	m.exchanges.grew(f.Flow.ID, x.bytes)
}

// requestFields reads the fields of a request.
func (m *Maker) requestFields(x *exchange, fields []app.Field) {
	r := &x.row
	r.RequestHeaders = appendFields(r.RequestHeaders, fields)
	for _, h := range fields {
		switch {
		case is(h.Name, "referer"):
			r.Referer = shown(h.Value)
		case is(h.Name, "content-type"):
			r.RequestType = cut(h.Value)
		case is(h.Name, "content-length"):
			r.RequestLength = length(h.Value, r.RequestLength)
		case is(h.Name, "authorization"):
			x.login = m.authorization(h.Value)
		}
	}
	x.bytes = len(r.Host) + len(r.Target) + len(r.UserAgent) + len(r.Referer) + sum(r.RequestHeaders) + 512
}

func (m *Maker) response1(f *app.Fact, b *http1.Response) {
	m.responseBody(f, b)
	if b.Status < 200 && b.Status != 101 {
		return // the answer comes later
	}
	m.answered(f, uint32(b.Number), func(x *exchange) {
		r := &x.row
		if r.Version == "" {
			r.Version = version1(b.Minor)
		}
		r.Status, r.Reason, r.Software, r.ContentType = uint16(b.Status), cut(b.Reason), cut(b.Server), cut(b.ContentType)
		r.ResponseLength = b.Length
		x.response(b.Headers)
	})
}

func (m *Maker) response2(f *app.Fact, b *http2.Response) {
	m.responseStream(f, b)
	if b.Trailers {
		e := m.exchanges.of(f.Flow.ID)
		if e == nil {
			return
		}
		if i := e.find(b.Stream); i >= 0 {
			e.waiting[i].row.GRPCStatus = b.GRPCStatus
			m.tellExchange(f.Flow.ID, e, i)
		}
		return
	}
	status, _ := strconv.ParseUint(b.Status, 10, 16)
	if status/100 == 1 {
		return
	}
	m.answered(f, b.Stream, func(x *exchange) {
		r := &x.row
		r.Version, r.Status, r.ContentType, r.GRPCStatus = "2", uint16(status), cut(b.ContentType), b.GRPCStatus
		r.ResponseLength = unknownLength
		x.response(b.Headers)
	})
}

// answered joins an answer to its request and tells both, except when a call's status is still to come.
func (m *Maker) answered(f *app.Fact, number uint32, fill func(*exchange)) {
	i := -1
	e := m.exchanges.of(f.Flow.ID)
	if e != nil && number != 0 {
		i = e.find(number)
	}
	if i < 0 { // what was asked was not seen
		if !m.wants(f.Flow, &m.http.share) {
			return
		}
		m.requested(f, number)
		e = m.exchanges.of(f.Flow.ID)
		i = len(e.waiting) - 1
		e.waiting[i].asked = 0
	}
	x := &e.waiting[i]
	fill(x)
	if x.asked != 0 {
		x.row.ResponseTime = max(0, time.Duration(f.Flow.Time-x.asked).Seconds())
	}
	x.row.Time, x.row.Packet = time.Unix(0, f.Flow.Time).UTC(), f.Flow.Packet
	if x.row.GRPC && x.row.GRPCStatus == "" {
		more := sum(x.row.ResponseHeaders) + len(x.row.ContentType) + len(x.row.Location) + len(x.row.Software)
		x.bytes += more
		m.exchanges.grew(f.Flow.ID, more)
		return
	}
	m.tellExchange(f.Flow.ID, e, i)
}

// response reads the fields of an answer.
func (x *exchange) response(fields []app.Field) {
	r := &x.row
	r.ResponseHeaders = appendFields(r.ResponseHeaders[:0], fields) // a server may answer a call several times
	for _, h := range fields {
		switch {
		case is(h.Name, "server"):
			r.Software = cut(h.Value)
		case is(h.Name, "location"):
			r.Location = shown(h.Value)
		case is(h.Name, "content-length"):
			r.ResponseLength = length(h.Value, r.ResponseLength)
		}
	}
}

// tellExchange hands an exchange on, and keeps the memory of its record.
func (m *Maker) tellExchange(flow uint64, e *exchanges, i int) {
	x := &e.waiting[i]
	m.httpLogin(x)
	if m.http.wanted && !x.quiet {
		m.http.add(&x.row)
	}
	spare := exchange{row: sdk.HTTP{RequestHeaders: emptied(x.row.RequestHeaders), ResponseHeaders: emptied(x.row.ResponseHeaders)}}
	bytes, last := x.bytes, len(e.waiting)-1
	copy(e.waiting[i:], e.waiting[i+1:])
	e.waiting[last] = spare
	e.waiting = e.waiting[:last]
	if last == 0 && cap(e.waiting) > fewWaiting {
		e.waiting = nil
	}
	m.exchanges.grew(flow, -bytes)
}

// fewWaiting is how many exchanges a connection keeps the memory of.
const fewWaiting = 8

// emptied is a list to be used again, without the texts in it: nobody counts what they take.
func emptied(list []string) []string {
	clear(list[:cap(list)])
	return list[:0]
}

// tellExchanges tells what will not be answered any more.
func (m *Maker) tellExchanges(flow uint64, e *exchanges) {
	for len(e.waiting) > 0 {
		m.tellExchange(flow, e, 0)
	}
}

// authorization reads who logs in. The proof is not kept.
func (m *Maker) authorization(value string) login.Attempt {
	method, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	switch {
	case strings.EqualFold(method, "basic"):
		m.sasl.Begin([]byte(method), []byte(rest))
		return m.sasl.Attempt(login.Unknown, "")
	case strings.EqualFold(method, "bearer"):
		return login.Attempt{Method: "BEARER", Clear: true}
	case strings.EqualFold(method, "digest"):
		_, user, _ := strings.Cut(rest, `username="`)
		user, _, _ = strings.Cut(user, `"`)
		return login.Attempt{Method: "DIGEST", User: login.Text([]byte(user))}
	}
	return login.Attempt{}
}

func (m *Maker) httpLogin(x *exchange) {
	if x.login.Method == "" || !m.logins.wanted {
		return
	}
	a := x.login
	switch status := x.row.Status; {
	case status == 401 || status == 403:
		a.Result = login.Failed
	case status >= 200 && status < 400:
		a.Result = login.Granted
	}
	if x.row.Status > 0 {
		a.Code = strconv.Itoa(int(x.row.Status))
	}
	protocol := "http"
	if x.row.Version == "2" {
		protocol = "http2"
	}
	m.tellLogin(x.row.Seen, protocol, &a)
}

func version1(minor int) string {
	if minor == 0 {
		return "1.0"
	}
	return "1.1"
}

func length(value string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

func sum(list []string) int {
	n := 0
	for _, s := range list {
		n += len(s)
	}
	return n
}
