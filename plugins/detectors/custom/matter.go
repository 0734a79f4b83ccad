package custom

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// matterKey is what becomes one finding: a rule and the hosts, or of a rule that counts what it goes by.
type matterKey struct {
	rule string
	by   string
}

// matter is what a rule found there.
type matter struct {
	matterKey
	src, dst    bare.Addr
	severity    sdk.Severity
	confidence  float64
	techniques  []string
	summary     string // with marks for what is counted
	counts      bool
	marks       []mark // of what counts, where distinct values do only those within the window
	oldest      int    // of the marks, where each record has its own
	distinct    bool
	times, told uint64
	fired       bool
	flows       []conversation
	evidence.Evidence
}

// conversation is a flow of the evidence.
type conversation struct {
	flowref.Ref
	src, dst bare.Addr
	proto    uint8
}

// mark is a record that counts: when it was, and the value where distinct ones count.
type mark struct {
	at    int64
	value uint64
}

const (
	// maxMarks are those of all matters together, 16 bytes each.
	maxMarks = 1 << 20
	maxFlows = 16
	maxSaid  = 200  // bytes of a field in a title, and in what a count goes by
	maxWords = 1024 // bytes of a summary
	maxID    = 255  // bytes of the id of a finding
)

// note counts a record that a rule holds for.
func note[T any](d *Detector, k *kindOf[T], r *rule[T], record *T, sink sdk.FindingSink) error {
	p := k.place(record)
	m, err := d.matter(keyOf(r, record, &p), r.source, &p, sink)
	if err != nil {
		return err
	}
	enough := true
	if r.count != nil {
		before := len(m.marks)
		enough = count(m, r, record, p.at.UnixNano())
		d.marks += len(m.marks) - before
	}
	m.add(&p)
	if enough && !m.fired {
		m.fired, m.summary = true, title(r, record)
	}
	if enough {
		err = d.tell(m, sink)
	}
	return errors.Join(err, d.shrink(m, sink))
}

// add remembers where a record was seen.
func (m *matter) add(p *place) {
	m.times++
	m.Add(p.at.UnixNano(), p.packet, flowref.Ref{})
	if p.flow.ID == 0 || len(m.flows) >= maxFlows || slices.ContainsFunc(m.flows, func(f conversation) bool { return f.ID == p.flow.ID }) {
		return
	}
	m.flows = append(m.flows, conversation{p.flow, bare.Of(p.src), bare.Of(p.dst), p.proto})
}

// keyOf groups by the hosts, or by the fields that a count goes by.
func keyOf[T any](r *rule[T], record *T, p *place) matterKey {
	if r.count == nil {
		return matterKey{r.id, addressText(p.src) + "\x00" + addressText(p.dst)}
	}
	var b strings.Builder
	for _, f := range r.by {
		text := f.said(record)
		b.WriteString(text[:min(len(text), maxSaid)])
		b.WriteByte(0)
	}
	return matterKey{r.id, b.String()}
}

func (d *Detector) matter(key matterKey, s *source, p *place, sink sdk.FindingSink) (*matter, error) {
	m, known := d.matters.Get(key)
	if known {
		return m, nil
	}
	if old, full := d.matters.Crowded(); full {
		if err := d.forget(old, sink); err != nil {
			return nil, err
		}
	}
	key.by = strings.Clone(key.by)
	m = &matter{matterKey: key, src: bare.Of(p.src), dst: bare.Of(p.dst), severity: s.severity, confidence: s.confidence,
		techniques: s.techniques, counts: s.count != nil, distinct: s.count != nil && s.count.distinct != ""}
	if s.count != nil { // whatever the group does not say differs from record to record
		if !slices.ContainsFunc(s.count.by, func(name string) bool { return name == "client" || name == "src" || name == "sender_ip" }) {
			m.src = bare.Addr{}
		}
		if !slices.ContainsFunc(s.count.by, func(name string) bool { return name == "server" || name == "dst" || name == "target_ip" }) {
			m.dst = bare.Addr{}
		}
	}
	d.matters.Put(key, m)
	return m, nil
}

func (d *Detector) forget(m *matter, sink sdk.FindingSink) error {
	d.marks -= len(m.marks)
	d.matters.Forget(m.matterKey)
	return d.last(m, sink)
}

// shrink forgets the quietest while all together hold too many marks.
func (d *Detector) shrink(latest *matter, sink sdk.FindingSink) error {
	for d.marks > maxMarks {
		var quietest *matter
		for m := range d.matters.All() {
			quietest = m
			break
		}
		if quietest == latest {
			return nil
		}
		if err := d.forget(quietest, sink); err != nil {
			return err
		}
	}
	return nil
}

