package broker

import (
	"os"
	"sync"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/brokerwire"
)

// House answers a process that several instances share. What an instance asks for is done by its own broker, under its own
// grants and with its own belongings; the process says which of them asks, and could say another: they are one program.
type House struct {
	conn  *brokerwire.Conn
	front *session

	mu      sync.Mutex // guards all below
	tenants map[string]*session
}

// NewHouse takes conn over. Serve must be called.
func NewHouse(conn *os.File, cfg Config) (*House, error) {
	socket, err := brokerwire.NewConn(conn)
	if err != nil {
		return nil, err
	}
	h := &House{conn: socket, tenants: map[string]*session{}}
	h.front = newSession(New(cfg), socket, Belongings{})
	h.front.house = h
	return h, nil
}

// Serve is Broker.Serve for all of them.
func (h *House) Serve() error {
	err := h.front.serve()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.tenants {
		s.end()
	}
	return err
}

// Admit lets an instance ask, until leave is called.
func (h *House) Admit(instance string, b *Broker, own Belongings) (leave func()) {
	s := newSession(b, h.conn, own)
	s.guest = true
	h.mu.Lock()
	h.tenants[instance] = s
	h.mu.Unlock()
	b.mu.Lock()
	b.sessions[s] = true
	closed := b.closed
	b.mu.Unlock()
	leave = func() {
		s.end()
		h.mu.Lock()
		if h.tenants[instance] == s {
			delete(h.tenants, instance)
		}
		h.mu.Unlock()
		b.mu.Lock()
		delete(b.sessions, s)
		b.mu.Unlock()
	}
	if closed {
		leave()
	}
	return leave
}

// whose is the session that answers a request, nil when nobody does and the process was told so.
func (s *session) whose(req brokerwire.Request) *session {
	if s.house == nil {
		return s
	}
	s.house.mu.Lock()
	own := s.house.tenants[req.Instance]
	s.house.mu.Unlock()
	if own == nil {
		err := sdk.Errorf(sdk.Internal, "no instance %.128q is in this process", req.Instance)
		_ = s.conn.Send(brokerwire.Answer{ID: req.ID, Error: brokerwire.ErrorOf(err)}, nil) // a broken connection ends by itself
	}
	return own
}
