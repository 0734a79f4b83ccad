package webhook

import (
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"golang.org/x/net/http/httpguts"
)

// Config is what an operator sets.
type Config struct {
	URL            string            `json:"url" required:"true" format:"url" doc:"Where notices are posted to, https or http."`
	Secret         string            `json:"secret" secret:"true" doc:"Key of the signature, as text or as whsec_ and base64; without it nothing is signed."`
	Authorization  string            `json:"authorization" secret:"true" doc:"Value of the Authorization header, for example a bearer token."`
	Headers        map[string]string `json:"headers" max:"32" doc:"Further headers of the request."`
	CACertificates string            `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for a receiver with a private one."`
	Timeout        config.Duration   `json:"timeout" default:"10s" min:"100ms" max:"2m" doc:"How long one delivery may take."`
}

// reserved headers are set by the plugin, or by HTTP itself.
var reserved = []string{
	"Accept", "Authorization", "Connection", "Content-Length", "Content-Type", "Host", "Transfer-Encoding", "User-Agent",
}

func (c *Config) validate() error {
	if _, err := c.target(); err != nil {
		return err
	}
	for name, value := range c.Headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case slices.Contains(reserved, canonical) || strings.HasPrefix(canonical, "Webhook-"):
			return sdk.Errorf(sdk.InvalidConfig, "headers: %s is set by the plugin", canonical)
		case !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
			return sdk.Errorf(sdk.InvalidConfig, "headers: %q is not a header, or its value has characters that a header cannot carry", name)
		}
	}
	if !httpguts.ValidHeaderFieldValue(c.Authorization) {
		return sdk.Errorf(sdk.InvalidConfig, "authorization: it has characters that a header cannot carry")
	}
	if _, err := signingKey(c.Secret); err != nil {
		return err
	}
	_, err := trust.Config("", c.CACertificates)
	return err
}

func (c *Config) target() (*url.URL, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return nil, sdk.Errorf(sdk.InvalidConfig, "url: it cannot be read")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, sdk.Errorf(sdk.InvalidConfig, "url: the scheme must be https or http, not %q", u.Scheme)
	case u.Hostname() == "":
		return nil, sdk.Errorf(sdk.InvalidConfig, "url: it names no host")
	case u.User != nil:
		return nil, sdk.Errorf(sdk.InvalidConfig, "url: put name and password into authorization, not into the URL")
	}
	u.Fragment = ""
	return u, nil
}