// count marks a record and reports whether there are enough within the window of its rule.
func count[T any](m *matter, r *rule[T], record *T, at int64) bool {
	over, atLeast := int64(r.count.over), r.count.atLeast
	if !m.fired && at-m.End() > over {
		m.marks, m.oldest, m.times, m.flows, m.Evidence = nil, 0, 0, nil, evidence.Evidence{}
	}
	if r.differs != nil {
		m.marks = slices.DeleteFunc(m.marks, func(k mark) bool { return at-k.at > over })
		m.differ(mark{at, dnsname.Hash(r.differs.said(record))})
		return len(m.marks) >= atLeast
	}
	if len(m.marks) < atLeast {
		m.marks = append(m.marks, mark{at: at})
	} else {
		m.marks[m.oldest] = mark{at: at}
		m.oldest = (m.oldest + 1) % atLeast
	}
	return len(m.marks) == atLeast && at-m.marks[m.oldest].at <= over
}

// differ keeps one mark of each value; more than a rule can ask for, so that a finding can say how many there were.
func (m *matter) differ(k mark) {
	for i := range m.marks {
		if m.marks[i].value == k.value {
			m.marks[i].at = max(m.marks[i].at, k.at)
			return
		}
	}
	if len(m.marks) == maxDistinct {
		m.marks = slices.Delete(m.marks, 0, 1)
	}
	m.marks = append(m.marks, k)
}

// title is the summary of a matter, from the record that made it one.
func title[T any](r *rule[T], record *T) string {
	var b strings.Builder
	for _, p := range r.title {
		b.WriteString(p.words)
		if p.field != nil {
			b.WriteString(clean(p.field.said(record), maxSaid))
		}
	}
	text := b.String()
	return text[:min(len(text), maxWords)]
}

// tell reports a matter the first time, and again when it is ten times as much.
func (d *Detector) tell(m *matter, sink sdk.FindingSink) error {
	if m.told > 0 && m.times < 10*m.told {
		return nil
	}
	m.told = m.times
	return sink.Finding(m.finding())
}

// last reports what has grown since.
func (d *Detector) last(m *matter, sink sdk.FindingSink) error {
	if !m.fired || m.told == m.times {
		return nil
	}
	m.told = m.times
	return sink.Finding(m.finding())
}

// weights are the risks of findings that are certain.
var weights = map[sdk.Severity]float64{
	sdk.SeverityInfo: 10, sdk.SeverityLow: 35, sdk.SeverityMedium: 60, sdk.SeverityHigh: 85, sdk.SeverityCritical: 100,
}

func (m *matter) finding() sdk.Finding {
	f := sdk.Finding{Detector: "picket/custom-rules", Rule: RuleOwn + "/" + m.rule, Techniques: slices.Clone(m.techniques), Features: map[string]float64{"times": float64(m.times)}}
	m.Into(&f, m.confidence)
	f.Severity, f.Risk = m.severity, int(math.Round(weights[m.severity]*m.confidence))
	if src := m.src.Addr(); src.IsValid() {
		f.Src = src.String()
	}
	if dst := m.dst.Addr(); dst.IsValid() {
		f.Dst = dst.String()
	}
	if m.counts {
		f.ID = shortID(m.by) // findings of one rule differ in it
	}
	if m.distinct {
		f.Features["distinct"] = float64(len(m.marks))
	}
	f.Summary = strings.NewReplacer(markCount, strconv.FormatUint(m.times, 10), markDistinct, strconv.Itoa(len(m.marks))).Replace(m.summary)
	if !m.counts && m.times > 1 {
		f.Summary += fmt.Sprintf(", %d times", m.times)
	}
	f.Flows = make([]sdk.FlowRef, len(m.flows))
	for i := range m.flows {
		f.Flows[i] = m.flows[i].Full(m.flows[i].src.Addr(), m.flows[i].dst.Addr(), m.flows[i].proto)
	}
	return f
}

// shortID is an id of the findings of one rule, which nobody on the way cuts: what is cut may be what they differ in.
func shortID(by string) string {
	if len(by) <= maxID {
		return by
	}
	sum := sha256.Sum256([]byte(by))
	return hex.EncodeToString(sum[:])
}

// runaway says that a rule was switched off.
func (d *Detector) runaway(s *source, a *account, p place, sink sdk.FindingSink) error {
	if d.host != nil {
		d.host.Log().Warn("a rule cost too much and is switched off until the capture ends", "rule", s.id, "steps", a.steps)
	}
	return sink.Finding(sdk.Finding{
		ID: s.id, Detector: "picket/custom-rules", Rule: RuleRunaway, Severity: sdk.SeverityLow, Risk: 20, Confidence: 1, Techniques: []string{},
		Start: p.at.UTC(), End: p.at.UTC(), Packets: []uint64{}, Flows: []sdk.FlowRef{}, Features: map[string]float64{"steps": float64(a.steps)},
		Summary: fmt.Sprintf("The rule %s (%s, line %d) is switched off until the capture ends: it took %d steps, more than %d a record", s.id, clean(s.file, maxSaid), s.line, a.steps, averageSteps),
	})
}
