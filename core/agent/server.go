package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/signing"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// skewTolerated is how far the server's clock may differ before requests are signed with its time instead of ours. Of what is
// signed ahead of its clock the server must write down each one.
const skewTolerated = 3 * time.Second

// server is the agent's way to its server. Every request but the enrolment is signed and carries the bearer token.
type server struct {
	base *url.URL
	http *http.Client
	id   *Identity // nil while enrolling
	now  func() time.Time

	offset  atomic.Int64 // nanoseconds that the server's clock is ahead, 0 while that is tolerable
	contact atomic.Int64 // when the server last answered, Unix nanoseconds
	took    atomic.Int64 // how many requests it took
}

// newHTTPClient has deadlines for everything but the answer itself, which a long poll waits for. It follows no
// redirect: a signature covers the path, and a bearer token is for one server.
//
// A file names certificates that are trusted besides the system's.
func newHTTPClient(caFile string) (*http.Client, error) {
	var roots *x509.CertPool // nil means the system's
	if caFile != "" {
		raw, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificates of the authority: %w", err)
		}
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", caFile)
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			IdleConnTimeout:     90 * time.Second,
			MaxIdleConnsPerHost: 1, // a second one is open only while a poll waits
			ForceAttemptHTTP2:   true,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// problem is the server's refusal of a request (RFC 9457).
type problem struct {
	Status     int    `json:"-"`
	Said       int    `json:"status"` // in the document
	Title      string `json:"title"`
	Detail     string `json:"detail"`
	Errors     []struct{ Message, Location string }
	RetryAfter time.Duration `json:"-"`
	ours       bool          // a problem document, as picketd answers
}

func (p *problem) text() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = http.StatusText(p.Status)
	}
	for _, e := range p.Errors {
		text += "; " + e.Location + " " + e.Message
	}
	return text
}

func (p *problem) Error() string {
	return fmt.Sprintf("the server answered %d: %s", p.Status, p.text())
}

// final reports whether sending the same again cannot help. Only the server itself can say so: what answers with
// anything but a problem document is a proxy, and goes away.
func (p *problem) final() bool {
	switch p.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		return p.ours
	}
	return false
}

// packed is a body that is no JSON.
type packed struct {
	kind string // its content type
	data []byte
}

// call sends in as JSON (nil: no body), or as it is when it is packed, and reads the answer into out (nil: ignored). An answer of 304 leaves out as it
// is. When the server's clock turns out to differ, the request is signed anew with its time, once.
func (s *server) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	body, ok := in.(packed)
	if in != nil && !ok {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = packed{"application/json", data}
	}
	before := s.offset.Load()
	err := s.once(ctx, method, path, query, body, out)
	var p *problem
	if errors.As(err, &p) && p.Status == http.StatusUnauthorized && s.id != nil && s.offset.Load() != before {
		return s.once(ctx, method, path, query, body, out)
	}
	return err
}

func (s *server) once(ctx context.Context, method, path string, query url.Values, body packed, out any) error {
	u := s.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body.data))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "picket-agent/"+config.Version)
	req.Header.Set("Accept", "application/json")
	if len(body.data) > 0 {
		req.Header.Set("Content-Type", body.kind)
	}
	if s.id != nil {
		req.Header.Set("Authorization", "Bearer "+s.id.Bearer)
		if err := signing.SignRequest(req, body.data, s.id.key(), s.id.AgentID, s.serverTime()); err != nil {
			return err
		}
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s.heard(resp)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if len(data) > maxAnswer {
		return fmt.Errorf("the answer of %s has more than %d bytes", path, maxAnswer)
	}
	switch {
	case resp.StatusCode == http.StatusNotModified:
		return nil
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		p := &problem{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, s.now())}
		kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		// An answer of a proxy may be anything; the status says enough. The document repeats it.
		p.ours = json.Unmarshal(data, p) == nil && kind == "application/problem+json" && p.Said == p.Status
		return p
	case out == nil || len(data) == 0:
		s.took.Add(1)
		return nil
	}
	s.took.Add(1)
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("understand the answer of %s: %w", path, err)
	}
	return nil
}

// serverTime is what the server's clock shows, as far as is known.
func (s *server) serverTime() time.Time { return s.now().Add(time.Duration(s.offset.Load())) }

// heard notes the contact and the server's clock. Date has whole seconds, so half a one is added.
func (s *server) heard(resp *http.Response) {
	now := s.now()
	s.contact.Store(now.UnixNano())
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return
	}
	offset := date.Add(500 * time.Millisecond).Sub(now)
	if offset.Abs() < skewTolerated {
		offset = 0
	}
	// Small corrections of a large offset are noise; keep the value so that a change means something.
	if old := time.Duration(s.offset.Load()); (offset-old).Abs() < 2*time.Second && offset != 0 {
		return
	}
	s.offset.Store(int64(offset))
}

// lastContact is when the server last answered, zero when it never did.
func (s *server) lastContact() time.Time {
	if n := s.contact.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), time.Hour)
	}
	return 0
}

// reach makes an error of the network short: the address stands in the sentence around it.
func reach(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it did not answer in time")
	}
	return err
}

// patience is a growing wait between tries that failed.
type patience struct {
	base, most time.Duration
	failures   int
}

// after returns how long to wait after err: what the server asked for, or twice as long as last time, with jitter so
// that a thousand agents do not return at once.
func (p *patience) after(err error) time.Duration {
	d := p.base << min(p.failures, 16)
	if d > p.most || d <= 0 {
		d = p.most
	}
	p.failures++
	d = d/2 + rand.N(d/2+1)
	var no *problem
	if errors.As(err, &no) && no.RetryAfter > d {
		d = no.RetryAfter + rand.N(no.RetryAfter/10+1)
	}
	return d
}

func (p *patience) reset() { p.failures = 0 }

// sleep waits; it returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
