// Package request is the notifier picket/request: what goes in is a notice, what leaves is one HTTP request whose body the
// operator wrote as a template, for services that have no notifier of their own.
package request

import (
	"bytes"
	"encoding/json"
	"strings"
	"text/template"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return tell.Plugin("picket/request", "Sends an HTTP request that you write as a template.", func() tell.Service { return &Config{} })
}

// Config is what an operator sets.
type Config struct {
	URL            string            `json:"url" required:"true" format:"url" doc:"Where the request goes, https or http."`
	Method         string            `json:"method" enum:"POST,PUT,PATCH" default:"POST" doc:"Method of the request."`
	ContentType    string            `json:"content_type" default:"application/json" max:"100" doc:"Type of the body."`
	Body           string            `json:"body" default:"{{json .}}" max:"16384" doc:"Body as a Go template over the notice: {{.Title}}, {{.Severity}}, {{.Alert.Src}}; json quotes a value, clip N cuts one."`
	Authorization  string            `json:"authorization" secret:"true" doc:"Value of the Authorization header."`
	Headers        map[string]string `json:"headers" max:"32" doc:"Further headers of the request."`
	CACertificates string            `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's."`
	Wait           config.Duration   `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one delivery may take."`
}

// Timeout implements tell.Service.
func (c *Config) Timeout() time.Duration { return time.Duration(c.Wait) }

var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	},
	"clip":  func(most int, text string) string { return tell.Clip(text, max(most, 2)) },
	"upper": strings.ToUpper,
	"lower": strings.ToLower,
	"join":  func(separator string, list []string) string { return strings.Join(list, separator) },
}

// Validate checks what tags cannot say; the template meets its first notice in Start.
func (c *Config) Validate() error {
	if _, err := rest.Base("url", strings.SplitN(c.URL, "?", 2)[0]); err != nil {
		return err
	}
	for name, value := range c.Headers {
		if name == "" || strings.ContainsAny(name, " :\r\n\t") || strings.ContainsAny(value, "\r\n") || strings.EqualFold(name, "Authorization") {
			return sdk.Errorf(sdk.InvalidConfig, "headers: %q is not a header that can be set here", name)
		}
	}
	_, err := c.template()
	return err
}

func (c *Config) template() (*template.Template, error) {
	t, err := template.New("body").Funcs(functions).Parse(c.Body)
	if err != nil {
		return nil, sdk.Errorf(sdk.InvalidConfig, "body: %w", err)
	}
	return t, nil
}

// What others wrote is cut, so that a template that is good for one notice is good for all.
const (
	maxTitle = 1000
	maxText  = 8000
	maxBody  = 256 << 10
)

// bounded fails a template that writes without end.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxBody {
		return 0, sdk.Errorf(sdk.InvalidConfig, "it makes more than %d KiB", maxBody>>10)
	}
	return b.Buffer.Write(p)
}

// Message implements tell.Service. A notice without a finding gets an empty one, so that templates need no condition.
func (c *Config) Message(n sdk.Notice) (tell.Message, error) {
	t, err := c.template()
	if err != nil {
		return tell.Message{}, err
	}
	if n.Alert == nil {
		n.Alert = &sdk.Finding{}
	}
	n.Title, n.Text = tell.Clip(n.Title, maxTitle), tell.Clip(n.Text, maxText)
	var body bounded
	if err := t.Execute(&body, n); err != nil {
		return tell.Message{}, sdk.Errorf(sdk.InvalidConfig, "body: %w", err)
	}
	m := tell.Message{Method: c.Method, URL: c.URL, Body: body.Bytes(), Roots: c.CACertificates, Header: map[string][]string{"Content-Type": {c.ContentType}}}
	for name, value := range c.Headers {
		m.Header[name] = []string{value}
	}
	if c.Authorization != "" {
		m.Header["Authorization"] = []string{c.Authorization}
	}
	return m, nil
}

// Receipt implements tell.Service: every answer of status 2xx is one.
func (c *Config) Receipt(sdk.Notice, sdk.Response) (sdk.Receipt, error) { return sdk.Receipt{}, nil }
