package tlscert

import (
	"net"
	"net/url"
	"slices"
	"strconv"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets        []string        `json:"targets" required:"true" min:"1" max:"500" doc:"Servers to ask: https://host or tls://host:port; with STARTTLS smtp://host, ldap://host, and imap, pop3, ftp or postgres://host:port. What follows ?name= is the name to ask for instead of the host."`
	Timeout        config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one server may take."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for servers with a private authority."`
}

// target is one server.
type target struct {
	scheme, host, port string
	address            string // host:port
	name               string // that is asked for, and that the certificate must have
}

// ports are those that the grants know too; others have to be stated. Which scheme begins in the clear says upgrades.
var ports = map[string]string{"https": "443", "smtp": "25", "smtps": "465", "ldap": "389", "ldaps": "636", "tls": "", "imap": "", "pop3": "", "ftp": "", "postgres": ""}

func parseTarget(text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q is not a target such as https://example.org or smtp://mail.example.org", text)
	}
	port, known := ports[u.Scheme]
	if u.Port() != "" {
		port = u.Port()
	}
	n, err := strconv.ParseUint(port, 10, 16)
	query := u.Query()
	name := query.Get("name")
	query.Del("name")
	switch {
	case !known:
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q: the scheme must be https, tls, smtp, smtps, imap, pop3, ftp, ldap, ldaps or postgres", text)
	case err != nil || n == 0:
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q needs a port between 1 and 65535", text)
	case u.User != nil || u.Fragment != "" || u.Path != "" && u.Path != "/" || len(query) > 0 || len(name) > 253:
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q: a target has a scheme, a host, perhaps a port and ?name=, and nothing else", u.Redacted())
	}
	out := target{scheme: u.Scheme, host: u.Hostname(), port: port, address: net.JoinHostPort(u.Hostname(), port), name: name}
	if name == "" {
		out.name = out.host
	}
	return out, nil
}

func (t target) labels() map[string]string {
	out := map[string]string{"server.address": t.host, "server.port": t.port}
	if t.name != t.host {
		out["tls.client.server_name"] = t.name
	}
	return out
}

func (c *Config) targets() ([]target, error) {
	var out []target
	for i, text := range c.Targets {
		t, err := parseTarget(text)
		if err != nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "targets[%d]: %w", i, err)
		}
		if slices.ContainsFunc(out, func(o target) bool { return o.address == t.address && o.name == t.name }) {
			return nil, sdk.Errorf(sdk.InvalidConfig, "targets[%d]: %s is there twice", i, text)
		}
		out = append(out, t)
	}
	return out, nil
}
