// Package redis is the collector picket/redis: what goes in is what a Redis server answers to INFO, what comes out are
// samples of its clients, commands, memory, keys and replication.
package redis

import (
	"context"
	"net"
	"time"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/redis",
		Kind:    sdk.KindCollector,
		Summary: "Measures a Redis or Valkey server by what it says of itself.",
		New:     func() sdk.Instance { return New() },
	}
}

// Config is what an operator sets.
type Config struct {
	Server         string          `json:"server" default:"127.0.0.1:6379" doc:"The server as host:port."`
	User           string          `json:"user" doc:"Name to log in with; empty means the default user."`
	Password       string          `json:"password" secret:"true" doc:"Password to log in with; empty means no login."`
	TLS            bool            `json:"tls" default:"false" doc:"Speak TLS; the server's certificate is verified."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for servers with a private authority."`
	Timeout        config.Duration `json:"timeout" default:"5s" min:"100ms" max:"1m" doc:"How long the server may take to answer."`
}

// Collector asks one server.
type Collector struct {
	config Config
	host   sdk.Host
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error {
	if host, port, err := net.SplitHostPort(c.config.Server); err != nil || host == "" || port == "" {
		return sdk.Errorf(sdk.InvalidConfig, "server: %q is not host:port", c.config.Server)
	}
	if c.config.User != "" && c.config.Password == "" {
		return sdk.Errorf(sdk.InvalidConfig, "user: a login needs a password")
	}
	_, err := trust.Config("", c.config.CACertificates)
	return err
}

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	return nil
}

// Collect asks the server once, over a connection of its own: one that is kept would be one more client all the time.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.config.Timeout))
	defer cancel()
	text, err := c.ask(ctx)
	if err != nil {
		return err
	}
	address, port, _ := net.SplitHostPort(c.config.Server) // checked by Validate
	out := measure.Samples{Time: c.host.Now(), Common: map[string]string{"server.address": address, "server.port": port}}
	if !parse(text).samples(&out) {
		return sdk.Errorf(sdk.Downstream, "%s says nothing in answer to INFO that a Redis server would say", c.config.Server)
	}
	return out.Emit(sink)
}
