package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/common/model"

	"github.com/picketwatch/picket/core/kernel/promql"
)

const (
	prometheusPath = "/prometheus/api/v1"
	// maxSteps is how many points a series may have in one answer, as in Prometheus.
	maxSteps = 11_000
	// fetchTime is how long a client may take to fetch an answer, which takes up memory meanwhile.
	fetchTime = time.Minute
	// clientClosed is what Prometheus answers to a query that was broken off; nobody reads it.
	clientClosed = 499
)

// prometheusRoutes are the API of Prometheus, with its parameters, answers and errors. They are not in the document: that
// of Prometheus describes them.
func (s *Server) prometheusRoutes() {
	get, both := []string{http.MethodGet}, []string{http.MethodGet, http.MethodPost}
	for _, r := range []struct {
		path    string
		methods []string
		answer  prometheusHandler
	}{
		{"/query", both, s.promQuery},
		{"/query_range", both, s.promQueryRange},
		{"/series", both, s.promSeries},
		{"/labels", both, s.promLabels},
		{"/label/:name/values", get, s.promLabelValues},
		{"/metadata", get, s.promMetadata},
		{"/format_query", both, s.promFormat},
		{"/status/buildinfo", get, s.promBuild},
		// What Picket does not have there: exemplars are not stored, and its alerts have an API of their own.
		{"/query_exemplars", both, nothing(`[]`)},
		{"/rules", get, nothing(`{"groups":[]}`)},
		{"/alerts", get, nothing(`{"alerts":[]}`)},
	} {
		for _, method := range r.methods {
			s.engine.Handle(method, prometheusPath+r.path, s.prometheus(r.answer))
		}
	}
	s.engine.GET("/api/v1/export/prometheus", s.exportPrometheus)
}

// prometheusAnswer is what stands in the envelope of an answer.
type prometheusAnswer struct {
	data            any
	value           *promql.Answer // instead of data
	warnings, infos []string
}

type prometheusHandler func(c *gin.Context) (prometheusAnswer, error)

func nothing(data string) prometheusHandler {
	return func(*gin.Context) (prometheusAnswer, error) {
		return prometheusAnswer{data: json.RawMessage(data)}, nil
	}
}

// prometheus calls a handler and writes what it returns as Prometheus would.
func (s *Server) prometheus(handle prometheusHandler) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		var a prometheusAnswer
		err := c.Request.ParseForm()
		if err != nil {
			err = &promql.Error{Kind: promql.BadData, Err: fmt.Errorf("error parsing form values: %w", err)}
		} else {
			a, err = handle(c)
		}
		c.Header("Content-Type", "application/json")
		if err != nil {
			s.prometheusError(c, err)
			return
		}
		if a.value != nil {
			defer a.value.Close()
			_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(fetchTime)) // that of the server is longer
		}
		out, done := compressed(c)
		if err := errors.Join(a.write(out), done()); err != nil && c.Request.Context().Err() == nil {
			s.cfg.Log.Debug("answer to a query was not taken", "error", err)
		}
	}
}

func (a *prometheusAnswer) write(w io.Writer) error {
	if a.value != nil {
		a.warnings, a.infos = a.value.Warnings, a.value.Infos
		if _, err := fmt.Fprintf(w, `{"status":"success","data":{"resultType":"%s","result":`, a.value.Type()); err != nil {
			return err
		}
		if err := a.value.WriteJSON(w); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "}"); err != nil {
			return err
		}
	} else {
		data, err := json.Marshal(a.data)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, `{"status":"success","data":%s`, data); err != nil {
			return err
		}
	}
	for _, notes := range []struct {
		name string
		list []string
	}{{"warnings", a.warnings}, {"infos", a.infos}} {
		if len(notes.list) == 0 {
			continue
		}
		list, err := json.Marshal(notes.list)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, `,"%s":%s`, notes.name, list); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "}")
	return err
}

var prometheusCodes = map[string]int{promql.BadData: http.StatusBadRequest, promql.Execution: http.StatusUnprocessableEntity,
	promql.Timeout: http.StatusServiceUnavailable, promql.Canceled: clientClosed}

