// Package rest talks JSON with the HTTP interfaces of other systems: what goes in is a question with its body, what
// comes out is the decoded answer, or an error whose class says whether asking again can help.
package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/picketwatch/picket/sdk"
)

const (
	// MaxRetryAfter is the longest time that a server may ask for before the next try.
	MaxRetryAfter = 24 * time.Hour

	maxQuote = 200 // characters of an answer that go into an error

	httpTime = "Mon, 02 Jan 2006 15:04:05 GMT" // as RFC 9110, 5.6.7 has it
)

// Client asks one server through the host, which checks every connection against the grants.
type Client struct {
	Host   sdk.Host
	Base   string              // scheme, host and the path that all questions have in common
	Header map[string][]string // of every question: the login, mostly
	Roots  string              // PEM; "" trusts the system's authorities
}

// Do asks once. Without a body nothing is sent, and without into the answer's body is not read. A status other than 2xx
// is an error; it quotes the answer but never the path, in which some servers keep a secret.
func (c *Client) Do(ctx context.Context, method, path string, body, into any) (sdk.Response, error) {
	q := sdk.Request{Method: method, URL: c.Base + path, Header: map[string][]string{
		"Accept": {"application/json"}, "User-Agent": {"Picket/1"},
	}, Roots: c.Roots}
	for name, values := range c.Header {
		q.Header[name] = values
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return sdk.Response{}, sdk.Errorf(sdk.Internal, "encode the request: %w", err)
		}
		q.Body = text
		q.Header["Content-Type"] = []string{"application/json"}
	}
	r, err := c.Host.Fetch(ctx, q)
	if err != nil {
		return r, Unreachable(c.Name(), err)
	}
	if err := Verdict(c.Name(), r.Status, r.Header, r.Body, c.Host.Now()); err != nil {
		return r, err
	}
	if into == nil {
		return r, nil
	}
	if err := json.Unmarshal(r.Body, into); err != nil {
		return r, sdk.Errorf(sdk.Downstream, "%s answered %d with something else than the JSON that was expected: %w%s", c.Name(), r.Status, err, Quote(r.Body))
	}
	return r, nil
}

// Name is the server as errors name it.
func (c *Client) Name() string {
	if u, err := url.Parse(c.Base); err == nil && u.Host != "" {
		return u.Host
	}
	return "the server"
}

// Unreachable is what becomes of an error before there was an answer: without the URL, in which some servers keep a
// secret, and temporary unless it says something else.
func Unreachable(server string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	class := sdk.Temporary
	var classed *sdk.Error
	if errors.As(err, &classed) {
		class = classed.Class
	}
	return sdk.Errorf(class, "ask %s: %w", server, err)
}

// Base returns the URL without a slash at its end, for Client.Base, or says what is wrong with it.
func Base(field, text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", sdk.Errorf(sdk.InvalidConfig, "%s: it cannot be read", field)
	case u.Scheme != "https" && u.Scheme != "http":
		return "", sdk.Errorf(sdk.InvalidConfig, "%s: the scheme must be https or http, not %q", field, u.Scheme)
	case u.Hostname() == "":
		return "", sdk.Errorf(sdk.InvalidConfig, "%s: it names no host", field)
	case u.User != nil:
		return "", sdk.Errorf(sdk.InvalidConfig, "%s: put the login into its own fields, not into the URL", field)
	case u.RawQuery != "" || u.Fragment != "":
		return "", sdk.Errorf(sdk.InvalidConfig, "%s: it must end with the path", field)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// Verdict turns the status of an answer into an error, nil for 2xx.
func Verdict(server string, status int, header map[string][]string, body []byte, now time.Time) error {
	if status >= 200 && status < 300 {
		return nil
	}
	err := &sdk.Error{Class: sdk.Downstream, Message: server + " answered " + strconv.Itoa(status) + meaning(status) + Quote(body)}
	if Temporary(status) {
		err.Class, err.RetryAfter = sdk.Temporary, RetryAfter(textproto.MIMEHeader(header).Get("Retry-After"), now)
	}
	return err
}

// meanings are the names of the statuses that a notifier meets. The package stays without net/http, which would make a
// guest four times as large.
var meanings = map[int]string{
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout",
	409: "Conflict", 410: "Gone", 413: "Content Too Large", 415: "Unsupported Media Type", 422: "Unprocessable Content",
	429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}

func meaning(status int) string {
	if text := meanings[status]; text != "" {
		return " " + text
	}
	return ""
}

// Temporary lists what passes by itself: the server is slow, busy, limiting or broken. Other refusals (400, 401, 403,
// 404, 410, ...) stay until someone changes something.
func Temporary(status int) bool {
	switch status {
	case 408, 425, 429: // Request Timeout, Too Early, Too Many Requests
		return true
	case 501, 505: // Not Implemented, HTTP Version Not Supported
		return false
	}
	return status >= 500
}

// RetryAfter reads seconds or a date (RFC 9110, 10.2.3). What cannot be read, and what lies in the past, means that the
// host decides.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, MaxRetryAfter)
	}
	if at, err := time.Parse(httpTime, value); err == nil {
		return min(max(0, at.Sub(now)), MaxRetryAfter)
	}
	return 0
}

// Quote returns the beginning of an answer for an error message, on one line and without control characters.
func Quote(body []byte) string {
	text := strings.Join(strings.Fields(strings.Map(printable, strings.ToValidUTF8(string(body), ""))), " ")
	if text == "" {
		return ""
	}
	if runes := []rune(text); len(runes) > maxQuote {
		text = string(runes[:maxQuote]) + "…"
	}
	return ": " + text
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}
