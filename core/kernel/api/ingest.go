package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/ingest"
	"github.com/picketwatch/picket/core/kernel/store"
)

// Where others than agents hand in metrics. Below a prefix of its own, each protocol has the paths that its senders know.
const (
	pushJSONPath    = "/api/v1/metrics/push"
	pushOTLPPath    = "/otlp/v1/metrics"
	pushRemotePath  = prometheusPath + "/write"
	pushInfluxPath  = "/influx/write"
	pushInflux2Path = "/influx/api/v2/write"
)

// Bounds of pushes: of a body as it comes and unpacked, and of the memory that all of those in work may take, of what
// the bodies of agents may take, too. Agents keep the rest: who pushes cannot shut them out.
const (
	maxPushBody     = 8 << 20
	maxPushUnpacked = 8 << 20
	maxPushing      = maxTaken * 3 / 4
)

// errPushing says that there is no room for more.
var errPushing = errors.New("this server has as many pushes of metrics in work as it holds; try again in a moment")

// push is a body of metrics on its way in.
type push struct {
	s       *Server
	c       *gin.Context
	who     auth.Identity
	sender  string // of the samples
	weight  int64
	buffers []*[]byte
}

// pushed is what became of a body.
type pushed struct {
	stored  int
	refused ingest.Refused
}

// dropped is how many samples the sender must be told of as lost. What was added already is not.
func (p *pushed) dropped() int {
	n := 0
	for reason, count := range p.refused.By {
		if reason != ingest.Repeated {
			n += count
		}
	}
	return n
}

// told says in one line what was not taken.
func (p *pushed) told() string {
	text := strconv.Itoa(p.dropped()) + " samples were refused and " + strconv.Itoa(p.stored) + " stored"
	if len(p.refused.Told) > 0 {
		text += ": " + strings.Join(p.refused.Told, "; ")
	}
	return text
}

// A pushFormat reads bodies of one protocol and answers as its senders expect it.
type pushFormat struct {
	protocol string
	read     func(p *push) (*pushed, error)
	answer   func(p *push, out *pushed)
	fail     func(p *push, status int, detail string)
}

func (s *Server) pushRoutes() {
	for path, f := range map[string]pushFormat{
		pushJSONPath:    {"json", readJSONPush, answerJSONPush, nil},
		pushOTLPPath:    {"otlp", readOTLPPush, answerOTLPPush, failOTLPPush},
		pushRemotePath:  {"remote_write", readRemoteWrite, answerRemoteWrite, failInPlainText},
		pushInfluxPath:  {"influx", readInfluxPush("db"), answerInfluxPush, failInfluxPush},
		pushInflux2Path: {"influx", readInfluxPush("bucket"), answerInfluxPush, failInfluxPush},
	} {
		s.engine.POST(path, s.push(f))
	}
	op := &huma.Operation{OperationID: "push-metrics", Method: http.MethodPost, Path: pushJSONPath, Tags: []string{"metrics"},
		Summary: "Hand in samples of sources that are no agents; answered after they are on disk",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {
			Schema: s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[pushBody](), true, "")}}},
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {
			Schema: s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[pushResultBody](), true, "")}}}},
	}
	describeAccess(op)
	s.huma.OpenAPI().AddOperation(op)
}

// push takes a body in. Its memory is counted before it is made, and given back at the end.
func (s *Server) push(f pushFormat) gin.HandlerFunc {
	return func(c *gin.Context) {
		id := caller(c.Request.Context())
		p := &push{s: s, c: c, who: id, sender: pusher(id)}
		defer p.done()
		out, err := p.receive(f)
		if err != nil {
			p.failed(f, err)
			return
		}
		result := "stored"
		if out.dropped() > 0 {
			result = "partial"
		}
		s.pushes.took(f.protocol, result, out)
		f.answer(p, out)
	}
}

