package exfil

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// sure is from what confidence on a finding of what can be nothing else is high.
const sure = 0.75

// finding puts what a host has sent into words. Confidence is half at the volume, three quarters at twice that, and so on.
func (p *pair) finding(excess float64) sdk.Finding {
	confidence := min(0.97, round(1-math.Exp2(-excess), 2))
	src, dst := p.key.src.Addr(), p.key.dst.Addr()
	out := sdk.Finding{
		Detector: "picket/exfil", Rule: RuleVolume, Techniques: p.techniques(), Src: src.String(), Dst: dst.String(),
		Features: map[string]float64{
			"sent_bytes": float64(p.all()), "got_bytes": float64(p.got), "flows": float64(p.flows), "volumes": round(excess, 2), "usual_bytes": float64(p.usual),
		},
	}
	p.Into(&out, confidence)
	switch {
	case p.told.way == covered && confidence < sure:
		out.Severity = sdk.SeverityLow
	case p.told.way == covered || confidence < 0.9:
		out.Severity = sdk.SeverityMedium
	}
	if p.told.way == covered {
		out.Risk -= 15 // people do that
	}
	out.Flows = p.Refs(src, dst, p.proto)
	name := ""
	if p.store != "" {
		name = " (" + p.store + ")"
	}
	out.Summary = fmt.Sprintf("%s sent %s to %s%s outside in %s, %s, and got %s back", src, size(p.all()), dst, name, lasted(out.Start, out.End), by[p.told.way], size(p.got))
	if p.usual > 0 {
		out.Summary += fmt.Sprintf("; before it was %s at most", size(p.usual))
	} else {
		out.Summary += "; nothing is known of it from before"
	}
	return out
}

var by = [ways]string{"mostly in the clear", "mostly by SSH", "mostly by an unknown protocol", "mostly encrypted or by UDP"}

// techniques follow from the way by which most was sent when it was told first, so that they stay.
func (p *pair) techniques() []string {
	switch p.told.way {
	case open:
		return []string{"T1048", "T1048.003"}
	case shell:
		return []string{"T1048", "T1048.002"}
	case covered:
		if p.store != "" {
			return []string{"T1048", "T1567.002"}
		}
		return []string{"T1048", "T1048.002"}
	}
	if p.files {
		return []string{"T1048", "T1048.003"}
	}
	return []string{"T1048"}
}

var says = [...]string{
	"after a login in the clear", "named after the computer", "named after secrets", "not made by a program that people use", "to the sender itself", "with a time in the name", "again and again",
}

// finding puts what was left behind into words. Confidence is 0.5 with 4 points and a tenth more for each further one.
func (o *drop) finding() sdk.Finding {
	points := o.best.points()
	confidence := min(0.95, round(0.5+0.1*float64(points-minPoints), 2))
	src, dst := o.key.src.Addr(), o.key.dst.Addr()
	out := sdk.Finding{
		Detector: "picket/exfil", Rule: RuleDrop, Techniques: []string{"T1048.003"}, Src: src.String(), Dst: netip.AddrPortFrom(dst, o.port).String(),
		Features: map[string]float64{"sent": float64(o.sent), "points": float64(points)},
	}
	o.Into(&out, confidence)
	switch {
	case points == minPoints:
		out.Severity = sdk.SeverityLow
	case confidence < 0.7:
		out.Severity = sdk.SeverityMedium
	default:
		out.Severity = sdk.SeverityHigh
	}
	out.Flows = o.Refs(src, dst, sdk.ProtoTCP)
	one, protocol := "file", "FTP"
	if o.key.mail {
		one, protocol = "mail", "SMTP"
	}
	var signs []string
	for i, text := range says {
		if o.best&(1<<i) != 0 {
			signs = append(signs, text)
		}
	}
	many := "s"
	if o.sent == 1 {
		many = ""
	}
	out.Summary = fmt.Sprintf("%s sent %d %s%s to %s outside by plain %s, such as %q: %s", src, o.sent, one, many, dst, protocol, o.example, strings.Join(signs, ", "))
	return out
}
