package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type healthBody struct {
	Status string `json:"status" enum:"ok"`
}

type readyOut struct {
	Status int
	Body   readinessBody
}

type readinessBody struct {
	Status string            `json:"status" enum:"ok,unavailable"`
	Parts  map[string]string `json:"parts" doc:"Each part of the server: ok, or what is wrong."`
}

func (s *Server) healthRoutes() {
	tags := []string{"health"}
	handle(s, huma.Operation{OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: tags, Summary: "The process answers"},
		func(context.Context, *struct{}) (*body[healthBody], error) {
			return answer(healthBody{Status: "ok"}), nil
		})
	handle(s, huma.Operation{OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: tags,
		Summary: "Every part works; 503 names the one that does not"}, s.readyz)
	scrape := promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	s.engine.GET("/metrics", gin.WrapH(scrape))
}

func (s *Server) readyz(ctx context.Context, _ *struct{}) (*readyOut, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out := &readyOut{Status: http.StatusOK, Body: readinessBody{Status: "ok", Parts: map[string]string{}}}
	if s.cfg.Ready == nil {
		return out, nil
	}
	parts := s.cfg.Ready(ctx)
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		out.Body.Parts[name] = "ok"
		if err := parts[name]; err != nil {
			// The reason may name paths of this machine, and anybody may ask: it goes to the log.
			s.cfg.Log.Warn("not ready", "part", name, "error", err)
			out.Body.Parts[name] = "unavailable"
			out.Status, out.Body.Status = http.StatusServiceUnavailable, "unavailable"
		}
	}
	return out, nil
}

// meters count what the API does.
type meters struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMeters(r *prometheus.Registry) *meters {
	m := &meters{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "picket_http_requests_total", Help: "Requests by route and status."},
			[]string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "picket_http_request_duration_seconds", Help: "How long requests took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"method", "route"}),
	}
	r.MustRegister(m.requests, m.seconds)
	return m
}

// waiting are routes that take long because they wait, not because they work.
var waiting = map[string]bool{"/api/v1/live": true, "/api/v1/agent/poll": true, capturesPath: true}

func (m *meters) observe(c *gin.Context) {
	begin := time.Now()
	c.Next()
	route, method := c.FullPath(), c.Request.Method
	if route == "" {
		route = "other" // a stranger's path must not become a label
	}
	if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) {
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(c.Writer.Status())).Inc()
	if !waiting[route] {
		m.seconds.WithLabelValues(method, route).Observe(time.Since(begin).Seconds())
	}
}
