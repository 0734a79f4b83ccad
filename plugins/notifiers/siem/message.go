package siem

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
)

// levels are syslog's, from 0 (emergency) to 7 (debug); scores are those of the Common Event Format, up to 10.
var (
	levels = map[sdk.Severity]int{sdk.SeverityCritical: 2, sdk.SeverityHigh: 3, sdk.SeverityMedium: 4, sdk.SeverityLow: 5, sdk.SeverityInfo: 6}
	scores = map[sdk.Severity]int{sdk.SeverityCritical: 10, sdk.SeverityHigh: 8, sdk.SeverityMedium: 5, sdk.SeverityLow: 3, sdk.SeverityInfo: 1}
)

const maxText = 1024 // so that a datagram stays below what every receiver takes (RFC 5426, 3.2)

// message is one syslog message without framing. Line ends would begin a forged one, so no control character survives.
func (c *Config) message(n sdk.Notice, now time.Time) string {
	level, known := levels[n.Severity]
	if !known || n.Event == tell.Resolved {
		level = 5
	}
	if !n.Time.IsZero() {
		now = n.Time
	}
	body := c.text(n)
	if c.Format == "cef" {
		body = cef(n)
	}
	header := "<" + strconv.Itoa(c.Facility*8+level) + ">1 " + now.UTC().Format("2006-01-02T15:04:05.000Z") + " " + c.Hostname + " picket - " + kind(n) + " - "
	return header + body
}

// kind is the message's MSGID.
func kind(n sdk.Notice) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, tell.Clip(n.Event, 32))
}

func (c *Config) text(n sdk.Notice) string {
	out := plain(tell.Title(n))
	if n.Text != "" {
		out += ": " + plain(n.Text)
	}
	for _, f := range tell.Facts(n) {
		out += " " + strings.ToLower(f.Name) + "=" + strconv.Quote(plain(f.Value))
	}
	return out
}

func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, tell.Clip(strings.ToValidUTF8(text, "?"), maxText))
}

var (
	escapeHeader    = strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	escapeExtension = strings.NewReplacer(`\`, `\\`, `=`, `\=`)
)

// cef is CEF:0|vendor|product|version|signature|name|severity|extension.
func cef(n sdk.Notice) string {
	rule, out := "notice", ""
	add := func(key, value string) {
		if value != "" {
			out += " " + key + "=" + escapeExtension.Replace(plain(value))
		}
	}
	if a := n.Alert; a != nil {
		if a.Detector != "" || a.Rule != "" {
			rule = a.Detector + "/" + a.Rule
		}
		endpoint(add, "src", "spt", "shost", a.Src)
		endpoint(add, "dst", "dpt", "dhost", a.Dst)
		if len(a.Techniques) > 0 {
			add("cs1Label", "ATT&CK")
			add("cs1", strings.Join(a.Techniques, ","))
		}
	}
	add("externalId", n.AlertID)
	add("request", n.URL)
	add("outcome", n.Event)
	if !n.Time.IsZero() {
		add("rt", strconv.FormatInt(n.Time.UnixMilli(), 10))
	}
	add("msg", n.Text)
	header := []string{"CEF:0", "Picket", "Picket", "1", rule, tell.Title(n), strconv.Itoa(scores[n.Severity])}
	for i := range header {
		header[i] = escapeHeader.Replace(plain(header[i]))
	}
	return strings.Join(header, "|") + "|" + strings.TrimPrefix(out, " ")
}

// endpoint writes an address, an address with its port, or a name.
func endpoint(add func(key, value string), address, port, name, text string) {
	if a, err := netip.ParseAddr(text); err == nil {
		add(address, a.String())
	} else if a, err := netip.ParseAddrPort(text); err == nil {
		add(address, a.Addr().String())
		add(port, strconv.Itoa(int(a.Port())))
	} else {
		add(name, text)
	}
}