// pusher is under whose name the samples of somebody are kept.
func pusher(id auth.Identity) string {
	if id.Kind == "session" {
		return store.PushedBy(id.UserID)
	}
	return store.PushedBy(id.ID)
}

func (p *push) receive(f pushFormat) (*pushed, error) {
	if p.c.Request.ContentLength > maxPushBody {
		return nil, errTooLarge
	}
	if err := p.take(minWeight); err != nil {
		return nil, err
	}
	return f.read(p)
}

func (p *push) failed(f pushFormat, err error) {
	s, status, result := p.s, 0, "refused"
	var format *ingest.FormatError
	switch {
	case errors.As(err, &format):
		status = http.StatusBadRequest
	case errors.Is(err, errTooLarge), errors.Is(err, ingest.ErrTooMany):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, errPushing), errors.Is(err, ingest.ErrTurn):
		status, result = http.StatusServiceUnavailable, "busy"
		p.c.Header("Retry-After", strconv.Itoa(1+rand.IntN(5)))
	}
	detail := err.Error()
	if status == 0 {
		problem := s.problem(p.c.Request.Context(), err)
		var headers huma.HeadersError
		if errors.As(problem, &headers) {
			for name, values := range headers.GetHeaders() {
				p.c.Writer.Header()[name] = values
			}
		}
		var known huma.StatusError
		if errors.As(problem, &known) {
			status = known.GetStatus()
		}
		var model *huma.ErrorModel
		if errors.As(problem, &model) {
			detail = model.Detail
		}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			result = "busy"
		}
	}
	s.pushes.requests.WithLabelValues(f.protocol, result).Inc()
	if f.fail == nil {
		s.refuse(p.c, status, detail)
		return
	}
	f.fail(p, status, detail)
	p.c.Abort()
}

// take asks for memory; what was given is counted until the push is done.
func (p *push) take(n int64) error {
	if p.weight+n > maxPushing {
		return errTooLarge
	}
	if !p.s.pushing.TryAcquire(n) {
		return errPushing
	}
	if !p.s.taken.TryAcquire(n) {
		p.s.pushing.Release(n)
		return errPushing
	}
	p.weight += n
	return nil
}

func (p *push) done() {
	p.s.pushing.Release(p.weight)
	p.s.taken.Release(p.weight)
	for _, b := range p.buffers {
		buffers.Put(b)
	}
}

// buffers are used again by the next push, as long as they are small.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

const maxKeptBuffer = 1 << 20

