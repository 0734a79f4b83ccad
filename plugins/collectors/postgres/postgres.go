// Package postgres is the collector picket/postgres: what goes in are the statistics views of a PostgreSQL server, what
// comes out are samples of its connections, and of the work and size of each of its databases.
package postgres

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/postgres",
		Kind:    sdk.KindCollector,
		Summary: "Measures a PostgreSQL server and its databases by its statistics views.",
		New:     func() sdk.Instance { return New() },
	}
}

// Config is what an operator sets.
type Config struct {
	Server         string          `json:"server" default:"127.0.0.1:5432" doc:"The server as host:port."`
	User           string          `json:"user" required:"true" doc:"Role to log in as; member of pg_monitor is enough."`
	Password       string          `json:"password" secret:"true" doc:"Password of the role."`
	Database       string          `json:"database" default:"postgres" doc:"Database to connect to; all databases are measured from there."`
	TLS            bool            `json:"tls" default:"false" doc:"Speak TLS; the server's certificate is verified."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for servers with a private authority."`
	Timeout        config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long the server may take to answer."`
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
	_, _, err := c.address()
	if err != nil {
		return err
	}
	_, err = trust.Config("", c.config.CACertificates)
	return err
}

func (c *Collector) address() (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(c.config.Server)
	n, bad := strconv.ParseUint(text, 10, 16)
	if err != nil || bad != nil || host == "" || n == 0 {
		return "", 0, sdk.Errorf(sdk.InvalidConfig, "server: %q is not host:port", c.config.Server)
	}
	return host, uint16(n), nil
}

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	return nil
}

// Collect asks the server once, over a connection of its own.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.config.Timeout))
	defer cancel()
	tables, err := c.ask(ctx)
	if err != nil {
		return c.failed(err)
	}
	host, port, err := c.address()
	if err != nil {
		return err
	}
	out := measure.Samples{Time: c.host.Now(), Common: map[string]string{"server.address": host, "server.port": strconv.Itoa(int(port))}}
	samples(&out, tables)
	return out.Emit(sink)
}

// maxMessage is the longest message of a server that is read: a row of its statistics.
const maxMessage = 1 << 20

// ask sends all questions in one go.
func (c *Collector) ask(ctx context.Context) ([]*pgconn.Result, error) {
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, settings)
	if err != nil {
		return nil, err
	}
	defer func() {
		// The server is told, in a moment of its own, that nobody waits any more.
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(bye)
	}()
	conn.Frontend().SetMaxBodyLen(maxMessage)
	return conn.Exec(ctx, questions).ReadAll()
}

func (c *Collector) settings() (*pgconn.Config, error) {
	host, port, err := c.address()
	if err != nil {
		return nil, err
	}
	// All that the library would otherwise look for in the environment and in files is stated.
	out, err := pgconn.ParseConfig("host=localhost sslmode=disable passfile=/nonexistent servicefile=/nonexistent")
	if err != nil {
		return nil, sdk.Errorf(sdk.Internal, "the settings of the connection: %w", err)
	}
	out.Host, out.Port, out.User, out.Password, out.Database = host, port, c.config.User, c.config.Password, c.config.Database
	out.Fallbacks = nil
	out.DialFunc = c.host.Dial
	out.LookupFunc = func(_ context.Context, name string) ([]string, error) { return []string{name}, nil } // the host resolves
	out.RuntimeParams = map[string]string{
		"application_name": "picket", "default_transaction_read_only": "on",
		"statement_timeout": strconv.FormatInt(time.Duration(c.config.Timeout).Milliseconds(), 10),
	}
	if c.config.TLS {
		out.TLSConfig, err = trust.Config(host, c.config.CACertificates)
	}
	return out, err
}

// failed gives an error its class by the SQLSTATE of what the server said.
func (c *Collector) failed(err error) error {
	var known *sdk.Error
	var said *pgconn.PgError
	class := sdk.Temporary
	switch {
	case errors.As(err, &known):
		return sdk.Errorf(known.Class, "%s: %w", c.config.Server, known)
	case errors.As(err, &said):
		switch {
		case strings.HasPrefix(said.Code, "28"), strings.HasPrefix(said.Code, "3D"), said.Code == "42501": // the login, the database, a right
			class = sdk.InvalidConfig
		}
		return sdk.Errorf(class, "%s: %s (%s)", c.config.Server, strings.ToValidUTF8(said.Message, "?"), said.Code)
	}
	if of, ok := trust.Class(err); ok {
		class = of
	}
	return sdk.Errorf(class, "%s: %w", c.config.Server, err)
}
