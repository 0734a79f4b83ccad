package intel

import (
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/sdk"
)

// unanswered is the share of an entry's confidence that an address has with which nothing was exchanged.
const unanswered = 2

// finding puts a matter into words.
func (m *matter) finding() sdk.Finding {
	src, dst := m.src.Addr(), m.dst.Addr()
	out := sdk.Finding{Detector: "picket/intel", Src: src.String(), Features: map[string]float64{"times": float64(m.times)}}
	if dst.IsValid() {
		out.Dst = netip.AddrPortFrom(dst, m.port).String()
	}
	what := fmt.Sprintf("%s and %s talked: %s", src, dst, m.value)
	switch m.kind {
	case address, network:
		out.Rule, out.Techniques = RuleAddress, []string{"T1071"}
		if !m.answered {
			what = fmt.Sprintf("%s reached out to %s, and nothing was said: %s", src, dst, m.value)
		}
	case domain:
		out.Rule, out.Techniques = RuleName, []string{"T1071.004", "T1071.001"}
		what = fmt.Sprintf("%s asked for %s: %s", src, m.seen, m.value)
	case url:
		out.Rule, out.Techniques = RulePage, []string{"T1071.001"}
		what = fmt.Sprintf("%s asked for a page: %s", src, m.value)
	case sha256, md5:
		out.Rule, out.Techniques = RuleFile, []string{"T1105"}
		what = fmt.Sprintf("%s and %s exchanged the file %q: %s", src, dst, m.seen, m.value)
	default:
		out.Rule, out.Techniques = RuleFingerprint, []string{"T1071.001"}
		what = fmt.Sprintf("%s spoke TLS like this: %s", src, m.value)
	}
	out.Summary = what + " stands in the list " + m.list
	if m.source != "" {
		out.Summary += ", told by " + m.source
	}
	confidence := float64(m.confidence)
	if !m.answered {
		confidence /= unanswered
	}
	m.Into(&out, confidence/100)
	if m.added > 0 {
		days := int(max(0, int64(hours(out.Start.UnixNano()))-int64(m.added)) / 24)
		out.Features["age_days"] = float64(days)
		out.Summary += fmt.Sprintf(", %d days old", days)
	}
	if confidence < 50 {
		out.Severity, out.Risk = sdk.SeverityLow, 30
	}
	out.Flows = m.Refs(src, dst, m.proto)
	return out
}