func (s *Server) prometheusError(c *gin.Context, err error) {
	kind := promql.Internal
	var known *promql.Error
	if errors.As(err, &known) {
		kind = known.Kind
	}
	code, listed := prometheusCodes[kind]
	if !listed {
		s.cfg.Log.Error("query", "error", err)
		code = http.StatusInternalServerError
	}
	c.JSON(code, struct {
		Status string `json:"status"`
		Kind   string `json:"errorType"`
		Text   string `json:"error"`
	}{"error", kind, err.Error()})
}

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is a valid one
	return z
}}

// compressed returns where to write an answer, and what to call at its end.
func compressed(c *gin.Context) (w io.Writer, done func() error) {
	c.Header("Vary", "Accept-Encoding")
	if !strings.Contains(c.GetHeader("Accept-Encoding"), "gzip") {
		return c.Writer, func() error { return nil }
	}
	c.Header("Content-Encoding", "gzip")
	z := zippers.Get().(*gzip.Writer) //nolint:forcetypeassert // the pool holds no others
	z.Reset(c.Writer)
	return z, func() error {
		err := z.Close()
		z.Reset(io.Discard)
		zippers.Put(z)
		return err
	}
}

func badParameter(name string, err error) error {
	return &promql.Error{Kind: promql.BadData, Err: fmt.Errorf("invalid parameter %q: %w", name, err)}
}

// form reads the parameters of a request. After the first that is wrong it reads no more.
type form struct {
	r   *http.Request
	err error
}

func (f *form) wrong(name string, err error) {
	if f.err == nil {
		f.err = badParameter(name, err)
	}
}

// time reads a moment; an empty one is the fallback, unless that is zero and it must be given.
func (f *form) time(name string, must bool, fallback time.Time) time.Time {
	text := f.r.FormValue(name)
	if text == "" && !must {
		return fallback
	}
	t, err := parsePromTime(text)
	if err != nil {
		f.wrong(name, err)
	}
	return t
}

func (f *form) duration(name string, must bool) time.Duration {
	text := f.r.FormValue(name)
	if text == "" && !must {
		return 0
	}
	d, err := parsePromDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("zero or negative durations are not accepted; try a positive one")
	}
	if err != nil {
		f.wrong(name, err)
	}
	return d
}

func (f *form) limit() int {
	text := f.r.FormValue("limit")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err == nil && n < 0 {
		err = errors.New("limit must be non-negative")
	}
	if err != nil {
		f.wrong("limit", err)
	}
	return n
}

func (f *form) options() promql.Options {
	return promql.Options{Limit: f.limit(), Timeout: f.duration("timeout", false), Lookback: f.duration("lookback_delta", false)}
}

// find reads which series are meant. Until when is not looked at: what is known of a series is when it was heard of last.
func (f *form) find() promql.Find {
	f.time("end", false, time.Time{})
	return promql.Find{Matches: f.r.Form["match[]"], From: f.time("start", false, time.Time{}), Limit: f.limit()}
}

// firstMoment and lastMoment are what Prometheus's own clients send for the beginning and the end of time.
const (
	firstMoment = "-292273086-05-16T16:47:06Z"
	lastMoment  = "+292277025-08-18T07:12:54.999999999Z"
)

