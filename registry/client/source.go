package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
)

// errMissing says that the registry has no such file.
var errMissing = errors.New("no such file in the registry")

// source reads the files of a registry by their path below its base. The bytes are hostile until somebody compared
// their digest.
type source interface {
	// open reads from an offset on, or from the beginning when the source cannot do that: at says where the bytes start.
	open(ctx context.Context, path string, offset int64) (r io.ReadCloser, at int64, err error)
	String() string
}

// newSource accepts http(s)://host/path, file:///path and a plain folder.
func newSource(base string, client *http.Client) (source, error) {
	if base == "" {
		return nil, errors.New("no address of a registry")
	}
	if !strings.Contains(base, "://") {
		return dirSource{base}, nil
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("registry address: %w", err)
	}
	switch {
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && u.Path != "":
		return dirSource{filepath.FromSlash(u.Path)}, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		if client == nil {
			client = newHTTPClient()
		} else if client.CheckRedirect == nil {
			own := *client
			own.CheckRedirect, client = checkRedirect, &own
		}
		return &httpSource{base: u, client: client}, nil
	}
	return nil, fmt.Errorf("registry address %q: must be http(s)://host/path, file:///path or a folder", base)
}

// fetch reads a file of at most maxBytes within the timeout.
func fetch(ctx context.Context, src source, path string, maxBytes int64, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, _, err := src.open(ctx, path, 0)
	if err != nil {
		return nil, unreachable(ctx, src, path, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, unreachable(ctx, src, path, err)
	}
	if int64(len(data)) > maxBytes {
		return nil, refusal(registry.Oversized, "%s has more than the %d bytes it may have", path, maxBytes)
	}
	return data, nil
}

// unreachable keeps errMissing apart, because go-tuf asks for files that need not exist.
func unreachable(ctx context.Context, src source, path string, err error) error {
	if errors.Is(err, errMissing) {
		return fmt.Errorf("%s: %w", path, errMissing)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("no complete answer in time (%w)", ctx.Err())
	}
	return refusal(registry.Unreachable, "fetch %s from %s: %w", path, src, err)
}

// dirSource is a registry in a local folder.
type dirSource struct{ dir string }

func (s dirSource) String() string { return s.dir }

// open does not follow links out of the folder, and does not wait on a FIFO that lies where a file should.
func (s dirSource) open(_ context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	name := filepath.FromSlash(path)
	info, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, errMissing
	}
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, offset, nil
}

// httpSource is a registry behind any static web server.
type httpSource struct {
	base   *url.URL
	client *http.Client
}

func (s *httpSource) String() string { return s.base.Redacted() }

func (s *httpSource) open(ctx context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, 0, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case res.StatusCode == http.StatusOK:
		return res.Body, 0, nil
	case res.StatusCode == http.StatusPartialContent && offset > 0 &&
		strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
		return res.Body, offset, nil
	}
	res.Body.Close()
	switch res.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return nil, 0, errMissing
	case http.StatusRequestedRangeNotSatisfiable, http.StatusPartialContent: // it cannot continue just there
		if offset > 0 {
			return s.open(ctx, path, 0)
		}
	}
	return nil, 0, fmt.Errorf("the server answered %s", res.Status)
}

// maxRedirects is generous for a mirror behind a load balancer.
const maxRedirects = 4

// newHTTPClient bounds every step up to the first byte; fetch and download bound the rest.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  15 * time.Second,
			IdleConnTimeout:        60 * time.Second,
			MaxIdleConnsPerHost:    2,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // lengths are checked against what was signed
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: checkRedirect,
	}
}

// checkRedirect follows a few redirects, and none from https to http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("redirected from https to http")
	}
	return nil
}
