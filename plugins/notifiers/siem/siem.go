// Package siem is the notifier picket/siem: what goes in is a notice, what leaves is one syslog message (RFC 5424) over
// UDP, TCP or TLS, in plain words or in the Common Event Format that security systems read.
package siem

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return sdk.Plugin{ID: "picket/siem", Kind: sdk.KindNotifier, Summary: "Sends notices to a syslog server, as text or in the Common Event Format.", New: func() sdk.Instance { return &Notifier{} }}
}

// Config is what an operator sets.
type Config struct {
	Server         string          `json:"server" required:"true" format:"hostport" doc:"The syslog server, for example 192.0.2.14:514."`
	Transport      string          `json:"transport" enum:"tcp,udp,tls" default:"tcp" doc:"How messages travel; udp loses what does not arrive."`
	Format         string          `json:"format" enum:"text,cef" default:"text" doc:"Plain words, or the Common Event Format, version 0."`
	Facility       int             `json:"facility" default:"13" min:"0" max:"23" doc:"Facility number of the messages; 13 is log audit."`
	Hostname       string          `json:"hostname" default:"picket" max:"255" doc:"Name of the machine in the messages."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form that the server's must descend from; needed for tls."`
	Timeout        config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one delivery may take."`
}

// Notifier writes to one server.
type Notifier struct {
	config Config
	host   sdk.Host
}

// Config implements sdk.Instance.
func (n *Notifier) Config() any { return &n.config }

// Validate checks what tags cannot say.
func (n *Notifier) Validate() error {
	if strings.ContainsFunc(n.config.Hostname, func(r rune) bool { return r <= ' ' || r > '~' }) || n.config.Hostname == "" {
		return sdk.Errorf(sdk.InvalidConfig, "hostname: %q has characters that a syslog message cannot carry there", n.config.Hostname)
	}
	if n.config.Transport == "tls" && !x509.NewCertPool().AppendCertsFromPEM([]byte(n.config.CACertificates)) {
		return sdk.Errorf(sdk.InvalidConfig, "ca_certificates: tls needs the certificate of the server's authority, in PEM form")
	}
	return nil
}

// Start implements sdk.Starter.
func (n *Notifier) Start(_ context.Context, host sdk.Host) error {
	n.host = host
	return nil
}

// Notify implements sdk.Notifier. Syslog has no answer: what the network took counts as delivered.
func (n *Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	if err := n.send(ctx, n.config.message(notice, n.host.Now())); err != nil {
		return sdk.Receipt{}, rest.Unreachable(n.config.Server, err)
	}
	return sdk.Receipt{}, nil
}

func (n *Notifier) send(ctx context.Context, message string) error {
	network := n.config.Transport
	if network == "tls" {
		network = "tcp"
	}
	conn, err := n.host.Dial(ctx, network, n.config.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	if n.config.Transport == "tls" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(n.config.CACertificates))
		name, _, err := net.SplitHostPort(n.config.Server)
		if err != nil {
			return err
		}
		conn = tls.Client(conn, &tls.Config{ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12, Time: n.host.Now})
	}
	if network != "udp" {
		message = strconv.Itoa(len(message)) + " " + message // octet counting, RFC 6587
	}
	if _, err := conn.Write([]byte(message)); err != nil {
		return err
	}
	return conn.Close()
}