func parsePromTime(text string) (time.Time, error) {
	if t, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(t) < 1e11 {
		whole, part := math.Modf(t)
		return time.Unix(int64(whole), int64(math.Round(part*1000)*1e6)).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	switch text {
	case firstMoment, strings.TrimPrefix(firstMoment, "-"):
		return time.Time{}, nil
	case lastMoment, strings.TrimPrefix(lastMoment, "+"):
		return time.Unix(1e11, 0).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", text)
}

func parsePromDuration(text string) (time.Duration, error) {
	if d, err := strconv.ParseFloat(text, 64); err == nil {
		if ns := d * float64(time.Second); math.Abs(ns) < math.MaxInt64 {
			return time.Duration(ns), nil
		}
		return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", text)
	}
	if d, err := model.ParseDuration(text); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", text)
}

func (s *Server) promQuery(c *gin.Context) (a prometheusAnswer, err error) {
	f := form{r: c.Request}
	at, o := f.time("time", false, s.cfg.Now()), f.options()
	if f.err != nil {
		return a, f.err
	}
	a.value, err = s.promQL.Query(c.Request.Context(), caller(c.Request.Context()).Tenant, c.Request.FormValue("query"), at, o)
	return a, err
}

func (s *Server) promQueryRange(c *gin.Context) (a prometheusAnswer, err error) {
	f := form{r: c.Request}
	start, end := f.time("start", true, time.Time{}), f.time("end", true, time.Time{})
	if end.Before(start) {
		f.wrong("end", errors.New("end timestamp must not be before start time"))
	}
	step, o := f.duration("step", true), f.options()
	if f.err == nil && end.Sub(start)/step > maxSteps {
		f.err = &promql.Error{Kind: promql.BadData, Err: errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")}
	}
	if f.err != nil {
		return a, f.err
	}
	a.value, err = s.promQL.QueryRange(c.Request.Context(), caller(c.Request.Context()).Tenant, c.Request.FormValue("query"), start, end, step, o)
	return a, err
}

// listed puts a list that may have been cut into an answer.
func listed[T any](list []T, more bool, err error) (prometheusAnswer, error) {
	a := prometheusAnswer{data: list}
	if list == nil {
		a.data = []T{}
	}
	if more {
		a.warnings = []string{promql.Truncated}
	}
	return a, err
}

func (s *Server) promSeries(c *gin.Context) (prometheusAnswer, error) {
	f := form{r: c.Request}
	find := f.find()
	if f.err != nil {
		return prometheusAnswer{}, f.err
	}
	return listed(s.promQL.Series(c.Request.Context(), caller(c.Request.Context()).Tenant, find))
}

func (s *Server) promLabels(c *gin.Context) (prometheusAnswer, error) {
	f := form{r: c.Request}
	find := f.find()
	if f.err != nil {
		return prometheusAnswer{}, f.err
	}
	return listed(s.promQL.LabelNames(c.Request.Context(), caller(c.Request.Context()).Tenant, find))
}

func (s *Server) promLabelValues(c *gin.Context) (prometheusAnswer, error) {
	f := form{r: c.Request}
	find := f.find()
	if f.err != nil {
		return prometheusAnswer{}, f.err
	}
	name := c.Param("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	return listed(s.promQL.LabelValues(c.Request.Context(), caller(c.Request.Context()).Tenant, name, find))
}

func (s *Server) promMetadata(c *gin.Context) (prometheusAnswer, error) {
	f := form{r: c.Request}
	limit := f.limit()
	if f.err != nil {
		return prometheusAnswer{}, f.err
	}
	data, err := s.promQL.Metadata(c.Request.Context(), caller(c.Request.Context()).Tenant, c.Request.FormValue("metric"), limit)
	return prometheusAnswer{data: data}, err
}

func (s *Server) promFormat(c *gin.Context) (prometheusAnswer, error) {
	text, err := s.promQL.Format(c.Request.FormValue("query"))
	return prometheusAnswer{data: text}, err
}

// promBuild names the engine's version: by it clients know what they may ask.
func (s *Server) promBuild(*gin.Context) (prometheusAnswer, error) {
	return prometheusAnswer{data: map[string]string{"version": promql.EngineVersion, "revision": "", "branch": "picket " + s.cfg.Version,
		"buildUser": "", "buildDate": "", "goVersion": runtime.Version()}}, nil
}

// exportPrometheus writes the last values of all series for a scraper.
func (s *Server) exportPrometheus(c *gin.Context) {
	c.Header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	out, done := compressed(c)
	ctx := c.Request.Context()
	if err := errors.Join(s.promQL.Export(ctx, caller(ctx).Tenant, out), done()); err != nil && !errors.Is(err, context.Canceled) {
		s.cfg.Log.Error("export", "error", err)
	}
}
