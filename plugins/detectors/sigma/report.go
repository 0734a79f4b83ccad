package sigma

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// Limits of what is remembered and told of one matter.
const (
	maxSeen   = 4
	maxWhat   = 128
	maxBenign = 3
	maxLinks  = 2
	maxWord   = 200
)

// matterKey names what is one finding: a rule, who and to whom.
type matterKey struct {
	rule     int
	src, dst bare.Addr
}

// matter is the matches of one key so far.
type matter struct {
	matterKey
	evidence.Evidence
	seen        []string // the first words on what matched
	times, told uint64
	port        uint16
	proto       uint8
}

// report evaluates the record, and tells what is new or has doubled.
func (d *Detector) report(k kind, at int64, packet uint64, sink sdk.FindingSink) error {
	for _, p := range d.matcher.match(k, &d.record) {
		m, err := d.add(d.matcher.programs[p].rule, at, packet, sink)
		if err != nil {
			return err
		}
		if m.times >= 2*m.told {
			if err := d.tell(m, sink); err != nil {
				return err
			}
		}
	}
	return nil
}

// add counts a match. The matter quiet for longest makes room, after it was told.
func (d *Detector) add(rule int, at int64, packet uint64, sink sdk.FindingSink) (*matter, error) {
	r := &d.record
	src, dst := r.values[srcIP].addr, r.values[dstIP].addr
	key := matterKey{rule, bare.Of(src), bare.Of(dst)}
	m, known := d.matters.Get(key)
	if !known {
		if old, full := d.matters.Crowded(); full {
			if err := d.last(old, sink); err != nil {
				return nil, err
			}
			d.matters.Forget(old.matterKey)
		}
		m = &matter{matterKey: key, port: uint16(r.values[dstPort].number), proto: r.proto}
		d.matters.Put(key, m)
	}
	m.times++
	flow := flowref.Ref{}
	if r.proto == m.proto {
		flow = flowref.Ref{ID: r.flow, SrcPort: uint16(r.values[srcPort].number), DstPort: uint16(r.values[dstPort].number)}
	}
	m.Add(at, packet, flow)
	if what := cut(r.what+r.rest, maxWhat); what != "" && len(m.seen) < maxSeen && !slices.Contains(m.seen, what) {
		m.seen = append(m.seen, strings.Clone(what))
	}
	return m, nil
}

// cut shortens a text, and leaves out what is no text.
func cut(s string, most int) string {
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// last tells a matter as it is, when it has grown.
func (d *Detector) last(m *matter, sink sdk.FindingSink) error {
	if m.told == m.times {
		return nil
	}
	return d.tell(m, sink)
}

// confidences and risks go by what the rule calls its level: it says what was seen, not what it means.
var (
	confidences = map[sdk.Severity]float64{sdk.SeverityCritical: 0.9, sdk.SeverityHigh: 0.75, sdk.SeverityMedium: 0.55, sdk.SeverityLow: 0.35, sdk.SeverityInfo: 0.2}
	risks       = map[sdk.Severity]int{sdk.SeverityCritical: 90, sdk.SeverityHigh: 70, sdk.SeverityMedium: 45, sdk.SeverityLow: 20, sdk.SeverityInfo: 5}
)

func (d *Detector) tell(m *matter, sink sdk.FindingSink) error {
	m.told = m.times
	r := d.loaded.rules[m.rule]
	confidence := confidences[r.severity]
	f := sdk.Finding{ID: r.id, Detector: "picket/sigma", Rule: RuleMatch, Techniques: slices.Clone(r.techniques), Features: map[string]float64{"matches": float64(m.times)}}
	m.Into(&f, confidence)
	f.Severity, f.Risk = r.severity, risks[r.severity]
	src, dst := m.src.Addr(), m.dst.Addr()
	f.Src, f.Dst = address(src), address(dst)
	f.Flows = m.Refs(src, dst, m.proto)
	if m.port != 0 {
		f.Features["port"] = float64(m.port)
	}
	f.Summary = m.summary(r, f.Src, f.Dst)
	return sink.Finding(f)
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (m *matter) summary(r *rule, src, dst string) string {
	var b strings.Builder
	b.WriteString(r.title)
	if src != "" && dst != "" {
		fmt.Fprintf(&b, " (%s to %s", src, dst)
		if m.port != 0 {
			fmt.Fprintf(&b, ", port %d", m.port)
		}
		b.WriteByte(')')
	}
	if m.times > 1 {
		fmt.Fprintf(&b, ", %d times", m.times)
	}
	if len(m.seen) > 0 {
		b.WriteString(": " + strings.Join(m.seen, ", "))
		if len(m.seen) == maxSeen {
			b.WriteString(", ...")
		}
	}
	b.WriteByte('.')
	for i, word := range r.falsePositives[:min(len(r.falsePositives), maxBenign)] {
		if i == 0 {
			b.WriteString(" Harmless when: ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(strings.TrimRight(cut(word, maxWord), ". "))
	}
	if len(r.falsePositives) > 0 {
		b.WriteByte('.')
	}
	if links := r.references[:min(len(r.references), maxLinks)]; len(links) > 0 {
		for i, link := range links {
			if i == 0 {
				b.WriteString(" See ")
			} else {
				b.WriteString(" and ")
			}
			b.WriteString(cut(link, maxWord))
		}
	}
	return b.String()
}
