// Package serverapi is how commands speak to a running picketd: with a token from a file, and errors that say what to do next.
package serverapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

const (
	maxAnswer    = 64 << 20
	answerWithin = 2 * time.Minute
)

// Server is a running picketd and how it is spoken to.
type Server struct {
	URL       string
	TokenFile string
	Role      string // that the command needs, for the hint about a token

	match string
}

// Matching is the server to which a change is sent that is meant for one version of something, by its ETag.
func (s Server) Matching(version int64) Server {
	s.match = fmt.Sprintf("%q", strconv.FormatInt(version, 10))
	return s
}

// Refusal is an answer that says no.
type Refusal struct {
	Status int
	text   string
}

func (r *Refusal) Error() string { return r.text }

// Token reads the API token.
func (s Server) Token() (string, error) {
	if s.TokenFile == "" {
		return "", usage.Errorf("--token-file must be given: `picket token create --role %s > FILE` makes a token for the server on this machine", s.Role)
	}
	raw, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	words := strings.Fields(string(raw))
	if len(words) != 1 {
		return "", fmt.Errorf("%s holds no API token: `picket token create` prints one, a single word", s.TokenFile)
	}
	return words[0], nil
}

// Do sends a request and returns the body of the answer. Without a body there is no content type.
func (s Server) Do(ctx context.Context, method, path, contentType string, body io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	resp, err := s.Open(ctx, method, path, contentType, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return s.read(resp)
}

// Open is Do for an answer of any length and time; the caller closes its body.
func (s Server) Open(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	token, err := s.Token()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(s.URL, "/")+path, body)
	if err != nil {
		return nil, usage.Errorf("--server %s is no address: %s", s.URL, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if s.match != "" {
		req.Header.Set("If-Match", s.match)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s does not answer: %w", s.URL, err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		return nil, fmt.Errorf("%s does not know the token in %s: `picket token create` makes one", s.URL, s.TokenFile)
	}
	raw, err := s.read(resp)
	if err != nil {
		return nil, err
	}
	return nil, refusal(resp, raw)
}

func (s Server) read(resp *http.Response) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", s.URL, err)
	case len(raw) > maxAnswer:
		return nil, fmt.Errorf("the answer has more than %d MB; ask for less", maxAnswer>>20)
	}
	return raw, nil
}

// refusal says in one line why the server said no: as a problem of its own API, or in Prometheus's words.
func refusal(resp *http.Response, raw []byte) error {
	var p struct {
		Error, Detail, Title string
		Errors               []struct{ Message, Location string }
	}
	if json.Unmarshal(raw, &p) != nil {
		return &Refusal{resp.StatusCode, "the server answered " + resp.Status}
	}
	text := p.Error
	for _, other := range []string{p.Detail, p.Title, "the server answered " + resp.Status} {
		if text == "" {
			text = other
		}
	}
	for _, e := range p.Errors {
		if e.Message != "" && !strings.Contains(text, e.Message) {
			text += fmt.Sprintf(" (%s: %s)", e.Location, e.Message)
		}
	}
	return &Refusal{resp.StatusCode, strings.Join(strings.Fields(text), " ")}
}
