//go:build !wasip1

package prochost

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/picketwatch/picket/sdk"
)

// Fetch makes one HTTP request and reads the whole answer. Redirects are an answer like any other.
func (h *Host) Fetch(ctx context.Context, req sdk.Request) (sdk.Response, error) {
	return Fetch(ctx, h.fetch, req)
}

// Fetch does what Host.Fetch says with a client that follows no redirects.
func Fetch(ctx context.Context, client *http.Client, req sdk.Request) (sdk.Response, error) {
	var none sdk.Response
	if len(req.Body) > sdk.MaxFetch {
		return none, sdk.Errorf(sdk.Unsupported, "fetch: a body of %d bytes is larger than %d", len(req.Body), sdk.MaxFetch)
	}
	r, err := http.NewRequestWithContext(ctx, req.Method, req.URL, bytes.NewReader(req.Body))
	if err != nil {
		return none, sdk.Errorf(sdk.InvalidConfig, "fetch: %w", withoutURL(err))
	}
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Host == "" {
		return none, sdk.Errorf(sdk.InvalidConfig, "fetch: only http and https URLs with a host")
	}
	for name, values := range req.Header {
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	if req.Roots != "" {
		if client, err = trusting(client, req.Roots); err != nil {
			return none, err
		}
		defer client.CloseIdleConnections()
	}
	resp, err := client.Do(r)
	if err != nil {
		return none, fetchError(r, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, sdk.MaxFetch+1))
	if err != nil {
		return none, fetchError(r, err)
	}
	if len(body) > sdk.MaxFetch {
		return none, sdk.Errorf(sdk.Downstream, "fetch from %s: the answer is larger than %d bytes", r.URL.Host, sdk.MaxFetch)
	}
	return sdk.Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// trusting returns a client that trusts the authorities in roots instead of the system's.
func trusting(client *http.Client, roots string) (*http.Client, error) {
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		return nil, sdk.Errorf(sdk.Unsupported, "fetch: this host trusts the system's authorities only")
	}
	transport = transport.Clone()
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(roots)) {
		return nil, sdk.Errorf(sdk.InvalidConfig, "fetch: roots has no certificate in PEM form")
	}
	out := *client
	out.Transport = transport
	return &out, nil
}

// fetchError says who is to blame. The URL stays out of it: its path or query may hold a secret.
func fetchError(r *http.Request, err error) error {
	err = withoutURL(err)
	class := sdk.Temporary
	var classified *sdk.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &classified):
		class = classified.Class
	case errors.As(err, &certificate):
		class = sdk.Downstream
	}
	return sdk.Errorf(class, "fetch from %s: %w", r.URL.Host, err)
}

func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
