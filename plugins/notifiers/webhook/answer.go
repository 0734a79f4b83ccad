package webhook

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

const (
	maxResponse  = 64 << 10
	maxRedirects = 3
	maxForeignID = 256
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
	return rest.Verdict(r.Request.URL.Host, code, r.Header, body, now)
}

func redirectHost(r *http.Response) string {
	if to, err := r.Location(); err == nil && to.Host != "" {
		return to.Scheme + "://" + to.Host
	}
	return "nowhere"
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
