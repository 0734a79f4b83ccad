package core

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/server"
)

// remote is the voice of a registry elsewhere. Nothing that it says is believed for installing; what a page shows of it
// is bounded like everything that comes from a network.
type remote struct {
	base   string
	http   *http.Client
	silent atomic.Int64 // until when it is not asked, in Unix nanoseconds: it did not answer
}

const (
	maxVoice   = 8 << 20
	voiceAfter = 10 * time.Second
	// voiceAgain is how long a registry that did not answer is left alone: a page asks several times, and people wait.
	voiceAgain = 30 * time.Second
)

// errNotTaken says that a registry elsewhere refused what it was sent.
var errNotTaken = errors.New("the registry did not take it")

// newRemote is nil for a registry that is no server.
func newRemote(base string) *remote {
	if !strings.HasPrefix(base, "http://") && !strings.HasPrefix(base, "https://") {
		return nil
	}
	return &remote{base: strings.TrimSuffix(base, "/"), http: &http.Client{Timeout: voiceAfter,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (r *remote) call(ctx context.Context, method, path string, query url.Values, in []byte, out any) error {
	if time.Now().UnixNano() < r.silent.Load() {
		return fmt.Errorf("the registry %s did not answer a moment ago", r.base)
	}
	where := r.base + path
	if len(query) > 0 {
		where += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(in))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if len(in) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			r.silent.Store(time.Now().Add(voiceAgain).UnixNano())
		}
		return fmt.Errorf("ask the registry %s: %w", r.base, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxVoice+1))
	switch {
	case err != nil:
		return fmt.Errorf("ask the registry %s: %w", r.base, err)
	case len(data) > maxVoice:
		return fmt.Errorf("the registry %s answered with more than %d bytes", r.base, maxVoice)
	case resp.StatusCode == http.StatusNotFound:
		return server.ErrNotFound
	case resp.StatusCode == http.StatusBadRequest:
		return fmt.Errorf("%w: %s", server.ErrQuery, detail(data))
	case resp.StatusCode >= 400 && resp.StatusCode < 500:
		return fmt.Errorf("%w: %s", errNotTaken, detail(data))
	case resp.StatusCode >= 300:
		return fmt.Errorf("the registry %s answered %d", r.base, resp.StatusCode)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("understand the registry %s: %w", r.base, err)
	}
	return nil
}

// detail is what a problem document says, in short.
func detail(data []byte) string {
	var p struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(data, &p) != nil {
		return "it did not say why"
	}
	return p.Detail[:min(len(p.Detail), 500)]
}

// Search implements voice.
func (r *remote) Search(ctx context.Context, q server.Query) (out server.Result, err error) {
	v := url.Values{}
	for name, text := range map[string]string{"q": q.Text, "kind": q.Kind, "technique": q.Technique, "protocol": q.Protocol, "tag": q.Tag,
		"publisher": q.Publisher, "tier": q.Tier, "sort": q.Sort, "offset": strconv.Itoa(q.Offset)} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	err = r.call(ctx, http.MethodGet, "/v1/search", v, nil, &out)
	return out, err
}

// Front implements voice.
func (r *remote) Front(ctx context.Context) (out server.Front, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/front", nil, nil, &out)
	return out, err
}

// Plugin implements voice.
func (r *remote) Plugin(ctx context.Context, id, version string) (out server.Plugin, err error) {
	v := url.Values{}
	if version != "" {
		v.Set("version", version)
	}
	err = r.call(ctx, http.MethodGet, pluginPath(id), v, nil, &out)
	return out, err
}

// pluginPath lets no id lead elsewhere.
func pluginPath(id string) string {
	ns, name, _ := strings.Cut(id, "/")
	return "/v1/plugins/" + url.PathEscape(ns) + "/" + url.PathEscape(name)
}

// Publisher implements voice.
func (r *remote) Publisher(ctx context.Context, ns string) (out server.Publisher, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/publishers/"+url.PathEscape(ns), nil, nil, &out)
	return out, err
}

// Reviews implements voice.
func (r *remote) Reviews(ctx context.Context, id string) ([]registry.Review, error) {
	var out struct {
		Reviews []registry.Review `json:"reviews"`
	}
	err := r.call(ctx, http.MethodGet, pluginPath(id)+"/reviews", nil, nil, &out)
	return out.Reviews, err
}

// Review implements voice.
func (r *remote) Review(ctx context.Context, data []byte) error {
	return r.call(ctx, http.MethodPost, "/v1/reviews", nil, data, nil)
}

// Report implements voice.
func (r *remote) Report(ctx context.Context, x server.Report) error {
	data, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return r.call(ctx, http.MethodPost, "/v1/reports", nil, data, nil)
}