// gather reads all there is, up to a limit.
func (p *push) gather(r io.Reader, limit int) ([]byte, error) {
	kept := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds no others
	b := (*kept)[:0]
	defer func() {
		if cap(b) <= maxKeptBuffer {
			*kept = b
		}
		p.buffers = append(p.buffers, kept)
	}()
	if err := p.take(int64(cap(b))); err != nil {
		return nil, err
	}
	for {
		if len(b) == cap(b) {
			if len(b) > limit {
				return nil, errTooLarge
			}
			if err := p.take(int64(cap(b))); err != nil {
				return nil, err
			}
			b = append(make([]byte, 0, 2*cap(b)), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > limit:
			return nil, errTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

// body reads a body that may be packed with gzip.
func (p *push) body() ([]byte, error) {
	r, packed := io.Reader(p.c.Request.Body), false
	switch encoding := p.c.GetHeader("Content-Encoding"); strings.ToLower(encoding) {
	case "", "identity":
	case "gzip":
		if err := p.take(minWeight); err != nil {
			return nil, err
		}
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, unreadable(err, true)
		}
		r, packed = z, true
	default:
		return nil, huma.NewError(http.StatusUnsupportedMediaType, "Content-Encoding may be gzip or identity")
	}
	b, err := p.gather(r, maxPushUnpacked)
	return b, unreadable(err, packed)
}

// unreadable says why a body cannot be read: it is too large, broken off, or not packed as it says.
func unreadable(err error, packed bool) error {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, errTooLarge), errors.Is(err, errPushing):
		return err
	case errors.As(err, &tooLarge):
		return errTooLarge
	case packed:
		return &ingest.FormatError{What: "the body is not packed with gzip, as its Content-Encoding says"}
	}
	return errBroken
}

// put stores a batch and what was told of its metrics.
func (p *push) put(b *ingest.Batch) (*pushed, error) {
	ctx := p.c.Request.Context()
	res, err := p.s.cfg.Telemetry.Append(ctx, store.SampleBatch{Tenant: p.who.Tenant, Agent: p.sender, Samples: b.Samples, AnyValue: true})
	if err != nil {
		return nil, err
	}
	out := &pushed{stored: res.Stored, refused: b.Refused}
	out.add(res)
	p.note(b.Notes)
	if res.Stored > 0 && p.s.cfg.Live.Clients() > 0 {
		p.s.cfg.Live.Publish(p.who.Tenant, "samples", liveSamples{Agent: p.sender, Metrics: namesOf(b.Samples)})
	}
	return out, nil
}

// add counts what the store refused.
func (p *pushed) add(res store.AppendResult) {
	if res.TooOld > 0 {
		p.refused.Add("too_old", res.TooOld, "%d are older than samples are kept", res.TooOld)
	}
	if res.TooNew > 0 {
		p.refused.Add("too_new", res.TooNew, "%d are of a time that is yet to come; is the sender's clock right?", res.TooNew)
	}
	if res.Invalid > 0 {
		p.refused.Add("invalid", res.Invalid, "%d have %s", res.Invalid, res.InvalidReason)
	}
}

// note keeps what was told of metrics. The samples are stored already: a failure is the server's business, not the sender's.
func (p *push) note(notes []ingest.Note) {
	if len(notes) == 0 {
		return
	}
	list := convert(notes, func(n ingest.Note) store.MetricNote {
		return store.MetricNote{Metric: n.Metric, Type: n.Type, Unit: n.Unit, Help: n.Help}
	})
	if err := p.s.cfg.Control.NoteMetrics(context.WithoutCancel(p.c.Request.Context()), p.who.Tenant, list); err != nil {
		p.s.cfg.Log.Error("notes on metrics", "error", err)
	}
}

// unpackSnappy unpacks a block, whose length it says itself.
func (p *push) unpackSnappy(packed []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(packed)
	if err != nil {
		return nil, &ingest.FormatError{What: "the body is not packed with snappy"}
	}
	if n > maxPushUnpacked {
		return nil, errTooLarge
	}
	if err := p.take(int64(n)); err != nil {
		return nil, err
	}
	kept := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds no others
	b, err := snappy.Decode((*kept)[:cap(*kept)], packed)
	if cap(b) > cap(*kept) && cap(b) <= maxKeptBuffer {
		*kept = b
	}
	p.buffers = append(p.buffers, kept)
	if err != nil {
		return nil, &ingest.FormatError{What: "the body is not packed with snappy"}
	}
	return b, nil
}

// pushMeters count pushes.
type pushMeters struct {
	samples, requests *prometheus.CounterVec
}

func newPushMeters(r *prometheus.Registry) *pushMeters {
	m := &pushMeters{
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "picket_push_samples_total",
			Help: "Samples that others than agents handed in, by what became of them."}, []string{"protocol", "result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "picket_push_requests_total",
			Help: "Requests of others than agents with samples: stored, stored in part, refused, or told to come again."}, []string{"protocol", "result"}),
	}
	r.MustRegister(m.samples, m.requests)
	return m
}

func (m *pushMeters) took(protocol, result string, out *pushed) {
	m.requests.WithLabelValues(protocol, result).Inc()
	m.samples.WithLabelValues(protocol, "stored").Add(float64(out.stored))
	for reason, n := range out.refused.By {
		m.samples.WithLabelValues(protocol, reason).Add(float64(n))
	}
}

func writeJSON(c *gin.Context, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.Data(status, "application/json", bytes.TrimSpace(text))
}
