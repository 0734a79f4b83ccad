package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// errMissing says that the registry has no such file.
var errMissing = errors.New("the registry does not have it")

// source is the registry that is copied.
type source struct {
	base   *url.URL
	client *http.Client
}

func newSource(from string, c *http.Client) (source, error) {
	if from == "" {
		return source{}, errors.New("no registry to copy from")
	}
	if !strings.Contains(from, "://") {
		folder := &http.Client{Transport: http.NewFileTransportFS(os.DirFS(from))}
		return source{base: &url.URL{Scheme: "http", Host: "folder"}, client: folder}, nil
	}
	base, err := url.Parse(from)
	if err != nil {
		return source{}, err
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return source{}, fmt.Errorf("%q: must be http(s)://host/path or a folder", from)
	}
	if c == nil {
		c = &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 15 * time.Second,
			IdleConnTimeout:       60 * time.Second,
			MaxIdleConnsPerHost:   4,
			DisableCompression:    true,
		}}
	}
	return source{base: base, client: c}, nil
}

// get asks for a file from an offset on. The answer may begin at 0 all the same.
func (s source) get(ctx context.Context, path string, offset int64) (body io.ReadCloser, from int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, 0, err
	}
	if offset > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	switch res.StatusCode {
	case http.StatusOK:
		return res.Body, 0, nil
	case http.StatusPartialContent:
		if strings.HasPrefix(res.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(offset, 10)+"-") {
			return res.Body, offset, nil
		}
	case http.StatusNotFound, http.StatusGone:
		err = errMissing
	}
	res.Body.Close()
	if err == nil {
		err = fmt.Errorf("the registry answered %s", res.Status)
	}
	return nil, 0, err
}

// read gets a small file.
func (s source) read(ctx context.Context, path string, maxBytes int64) ([]byte, error) {
	body, _, err := s.get(ctx, path, 0)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", path, err)
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxBytes+1))
	if err == nil && int64(len(data)) > maxBytes {
		err = fmt.Errorf("more than the %d bytes that it may have", maxBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", path, err)
	}
	return data, nil
}

// How long a small file may take as a whole, and how long a large one may stand still.
const (
	smallTimeout = 30 * time.Second
	stallTimeout = 30 * time.Second
)

// small brings a file that fits into memory. check decides whether the bytes are right; what is in the folder and is not
// is fetched again.
func (m *Mirror) small(ctx context.Context, path string, maxBytes int64, check func([]byte) error) ([]byte, error) {
	if data, err := durable.ReadFile(m.path(path), maxBytes); err == nil && check(data) == nil {
		return data, nil
	}
	data, err := m.fetchSmall(ctx, path, maxBytes)
	if err != nil {
		return nil, err
	}
	if err := check(data); err != nil {
		return nil, fmt.Errorf("fetch %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(m.path(path)), 0o755); err != nil {
		return nil, err
	}
	return data, durable.WriteFile(m.path(path), data, 0o644)
}

// store brings a file of the store. What a broken connection left is gone on with.
func (m *Mirror) store(ctx context.Context, digest string, maxBytes int64, progress func(done int64)) error {
	final := m.path(registry.StorePath(digest))
	if _, err := os.Stat(final); err == nil {
		return nil // it was compared with its name when it came
	}
	part := m.path("store/" + partPrefix + digest)
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := m.receive(ctx, f, digest, maxBytes, progress); err != nil {
		if info, statErr := f.Stat(); statErr == nil && info.Size() == 0 { // nothing to go on with: anybody can ask for what is not there
			err = errors.Join(err, os.Remove(part))
		}
		return fmt.Errorf("fetch %s: %w", registry.StorePath(digest), err)
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err := durable.Rename(part, final); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(final))
}

func (m *Mirror) receive(ctx context.Context, f *os.File, digest string, maxBytes int64, progress func(int64)) error {
	sum := sha256.New()
	have, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	if have > 0 && hex.EncodeToString(sum.Sum(nil)) == digest { // complete, and the end came before it was renamed
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, from, err := m.source.get(ctx, registry.StorePath(digest), have)
	if err != nil && have > 0 && !errors.Is(err, errMissing) { // perhaps it has no such range
		body, from, err = m.source.get(ctx, registry.StorePath(digest), 0)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	if from != have {
		if have, err = 0, restart(f, sum); err != nil {
			return err
		}
	}
	stall := time.AfterFunc(stallTimeout, cancel)
	defer stall.Stop()
	counted := &counter{Reader: body, each: func(n int64) {
		stall.Reset(stallTimeout)
		progress(have + n)
	}}
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(counted, maxBytes-have+1))
	if err != nil {
		return err
	}
	if have+n > maxBytes {
		return errors.Join(fmt.Errorf("more than the %d bytes that it may have", maxBytes), restart(f, sum))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return errors.Join(fmt.Errorf("it has SHA-256 %s", got), restart(f, sum))
	}
	return nil
}

// restart empties what was received.
func restart(f *os.File, sum hash.Hash) error {
	sum.Reset()
	_, err := f.Seek(0, io.SeekStart)
	return errors.Join(err, f.Truncate(0))
}

// counter tells how many bytes came through.
type counter struct {
	io.Reader
	n    int64
	each func(n int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	c.each(c.n)
	return n, err
}
