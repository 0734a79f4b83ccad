package promql

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/value"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// Metadata says what a metric is.
type Metadata struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// Metadata lists what is known of the tenant's metrics by their name: of one, or of all. A limit of 0 is none.
func (e *Engine) Metadata(ctx context.Context, tenant, metric string, limit int) (map[string][]Metadata, error) {
	notes, err := e.cfg.Notes(ctx, tenant)
	if err != nil {
		return nil, err
	}
	table := e.names.of(tenant)
	out := map[string][]Metadata{}
	names := table.names
	if metric != "" {
		names = table.find(metric)
		for _, part := range histogramParts {
			names = append(names[:len(names):len(names)], table.find(metric+"_"+part)...)
		}
	}
	for _, name := range names {
		for _, s := range table.shapes[name] {
			m := Metadata{Type: string(s.Type), Help: help(name, s), Unit: s.Unit}
			note, of := noteOn(notes, name, s)
			if note.Type != "" {
				m = Metadata{Type: note.Type, Help: cmp.Or(note.Help, m.Help), Unit: cmp.Or(note.Unit, m.Unit)}
			}
			if limit > 0 && len(out) == limit && out[of] == nil {
				continue
			}
			if !slices.Contains(out[of], m) {
				out[of] = append(out[of], m)
			}
		}
	}
	return out, nil
}

// noteOn finds the note on a metric, and the name of what it is on: that of the histogram or summary of which it is a part.
func noteOn(notes map[string]store.MetricNote, name string, s store.MetricShape) (store.MetricNote, string) {
	if note := notes[s.Name]; note.Type != "" {
		return note, name
	}
	if base, _, last := cutLast(s.Name); slices.Contains(histogramParts, last) {
		if note := notes[base]; note.Type == "histogram" || note.Type == "summary" {
			return note, strings.TrimSuffix(name, "_"+last)
		}
	}
	return store.MetricNote{}, name
}

// help names the metric as its source did, when that is not the name it has here.
func help(name string, s store.MetricShape) string {
	if name == s.Name {
		return ""
	}
	return "OpenTelemetry: " + s.Name
}

// exportAge is how old a last value may be for an export. It is what Prometheus takes for the end of a series too.
const exportAge = 5 * 60 * 1000

// exported is a line of an export.
type exported struct {
	labels string
	value  float64
}

// Export writes the last values of all the tenant's series as text that Prometheus scrapes. A series that was not heard
// of for five minutes, or was said to have ended, is left out.
func (e *Engine) Export(ctx context.Context, tenant string, w io.Writer) error {
	book, err := e.agents.of(ctx, tenant)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	table, since := e.names.of(tenant), e.cfg.Now().UnixMilli()-exportAge
	var p pairs
	var line []byte
	notes, err := e.cfg.Notes(ctx, tenant)
	if err != nil {
		return err
	}
	for _, f := range table.families(notes) {
		if err := ctx.Err(); err != nil {
			return err
		}
		told := false
		for _, name := range f.members {
			var list []exported
			for _, shape := range table.shapes[name] {
				var batch []store.KnownSeries
				e.cfg.Samples.EachSeries(tenant, shape, func(k store.KnownSeries) {
					if k.LastAt >= since && !value.IsStaleNaN(k.LastValue) {
						batch = append(batch, k)
					}
				})
				for _, k := range batch {
					p.fill(name, k.Labels, book.sender(k.Agent), store.OwnPush(k.Agent))
					line = appendLabels(line[:0], &p)
					list = append(list, exported{string(line), k.LastValue})
				}
			}
			// The same series twice would make the whole scrape invalid.
			slices.SortStableFunc(list, func(a, b exported) int { return cmp.Compare(a.labels, b.labels) })
			list = slices.CompactFunc(list, func(a, b exported) bool { return a.labels == b.labels })
			if len(list) > 0 && !told {
				told = true
				line = append(line[:0], "# HELP "+f.name+" "+helpEscaper.Replace(f.help)+"\n# TYPE "+f.name+" "+f.kind+"\n"...)
				out.Write(line) //nolint:errcheck // kept by the writer until Flush
			}
			for _, x := range list {
				line = append(append(line[:0], name...), x.labels...)
				line = append(strconv.AppendFloat(append(line, ' '), x.value, 'g', -1, 64), '\n')
				out.Write(line) //nolint:errcheck // kept by the writer until Flush
			}
		}
	}
	return out.Flush()
}

// family is what stands under one TYPE line: one metric, or the three of a histogram.
type family struct {
	name, kind, help string
	members          []string
}

func (t *nameTable) families(notes map[string]store.MetricNote) []family {
	var list []family
	at := map[string]int{}
	for _, name := range t.names {
		shape := t.shapes[name][0]
		note, of := noteOn(notes, name, shape)
		f := family{name: of, kind: "gauge", help: cmp.Or(note.Help, help(name, shape), name)}
		if shape.Type == sdk.Counter {
			f.kind = "untyped"
			if strings.HasSuffix(name, "_total") {
				f.kind = "counter"
			}
		}
		f.kind = cmp.Or(note.Type, f.kind)
		if base, _, last := cutLast(name); slices.Contains(histogramParts, last) && t.shapes[base+"_bucket"] != nil {
			f.name, f.kind = base, "histogram"
		}
		i, known := at[f.name]
		if !known {
			i = len(list)
			at[f.name] = i
			list = append(list, f)
		}
		list[i].members = append(list[i].members, name)
	}
	return list
}

var (
	labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

func appendLabels(b []byte, p *pairs) []byte {
	open := byte('{')
	for _, l := range p.list {
		if l.Name == "__name__" {
			continue
		}
		b = append(append(append(append(b, open), l.Name...), `="`...), labelEscaper.Replace(l.Value)...)
		b, open = append(b, '"'), ','
	}
	if open == ',' {
		b = append(b, '}')
	}
	return b
}
