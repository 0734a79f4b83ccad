package analyzecmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/sdk"
)

// report writes what was found in one capture.
type report interface {
	capture(name string, sum traffic.Summary, findings []sdk.Finding) error
}

func newReport(o options, out io.Writer) report {
	if o.json {
		return jsonReport{json.NewEncoder(out)}
	}
	return textReport{out}
}

// jsonReport writes one object per line. The fields of sdk.Finding are stable: others script against them.
type jsonReport struct{ enc *json.Encoder }

func (r jsonReport) capture(name string, _ traffic.Summary, findings []sdk.Finding) error {
	for _, f := range findings {
		line := struct {
			Capture string `json:"capture"`
			sdk.Finding
		}{name, f}
		if err := r.enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// textReport is for people: a headline per capture, then each finding with what it rests on.
type textReport struct{ out io.Writer }

func (r textReport) capture(name string, sum traffic.Summary, findings []sdk.Finding) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s", name, columns.Count(int(sum.Packets), "packet"), columns.Count(int(sum.Flows), "flow"))
	if sum.Packets > 0 {
		fmt.Fprintf(&b, ", %s, from %s", columns.Span(sum.Last.Sub(sum.First)), sum.First.Format("2006-01-02 15:04:05 MST"))
	}
	if n := sum.Undecoded(); n > 0 {
		fmt.Fprintf(&b, ", %s not decoded", columns.Count(int(n), "packet"))
	}
	if sum.Evicted > 0 {
		fmt.Fprintf(&b, ", %s closed early for lack of memory", columns.Count(int(sum.Evicted), "flow"))
	}
	b.WriteByte('\n')
	if len(sum.Apps) > 0 {
		fmt.Fprintf(&b, "  protocols: %s\n", protocols(sum.Apps))
	}
	switch {
	case sum.Packets == 0:
		b.WriteString("  no packet in it: nothing to judge\n")
	case len(findings) == 0:
		b.WriteString("  nothing found\n")
	}
	for i := range findings {
		writeFinding(&b, &findings[i], sum.First)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(r.out, b.String())
	return err
}

// protocols lists how many flows spoke what; flows without a payload are in none.
func protocols(list []app.Named) string {
	var parts []string
	for _, p := range list {
		name := p.Name
		if name == "" {
			name = "unknown"
		}
		parts = append(parts, name+" "+strconv.FormatUint(p.Flows, 10))
	}
	return strings.Join(parts, ", ")
}

func writeFinding(b *strings.Builder, f *sdk.Finding, first time.Time) {
	fmt.Fprintf(b, "\n  %-8s risk %-3d  %s\n", strings.ToUpper(string(f.Severity)), f.Risk, f.Summary)
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(b, "    %-11s %s\n", name, text)
		}
	}
	row("found by", f.Detector+", rule "+f.Rule+", confidence "+strconv.FormatFloat(f.Confidence, 'f', 2, 64))
	row("techniques", strings.Join(f.Techniques, ", "))
	row("from", f.Src)
	row("to", f.Dst)
	row("time", between(first, f.Start, f.End))
	row("packets", numbers(f.Packets))
	row("flows", flows(f.Flows))
}

// between is a span of time. It has its days unless both are that of the capture's first packet, which stands above it.
func between(first, start, end time.Time) string {
	const clock, day = "15:04:05.000", "2006-01-02"
	if d := first.Format(day); d == start.Format(day) && d == end.Format(day) {
		return start.Format(clock) + " to " + end.Format(clock+" MST")
	}
	return start.Format(day+" "+clock) + " to " + end.Format(day+" "+clock+" MST")
}

// shown is how much evidence a person sees; --json has all.
const (
	shownPackets = 12
	shownFlows   = 2
)

func numbers(list []uint64) string {
	var texts []string
	for _, n := range list[:min(len(list), shownPackets)] {
		texts = append(texts, strconv.FormatUint(n, 10))
	}
	if len(list) > shownPackets {
		texts = append(texts, "…")
	}
	return strings.Join(texts, " ")
}

func flows(list []sdk.FlowRef) string {
	var texts []string
	for _, f := range list[:min(len(list), shownFlows)] {
		texts = append(texts, fmt.Sprintf("%s %s → %s (%s)", f.Proto, f.Src, f.Dst, f.CommunityID))
	}
	if n := len(list) - shownFlows; n > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(texts, "\n                ")
}
