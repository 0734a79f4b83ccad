package probe

import (
	"golang.org/x/net/dns/dnsmessage"
	"net"
	"net/url"
	"slices"
	"strconv"

	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets        []string        `json:"targets" required:"true" min:"1" max:"200" doc:"What to ask: tcp://host:port, tls://host:port, http://host/path, https://host/path, icmp://host or dns://server:port/name?type=A."`
	Timeout        config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one target may take."`
	Echoes         int             `json:"echoes" default:"3" min:"1" max:"20" doc:"How many requests an icmp target is sent in each collection, one after the other."`
	Concurrency    int             `json:"concurrency" default:"8" min:"1" max:"64" doc:"How many targets are asked at the same time."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for servers with a private authority."`
}

// target is one thing to ask.
type target struct {
	label    string // as the operator wrote it, without a query
	scheme   string
	host     string              // for TLS and HTTP
	address  string              // host:port
	path     string              // with the query
	question dnsmessage.Question // of dns
}

var defaultPorts = map[string]int{"http": 80, "https": 443, "tcp": 0, "tls": 443, "icmp": anyPort, "dns": 53}

// anyPort stands where ICMP has none: a name is resolved by opening a socket to it, through which nothing is sent.
const anyPort = 9

func parseTarget(text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q is not a target such as tcp://192.0.2.1:22 or https://example.org/", text)
	}
	port, known := defaultPorts[u.Scheme]
	switch {
	case !known:
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q: the scheme must be tcp, tls, http, https, icmp or dns", text)
	case u.User != nil || u.Fragment != "":
		return target{}, sdk.Errorf(sdk.InvalidConfig, "a target has neither a login nor a fragment")
	case (u.Scheme == "tcp" || u.Scheme == "tls") && (u.Path != "" || u.RawQuery != ""):
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q: a %s target ends with the port", text, u.Scheme)
	case u.Scheme == "icmp" && (u.Path != "" || u.RawQuery != "" || u.Port() != ""):
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q: an icmp target is icmp:// and a host", text)
	}
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			port = 0
		}
	}
	if port < 1 || port > 65535 {
		return target{}, sdk.Errorf(sdk.InvalidConfig, "%q needs a port between 1 and 65535", text)
	}
	out := target{scheme: u.Scheme, host: u.Hostname(), address: net.JoinHostPort(u.Hostname(), strconv.Itoa(port)), path: u.RequestURI()}
	if u.Scheme == "dns" {
		if out.question, err = parseQuestion(u); err != nil {
			return target{}, err
		}
		out.label = u.String()
		return out, nil
	}
	u.RawQuery = "" // it may hold a secret
	out.label = u.String()
	return out, nil
}

func (c *Config) validate() error {
	_, err := c.targets()
	if err != nil {
		return err
	}
	_, err = trust.Config("", c.CACertificates)
	return err
}

func (c *Config) targets() ([]target, error) {
	var out []target
	for i, text := range c.Targets {
		t, err := parseTarget(text)
		if err != nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "targets[%d]: %w", i, err)
		}
		if slices.ContainsFunc(out, func(o target) bool { return o.label == t.label }) {
			return nil, sdk.Errorf(sdk.InvalidConfig, "targets[%d]: %s is there twice", i, t.label)
		}
		out = append(out, t)
	}
	return out, nil
}
