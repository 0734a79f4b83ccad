package facts

import (
	"slices"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/http2"
)

// maxStreams is how many exchanges of one connection have bodies at the same time; the oldest is told as it is.
const maxStreams = 16

// streamBytes is about what an exchange costs before it has a body.
const streamBytes = 1 << 10

// stream is an exchange of HTTP/2 and the files that it carries.
type stream struct {
	id   uint32
	name string // that the request asks for
	side [2]body
}

// maxSpare is how many exchanges that are over lend their memory to the next ones.
const maxSpare = 32

func (m *Maker) newStream(id uint32, name string) *stream {
	var x *stream
	if n := len(m.spare); n > 0 {
		x, m.spare = m.spare[n-1], m.spare[:n-1]
	} else {
		x = &stream{}
	}
	x.id, x.name = id, name
	x.side[0].forget()
	x.side[1].forget()
	return x
}

// requestStream notes what a request of HTTP/2 asks for, and opens the file that follows on it. Messages of gRPC are no files.
func (m *Maker) requestStream(f *app.Fact, r *http2.Request) {
	if !m.carves() || r.GRPC {
		return
	}
	s := m.bodiesOf(f)
	if len(s.streams) >= maxStreams {
		m.endStream(f.Flow.ID, s, 0)
	}
	x := m.newStream(r.Stream, askedName(r.Method, r.Path))
	s.streams = append(s.streams, x)
	m.bodies.grew(f.Flow.ID, streamBytes)
	if !r.Ends {
		m.announced(f, &x.side[f.Dir], x.name, length2(r.Headers), r.Headers)
	}
}

// responseStream opens the file that follows on the head of an answer.
func (m *Maker) responseStream(f *app.Fact, r *http2.Response) {
	s, i := m.streamOf(f, r.Stream)
	if i < 0 || r.Trailers || len(r.Status) == 3 && r.Status[0] == '1' {
		return
	}
	if r.Ends {
		m.endStream(f.Flow.ID, s, i)
		return
	}
	m.announced(f, &s.streams[i].side[f.Dir], s.streams[i].name, length2(r.Headers), r.Headers)
}

// streamPart takes the next bytes of a body. An exchange is over with its answer.
func (m *Maker) streamPart(f *app.Fact, p *http2.BodyPart) {
	s, i := m.streamOf(f, p.Stream)
	if i < 0 {
		return
	}
	if b := &s.streams[i].side[f.Dir]; b.open {
		m.takeBounded(f, b, p.Data, p.Missing > 0 || p.Broken, p.Last)
	}
	if !p.Last || f.Dir != app.Server {
		return
	}
	if s, i = m.streamOf(f, p.Stream); i >= 0 { // else the flow had to make room
		m.endStream(f.Flow.ID, s, i)
	}
}

// streamOf finds an exchange, -1 when it is not followed.
func (m *Maker) streamOf(f *app.Fact, id uint32) (*bodies, int) {
	s := m.bodies.of(f.Flow.ID)
	if s == nil {
		return nil, -1
	}
	return s, slices.IndexFunc(s.streams, func(x *stream) bool { return x.id == id })
}

// endStream tells what there is of an exchange and forgets it.
func (m *Maker) endStream(flow uint64, s *bodies, i int) {
	m.tellBody(flow, &s.streams[i].side[app.Client])
	m.tellBody(flow, &s.streams[i].side[app.Server])
	if len(m.spare) < maxSpare {
		m.spare = append(m.spare, s.streams[i])
	}
	s.streams = slices.Delete(s.streams, i, i+1)
	m.bodies.grew(flow, -streamBytes)
}

// length2 is how long a body of HTTP/2 is, as its head says.
func length2(fields []app.Field) int64 {
	n := int64(unknownLength)
	for _, h := range fields {
		if is(h.Name, "content-length") {
			n = length(h.Value, n)
		}
	}
	return n
}
