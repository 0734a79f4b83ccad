package webhook

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/picketwatch/picket/sdk"
)

const (
	maxResponse   = 64 << 10
	maxRedirects  = 3
	maxRetryAfter = 24 * time.Hour
	maxForeignID  = 256
	maxQuote      = 200 // characters of an answer that go into an error
)

// verdict turns the status of an answer into an error whose class says whether trying again can help; nil means
// delivered.
func verdict(r *http.Response, body []byte, now time.Time) error {
	code := r.StatusCode
	switch {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return sdk.Errorf(sdk.Downstream, "%s redirects to %s, which is not followed: set url to where it leads, if that is right",
			r.Request.URL.Host, redirectHost(r))
	}
	err := &sdk.Error{Class: sdk.Downstream, Message: r.Request.URL.Host + " answered " + r.Status + quote(body)}
	if temporary(code) {
		err.Class, err.RetryAfter = sdk.Temporary, retryAfter(r.Header.Get("Retry-After"), now)
	}
	return err
}

// temporary lists what passes by itself: the receiver is slow, busy, limiting or broken. Other refusals (400, 401, 403,
// 404, 410, ...) stay until someone changes something.
func temporary(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return code >= 500
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3). What cannot be read, and what lies in the past, means that the
// host decides.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter)
	}
	return 0
}

func redirectHost(r *http.Response) string {
	if to, err := r.Location(); err == nil && to.Host != "" {
		return to.Scheme + "://" + to.Host
	}
	return "nowhere"
}

// quote returns the beginning of an answer for an error message, on one line and without control characters.
func quote(body []byte) string {
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

// receipt takes the receiver's id from the answer's JSON, and its link from the Location header or the JSON.
func receipt(r *http.Response, body []byte) sdk.Receipt {
	var answer struct {
		ID  json.RawMessage `json:"id"`
		URL string          `json:"url"`
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" || strings.HasSuffix(kind, "+json") {
		_ = json.Unmarshal(bytes.TrimSpace(body), &answer) // an answer without an id is one too
	}
	out := sdk.Receipt{ForeignID: foreignID(answer.ID)}
	if link, err := r.Location(); err == nil {
		out.URL = webLink(link)
	} else if link, err := url.Parse(answer.URL); err == nil {
		out.URL = webLink(link)
	}
	return out
}

// foreignID accepts a text or a number.
func foreignID(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var n json.Number
		if json.Unmarshal(raw, &n) != nil {
			return ""
		}
		text = n.String()
	}
	if len(text) > maxForeignID || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return text
}

// webLink returns the link if it is one that a page may show.
func webLink(u *url.URL) string {
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return ""
	}
	return u.String()
}
