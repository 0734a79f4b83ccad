// Package email is the notifier picket/email: what goes in is a notice, what leaves is one mail with a plain and an HTML
// part over SMTP, and what comes out is the mail's Message-ID, which is the same for each retry of that notice.
package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/email",
		Kind:    sdk.KindNotifier,
		Summary: "Sends notices as e-mail through an SMTP server.",
		New:     func() sdk.Instance { return New() },
	})
}

// Notifier sends through one server.
type Notifier struct {
	config Config
	host   sdk.Host
	tls    *tls.Config
}

// New returns a notifier that has not been started.
func New() *Notifier { return &Notifier{} }

// Config implements sdk.Instance.
func (n *Notifier) Config() any { return &n.config }

// Validate implements sdk.Validator.
func (n *Notifier) Validate() error { return n.config.validate() }

// Start implements sdk.Starter.
func (n *Notifier) Start(_ context.Context, host sdk.Host) error {
	settings, err := trust.Config(n.config.Host, n.config.CACertificates)
	if err != nil {
		return err
	}
	n.host, n.tls = host, settings
	return nil
}

// Notify sends one mail over a connection of its own.
func (n *Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	if n.host == nil {
		return sdk.Receipt{}, sdk.Errorf(sdk.Internal, "Notify was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	message, err := n.config.message(notice, n.host.Now())
	if err != nil {
		return sdk.Receipt{}, err
	}
	conn := &connection{dial: n.host.Dial, delivery: ctx}
	defer conn.close()
	client, err := n.client(conn)
	if err != nil {
		return sdk.Receipt{}, sdk.Errorf(sdk.InvalidConfig, "prepare for %s: %w", n.config.Host, err)
	}
	server, err := client.DialToSMTPClientWithContext(ctx)
	if err == nil {
		err = send(server, message)
	}
	if err != nil {
		return sdk.Receipt{}, n.explain(ctx, err)
	}
	return sdk.Receipt{ForeignID: message.GetMessageID()}, nil
}

// send hands over one mail and returns the moment that the server has it. The library would say RSET and QUIT first and wait for both
// answers: whoever is killed meanwhile does not know that the mail is gone, and sends it again.
func send(server *smtp.Client, message *gomail.Msg) error {
	from, err := message.GetSender(false)
	if err != nil {
		return err
	}
	to, err := message.GetRecipients()
	if err != nil {
		return err
	}
	if err := server.Mail(from); err != nil {
		return fmt.Errorf("from %s: %w", from, err)
	}
	var refused error
	for _, address := range to {
		if err := server.Rcpt(address); err != nil {
			refused = errors.Join(refused, fmt.Errorf("to %s: %w", address, err))
		}
	}
	if refused != nil {
		return refused
	}
	text, err := server.Data()
	if err != nil {
		return err
	}
	if _, err := message.WriteTo(text); err != nil {
		return err
	}
	if err := text.Close(); err != nil {
		return err
	}
	_, _ = server.Text.Cmd("QUIT") // a goodbye; nothing hangs on its answer
	return nil
}

func (n *Notifier) client(conn *connection) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(n.config.Port),
		gomail.WithTimeout(time.Duration(n.config.Timeout)),
		gomail.WithTLSConfig(n.tls),
		gomail.WithDialContextFunc(conn.open),
		gomail.WithoutNoop(),
		gomail.WithoutSMTPUTF8(), // addresses are ASCII; a later server without it would send the mail back
	}
	if n.config.HELO != "" {
		options = append(options, gomail.WithHELO(n.config.HELO))
	}
	switch n.config.TLS {
	case "starttls":
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case "tls":
		// The library leaves TLS from the first byte to whoever dials. Opportunistic, because with that it looks
		// whether the connection is encrypted already, and only then offers the password.
		conn.tls = n.tls
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if n.config.Username != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(n.config.Username), gomail.WithPassword(n.config.Password))
	}
	return gomail.NewClient(n.config.Host, options...)
}

// connection opens the one connection of a delivery through the host and closes it when the delivery is over: the
// library keeps it open after a failed handshake or login, and does not look at the context once it is connected.
type connection struct {
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	delivery context.Context // its end closes the connection
	tls      *tls.Config     // set when TLS begins with the first byte
	conn     net.Conn
	unwatch  func() bool
}

// open is called once. Its context is that of connecting, and over when that is done.
func (c *connection) open(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.conn, c.unwatch = conn, context.AfterFunc(c.delivery, func() { conn.Close() })
	if c.tls == nil {
		return conn, nil
	}
	secured := tls.Client(conn, c.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secured, nil
}

func (c *connection) close() {
	if c.conn != nil {
		c.unwatch()
		c.conn.Close()
	}
}
