package metricrule

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// advance moves what a rule held for by one look. over is what it holds for no more.
func advance(r store.MetricRule, before []store.RuleInstance, l look, now time.Time) (held, over []store.RuleInstance) {
	known := map[string]bool{}
	for _, x := range before {
		known[x.Instance] = true
		found, holds := l.found[x.Instance]
		missed, gone := l.missed[x.Instance]
		switch {
		case holds:
			x.Value, x.NoData = found.Value, false
		case gone || x.NoData && l.known != nil && !l.known[x.Instance]:
			if gone && !x.NoData && !x.Firing { // the data went before the rule had held for long enough
				x = missed
				x.Since = now
			}
			x.NoData, holds = true, true
		case x.Firing && l.stays != nil:
			holds = l.stays[x.Instance]
		}
		if holds {
			if outage := now.Sub(x.Held); !x.Firing && outage > max(5*time.Minute, 3*r.Every.Duration()) {
				x.Since = now // nobody knows whether it held in between
			}
			x.Held = now
		}
		switch {
		case holds && !x.Firing && now.Sub(x.Since) >= r.For.Duration():
			x.Firing, x.Fired = true, now
			held = append(held, x)
		case holds:
			held = append(held, x)
		case x.Firing && now.Sub(x.Held) < wait(r, x, l):
			held = append(held, x)
		default:
			over = append(over, x)
		}
	}
	for _, list := range []map[string]store.RuleInstance{l.found, l.missed} {
		for k, x := range list {
			if known[k] {
				continue
			}
			known[k] = true
			x.Since, x.Held = now, now
			if r.For == 0 {
				x.Firing, x.Fired = true, now
			}
			held = append(held, x)
		}
	}
	slices.SortFunc(held, func(a, b store.RuleInstance) int { return cmp.Compare(a.Instance, b.Instance) })
	return held, over
}

// wait is how long an alert outlasts what raised it: longer when the data are gone, for that says nothing about what they would be.
func wait(r store.MetricRule, x store.RuleInstance, l look) time.Duration {
	if l.known == nil || l.known[x.Instance] {
		return r.Keep.Duration()
	}
	if r.NoData == store.NoDataKeeps {
		return 365 * 24 * time.Hour
	}
	return max(r.Keep.Duration(), goneAfter)
}

// Summary is what a rule says of a series: its own words, with labels and the value in the places of {name} and {value}, and as a
// percentage in that of {value%}.
func Summary(r store.MetricRule, x store.RuleInstance) string {
	text := r.Summary
	if text == "" {
		who, what := subject(x.Labels)
		text = strings.TrimSpace(r.Title + ": " + strings.TrimSpace(who+" "+what))
	}
	var b strings.Builder
	for text != "" {
		before, rest, open := strings.Cut(text, "{")
		b.WriteString(before)
		name, after, closed := strings.Cut(rest, "}")
		if !open {
			break
		}
		if !closed {
			b.WriteString("{" + rest)
			break
		}
		text = after
		switch name {
		case "value":
			b.WriteString(figure(x.Value))
		case "value%":
			b.WriteString(figure(x.Value*100) + " %")
		default:
			b.WriteString(cmp.Or(x.Labels[name], "?"))
		}
	}
	if x.NoData {
		b.WriteString(" (it sends no more data)")
	}
	return b.String()
}

func figure(v float64) string {
	if v >= 1000 || v <= -1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
