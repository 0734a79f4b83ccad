package email

import (
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/picketwatch/picket/sdk"
)

var textTemplate = texttemplate.Must(texttemplate.New("text").Parse(`{{.Title}}
{{if .Text}}
{{.Text}}
{{end}}
{{range .Facts}}{{printf "%-12s" .Name}} {{.Value}}
{{end}}{{if .URL}}
{{.URL}}
{{end}}`))

// The HTML part needs nothing from outside: no image, no style sheet, no script.
var htmlTemplate = htmltemplate.Must(htmltemplate.New("html").Parse(`<!doctype html>
<html><head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body style="font-family:sans-serif;line-height:1.4">
<h2 style="font-size:1.2em">{{.Title}}</h2>
{{if .Text}}<p style="white-space:pre-wrap">{{.Text}}</p>
{{end}}<table style="border-collapse:collapse">
{{range .Facts}}<tr><th style="text-align:left;padding:2px 12px 2px 0;vertical-align:top">{{.Name}}</th><td>{{.Value}}</td></tr>
{{end}}</table>
{{if .URL}}<p><a href="{{.URL}}">Open in Picket</a></p>
{{end}}</body></html>
`))

// facts says what is known beside the text; what is not known has no line.
func facts(notice sdk.Notice) []fact {
	var out []fact
	add := func(name, value string) {
		if value = oneLine(value); value != "" {
			out = append(out, fact{name, value})
		}
	}
	add("Event", notice.Event)
	add("Severity", string(notice.Severity))
	add("Time", stamp(notice.Time))
	if a := notice.Alert; a != nil {
		add("Detector", strings.Trim(a.Detector+" "+a.Rule, " "))
		add("Risk", fmt.Sprintf("%d of 100, confidence %.0f %%", a.Risk, a.Confidence*100))
		add("Techniques", strings.Join(a.Techniques, ", "))
		add("Source", a.Src)
		add("Destination", a.Dst)
		add("First seen", stamp(a.Start))
		add("Last seen", stamp(a.End))
		add("Evidence", evidence(a))
	}
	return out
}

func evidence(a *sdk.Finding) string {
	var parts []string
	if n := len(a.Packets); n > 0 {
		parts = append(parts, fmt.Sprintf("%d packets, the first is number %d", n, a.Packets[0]))
	}
	if n := len(a.Flows); n > 0 {
		parts = append(parts, fmt.Sprintf("%d flows", n))
	}
	return strings.Join(parts, "; ")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
