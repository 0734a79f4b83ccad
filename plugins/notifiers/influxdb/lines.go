package influxdb

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/picketwatch/picket/sdk"
)

// lines writes each sample as a point: the metric is the measurement, the labels are its tags, the value is its field "value".
func lines(samples []sdk.Sample) []byte {
	var out []byte
	for _, s := range samples {
		name := measurement(s.Metric)
		if name == "" {
			continue
		}
		out = append(out, name...)
		for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
			k, v := tag(tagName(key)), tag(s.Labels[key])
			if k == "" || v == "" { // to InfluxDB an empty tag is none
				continue
			}
			out = append(out, ',')
			out = append(out, k...)
			out = append(out, '=')
			out = append(out, v...)
		}
		out = append(out, " value="...)
		out = strconv.AppendFloat(out, s.Value, 'g', -1, 64)
		out = append(out, ' ')
		out = strconv.AppendInt(out, s.Time.UnixMicro(), 10)
		out = append(out, '\n')
	}
	return out
}

var (
	escapeMeasurement = strings.NewReplacer(",", `\,`, " ", `\ `)
	escapeTag         = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `)
)

// measurement keeps a name from being a comment.
func measurement(text string) string {
	text = plain(text)
	if strings.HasPrefix(text, "#") {
		text = "_" + text
	}
	return escapeMeasurement.Replace(text)
}

// tagName keeps a tag from being what every point has already.
func tagName(name string) string {
	if name == "time" || name == "_field" || name == "_measurement" {
		return name + "_"
	}
	return name
}

func tag(text string) string { return escapeTag.Replace(plain(text)) }

// plain leaves out what the line protocol cannot say: a line's end inside a text, and a backslash before its end, which would hide
// the mark that follows.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	return strings.TrimRight(text, `\`)
}
