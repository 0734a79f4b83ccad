package prometheus

import (
	"errors"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/sdk"
)

// What a series may have at most; the server stores no others.
const (
	maxName   = 200
	maxText   = 1024
	maxLabels = 28 // of its own, beside those that say where it is from
	maxLines  = 500_000
	maxHeld   = 50_000 // series of all pages together
)

// page is one that was read.
type page struct {
	series []series // that are wanted
	lines  int      // with a value
	unfit  int      // that are wanted but cannot be stored
	over   int      // that are wanted, of which there are more than may be told
}

// held counts the series of all pages of a collection, so that many long pages do not fill the memory together.
type held struct{ series atomic.Int64 }

// add reports whether there is room for one more.
func (h *held) add() bool {
	if h.series.Add(1) > maxHeld {
		h.series.Add(-1)
		return false
	}
	return true
}

type series struct {
	metric  string
	labels  []string // name, value, name, value
	counter bool
	value   float64
}

func (s series) add(out *measure.Samples) {
	if s.counter {
		out.Counter(s.metric, "", s.value, s.labels...)
	} else {
		out.Gauge(s.metric, "", s.value, s.labels...)
	}
}

// read takes a page apart, and keeps at most so many series of it. Times that it states are not looked at: a sample is of the time at which it was fetched.
func read(body []byte, contentType string, wanted func(metric string) bool, most int, together *held) (out page, err error) {
	parser, err := textparse.New(body, contentType, labels.NewSymbolTable(), textparse.ParserOptions{FallbackContentType: "text/plain", OpenMetricsSkipCTSeries: true})
	if parser == nil {
		return page{}, sdk.Errorf(sdk.Downstream, "the page is of the type %.80q: %w", contentType, err)
	}
	defer func() {
		if err != nil { // nothing is told of half a page
			together.series.Add(-int64(len(out.series)))
			out = page{}
		}
	}()
	types := map[string]model.MetricType{}
	for {
		entry, err := parser.Next()
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, sdk.Errorf(sdk.Downstream, "the page is not in the text format of Prometheus: %w", err)
		case entry == textparse.EntryType:
			name, kind := parser.Type()
			types[string(name)] = kind
			continue
		case entry != textparse.EntrySeries:
			continue
		}
		if out.lines++; out.lines > maxLines {
			return out, sdk.Errorf(sdk.Downstream, "the page has more than %d lines", maxLines)
		}
		var all labels.Labels
		parser.Labels(&all)
		metric := all.Get(model.MetricNameLabel)
		if !wanted(metric) {
			continue
		}
		if len(out.series) == most || !together.add() {
			out.over++
			continue
		}
		_, _, value := parser.Series()
		s, fit := newSeries(metric, all, value)
		if !fit {
			together.series.Add(-1)
			out.unfit++
			continue
		}
		s.counter = counts(types, metric)
		out.series = append(out.series, s)
	}
}

// newSeries copies what the parser will overwrite.
func newSeries(metric string, all labels.Labels, value float64) (series, bool) {
	s := series{metric: strings.Clone(metric), value: value}
	fit := storable(metric) && !math.IsNaN(value) && !math.IsInf(value, 0) && all.Len()-1 <= maxLabels
	all.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel || l.Value == "" {
			return
		}
		if l.Name == "service.name" || l.Name == "service.instance.id" || !storable(l.Name) || len(l.Value) > maxText || !utf8.ValidString(l.Value) {
			fit = false
		}
		s.labels = append(s.labels, strings.Clone(l.Name), strings.Clone(l.Value))
	})
	return s, fit
}

// storable reports whether a name can be one of the server's.
func storable(name string) bool {
	if name == "" || len(name) > maxName || !letter(name[0]) {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return r >= utf8.RuneSelf || !letter(byte(r)) && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	}) < 0
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// counts reports whether a series only grows. A type is stated of a whole family, whose series have endings.
func counts(types map[string]model.MetricType, metric string) bool {
	if types[metric] == model.MetricTypeCounter {
		return true
	}
	for _, ending := range []string{"_total", "_bucket", "_count", "_sum"} {
		family, cut := strings.CutSuffix(metric, ending)
		if !cut {
			continue
		}
		switch types[family] {
		case model.MetricTypeCounter:
			return ending == "_total"
		case model.MetricTypeHistogram:
			return ending != "_total"
		case model.MetricTypeSummary:
			return ending == "_count" || ending == "_sum"
		}
	}
	return false
}
