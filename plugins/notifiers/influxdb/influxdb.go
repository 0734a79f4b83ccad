// Package influxdb is the sink picket/influxdb: what goes in are notices with samples, what leaves is one request each to the write
// interface of an InfluxDB.
package influxdb

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the sink.
func Plugin() sdk.Plugin {
	return sdk.Plugin{ID: "picket/influxdb", Kind: sdk.KindNotifier, Summary: "Carries what is measured to InfluxDB, version 1 or 2, in its line protocol.", New: func() sdk.Instance { return &Sink{} }}
}

// Config is what an operator sets.
type Config struct {
	URL            string          `json:"url" required:"true" format:"url" doc:"The server, for example http://192.0.2.14:8086."`
	Database       string          `json:"database" max:"255" doc:"Version 1: the database."`
	Retention      string          `json:"retention_policy" max:"255" doc:"Version 1: the retention policy, when it is not the database's own."`
	Username       string          `json:"username" max:"255" doc:"Version 1: the login, when the server asks for one."`
	Password       string          `json:"password" secret:"true" doc:"Version 1: the password of the login."`
	Org            string          `json:"org" max:"255" doc:"Version 2: the organisation."`
	Bucket         string          `json:"bucket" max:"255" doc:"Version 2: the bucket; with it the interface of version 2 is used."`
	Token          string          `json:"token" secret:"true" doc:"Version 2: an API token that may write to the bucket."`
	Metrics        []string        `json:"metrics" default:"*" max:"100" doc:"Names of the metrics to carry, or beginnings of names that end in *."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for a server with a private one."`
	Timeout        config.Duration `json:"timeout" default:"20s" min:"100ms" max:"50s" doc:"How long one batch may take."`
}

// Sink writes to one server.
type Sink struct {
	config Config
	host   sdk.Host
	client rest.Client
}

// Config implements sdk.Instance.
func (s *Sink) Config() any { return &s.config }

// Validate checks what tags cannot say.
func (s *Sink) Validate() error {
	if _, err := rest.Base("url", s.config.URL); err != nil {
		return err
	}
	if (s.config.Database == "") == (s.config.Bucket == "") {
		return sdk.Errorf(sdk.InvalidConfig, "database, bucket: state a database (version 1) or a bucket (version 2), and not both")
	}
	if s.config.Bucket != "" && s.config.Org == "" {
		return sdk.Errorf(sdk.InvalidConfig, "org: a bucket belongs to an organisation; state which")
	}
	_, err := trust.Config("", s.config.CACertificates)
	return err
}

// Start implements sdk.Starter.
func (s *Sink) Start(_ context.Context, host sdk.Host) error {
	base, err := rest.Base("url", s.config.URL)
	if err != nil {
		return err
	}
	s.host = host
	s.client = rest.Client{Host: host, Base: base}
	return nil
}

// Notify implements sdk.Notifier. A notice without samples writes nothing, which the server answers like the rest.
func (s *Sink) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.config.Timeout))
	defer cancel()
	r, err := s.host.Fetch(ctx, sdk.Request{Method: http.MethodPost, URL: s.client.Base + s.path(), Header: s.header(), Body: lines(notice.Samples), Roots: s.config.CACertificates})
	if err != nil {
		return sdk.Receipt{}, rest.Unreachable(s.client.Name(), err)
	}
	return sdk.Receipt{}, s.verdict(r, len(notice.Samples))
}

func (s *Sink) path() string {
	if s.config.Bucket != "" {
		return "/api/v2/write?" + url.Values{"org": {s.config.Org}, "bucket": {s.config.Bucket}, "precision": {"us"}}.Encode()
	}
	q := url.Values{"db": {s.config.Database}, "precision": {"u"}}
	if s.config.Retention != "" {
		q.Set("rp", s.config.Retention)
	}
	return "/write?" + q.Encode()
}

func (s *Sink) header() map[string][]string {
	h := map[string][]string{"Content-Type": {"text/plain; charset=utf-8"}, "User-Agent": {"Picket/1"}}
	switch {
	case s.config.Bucket != "" && s.config.Token != "":
		h["Authorization"] = []string{"Token " + s.config.Token}
	case s.config.Bucket == "" && s.config.Username != "":
		h["Authorization"] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(s.config.Username+":"+s.config.Password))}
	}
	return h
}

// verdict keeps samples waiting while the server wants a login, a database or a bucket that somebody can still give: only a batch
// that the server has read and cannot use is given up.
func (s *Sink) verdict(r sdk.Response, samples int) error {
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return sdk.Errorf(sdk.InvalidConfig, "%s answered %d%s", s.client.Name(), r.Status, rest.Quote(r.Body))
	case http.StatusBadRequest:
		if samples == 0 { // some versions will not be sent nothing; they have looked at the rest by then
			return nil
		}
	}
	return rest.Verdict(s.client.Name(), r.Status, r.Header, r.Body, s.host.Now())
}
