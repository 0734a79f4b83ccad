package email

import (
	"net/mail"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Host           string          `json:"host" required:"true" format:"host" doc:"Name or address of the SMTP server."`
	Port           int             `json:"port" default:"587" min:"1" max:"65535" doc:"Its port: usually 587 with starttls, 465 with tls, 25 with none."`
	TLS            string          `json:"tls" default:"starttls" enum:"starttls,tls,none" doc:"How the connection is encrypted: by STARTTLS (refused if the server does not offer it), from the first byte, or not at all."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for a server with a private one."`
	Username       string          `json:"username" doc:"Name to log in with; without it there is no login."`
	Password       string          `json:"password" secret:"true" doc:"Password to log in with."`
	From           string          `json:"from" required:"true" doc:"Sender, for example Picket <picket@example.org>."`
	To             []string        `json:"to" required:"true" max:"50" doc:"Recipients, each as name@example.org or Name <name@example.org>."`
	SubjectPrefix  string          `json:"subject_prefix" default:"[Picket]" max:"40" doc:"What every subject begins with."`
	HELO           string          `json:"helo" format:"host" doc:"Name by which this machine introduces itself; its host name when empty."`
	Timeout        config.Duration `json:"timeout" default:"30s" min:"1s" max:"5m" doc:"How long one delivery may take."`
}

func (c *Config) validate() error {
	if _, err := address("from", c.From); err != nil {
		return err
	}
	if _, err := c.recipients(); err != nil {
		return err
	}
	if (c.Username == "") != (c.Password == "") {
		return sdk.Errorf(sdk.InvalidConfig, "username and password: set both or neither")
	}
	if strings.ContainsFunc(c.SubjectPrefix, isControl) {
		return sdk.Errorf(sdk.InvalidConfig, "subject_prefix: it has control characters")
	}
	_, err := trust.Config(c.Host, c.CACertificates)
	return err
}

func (c *Config) recipients() ([]*mail.Address, error) {
	var out []*mail.Address
	for _, text := range c.To {
		a, err := address("to", text)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// address reads one address. The server may not speak SMTPUTF8, so its parts must be ASCII; the name need not.
func address(field, text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil {
		return nil, sdk.Errorf(sdk.InvalidConfig, "%s: %q is not an e-mail address such as name@example.org", field, text)
	}
	if strings.ContainsFunc(a.Address, func(r rune) bool { return r > 126 || isControl(r) }) || strings.ContainsFunc(a.Name, isControl) {
		return nil, sdk.Errorf(sdk.InvalidConfig, "%s: %q has characters that an address cannot carry", field, text)
	}
	return a, nil
}
