package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

// Bounds of what the live channel remembers for those who come back.
const (
	ringMessages = 2048
	ringBytes    = 4 << 20
	liveClients  = 256
	livePing     = 25 * time.Second
	liveWrite    = 10 * time.Second
)

var topics = []string{"samples", "alerts", "plugins", "captures", "devices", "notices", "incidents"}

// Live tells watchers what has changed. It remembers the last messages, so that a watcher who comes back misses
// nothing, or is told that he did.
type Live struct {
	boot string // distinguishes this run's message ids from an earlier run's
	log  *slog.Logger

	mu      sync.Mutex // guards all below
	ring    []liveEntry
	bytes   int
	next    uint64 // number of the next message, from 1
	changed chan struct{}
	clients int
}

type liveEntry struct {
	number uint64
	tenant string
	topic  string
	text   []byte // the whole message
}

type liveMessage struct {
	ID    string `json:"id,omitempty"`
	Topic string `json:"topic"`
	Data  any    `json:"data,omitempty"`
}

// NewLive returns an empty channel. boot must differ from run to run.
func NewLive(boot string, log *slog.Logger) *Live {
	return &Live{boot: boot, log: log, next: 1, changed: make(chan struct{})}
}

// Publish tells a tenant's watchers of topic. It never waits for any of them.
func (l *Live) Publish(tenant, topic string, data any) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	text, err := json.Marshal(liveMessage{ID: l.cursor(l.next), Topic: topic, Data: data})
	if err != nil {
		l.log.Error("live channel", "topic", topic, "error", err)
		return
	}
	l.ring = append(l.ring, liveEntry{number: l.next, tenant: tenant, topic: topic, text: text})
	l.bytes += len(text)
	l.next++
	for len(l.ring) > ringMessages || l.bytes > ringBytes {
		l.bytes -= len(l.ring[0].text)
		l.ring[0] = liveEntry{}
		l.ring = l.ring[1:]
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Live) cursor(n uint64) string { return l.boot + "-" + strconv.FormatUint(n, 10) }

// after returns the messages that follow number n, the last number there is, and what is closed when there is more.
// complete is false when some of them are gone.
func (l *Live) after(n uint64) (msgs []liveEntry, last uint64, complete bool, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.next - uint64(len(l.ring)) // number of the oldest that is kept
	last, more = l.next-1, l.changed
	if n > last || n+1 < first {
		return nil, last, false, more
	}
	return append(msgs, l.ring[n+1-first:]...), last, true, more
}

// position reads a cursor. ok is false when it is not from this run.
func (l *Live) position(since string) (n uint64, ok bool) {
	boot, text, _ := strings.Cut(since, "-")
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && boot == l.boot
}

func (l *Live) now() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next - 1
}

func (l *Live) join() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients >= liveClients {
		return false
	}
	l.clients++
	return true
}

func (l *Live) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients--
}

// Clients is how many watchers there are.
func (l *Live) Clients() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clients
}

func (s *Server) liveRoutes() {
	s.engine.GET("/api/v1/live", s.live)
	op := huma.Operation{OperationID: "live", Method: http.MethodGet, Path: "/api/v1/live", Tags: []string{"live"},
		Summary: "A WebSocket that tells what has changed",
		Description: "Each message is {id, topic, data}. Come back with the last id as `since` to miss nothing; when that is " +
			"not possible the first message is {\"topic\": \"reset\"}: read everything again.",
		Parameters: []*huma.Param{
			{Name: "since", In: "query", Schema: &huma.Schema{Type: huma.TypeString}, Description: "The id of the last message seen."},
			{Name: "topics", In: "query", Schema: &huma.Schema{Type: huma.TypeString}, Description: "Comma-separated: " + strings.Join(topics, ", ") + ". All without it."},
		},
		Responses: map[string]*huma.Response{"101": {Description: "The channel is open."}},
	}
	describeAccess(&op)
	op.Errors = nil
	s.huma.OpenAPI().AddOperation(&op)
}

func (s *Server) live(c *gin.Context) {
	wanted := map[string]bool{}
	for _, t := range strings.FieldsFunc(c.Query("topics"), func(r rune) bool { return r == ',' }) {
		wanted[t] = true
	}
	begin := s.cfg.Live.now() // before it counts as listening, so that nothing from then on is missed
	if !s.cfg.Live.join() {
		s.refuse(c, http.StatusServiceUnavailable, "too many live channels are open")
		return
	}
	defer s.cfg.Live.leave()
	// Accept compares Origin with Host, so that no other site can listen in a browser's name.
	ws, err := websocket.Accept(c.Writer, c.Request, nil)
	if err != nil {
		return // it has answered
	}
	defer func() { _ = ws.CloseNow() }()
	ctx := ws.CloseRead(c.Request.Context()) // nothing is expected from the other side
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	opened := c.Request
	may := func(ctx context.Context) bool { return s.stillMay(ctx, opened, access["GET /api/v1/live"]) }
	tenant := caller(c.Request.Context()).Tenant
	told := func(m liveEntry) bool { return m.tenant == tenant && (len(wanted) == 0 || wanted[m.topic]) }
	if !s.tell(ctx, ws, begin, c.Query("since"), told, may) {
		_ = ws.Close(websocket.StatusPolicyViolation, "the session or token has ended")
		return
	}
	_ = ws.Close(websocket.StatusGoingAway, "") // the other side may be gone already
}

// tell writes messages, those after number at or after since, until the watcher or the server goes away. It returns
// false when the watcher no longer may listen.
func (s *Server) tell(ctx context.Context, ws *websocket.Conn, at uint64, since string, told func(liveEntry) bool,
	may func(context.Context) bool) bool {
	if since != "" {
		n, ok := s.cfg.Live.position(since)
		if !ok {
			if write(ctx, ws, resetMessage) != nil {
				return true
			}
		} else {
			at = n
		}
	}
	ping := time.NewTicker(s.cfg.LivePing)
	defer ping.Stop()
	for {
		msgs, last, complete, more := s.cfg.Live.after(at)
		if !complete && write(ctx, ws, resetMessage) != nil {
			return true
		}
		for _, m := range msgs {
			if told(m) && write(ctx, ws, m.text) != nil {
				return true
			}
		}
		at = last
		select {
		case <-more:
		case <-ping.C:
			if !may(ctx) {
				return ctx.Err() != nil
			}
			if !s.alive(ctx, ws) {
				return true
			}
		case <-ctx.Done():
			return true
		}
	}
}

var resetMessage = []byte(`{"topic":"reset"}`)

func write(ctx context.Context, ws *websocket.Conn, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, liveWrite)
	defer cancel()
	return ws.Write(ctx, websocket.MessageText, text)
}

func (s *Server) alive(ctx context.Context, ws *websocket.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, liveWrite)
	defer cancel()
	return ws.Ping(ctx) == nil
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
