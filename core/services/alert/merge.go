package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// Fingerprint says which findings are the same trouble: the same rule, from the same host to the same host. Ports,
// times and captures do not matter.
func Fingerprint(f sdk.Finding) string {
	parts := strings.Join([]string{f.Detector, f.Rule, Host(f.Src), Host(f.Dst)}, "\x00")
	sum := sha256.Sum256([]byte(parts))
	return hex.EncodeToString(sum[:16])
}

// Host is the address part of "address", "address:port" or a prefix; anything else is returned as it is.
func Host(s string) string {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().String()
	}
	return s
}

// Merge adds a finding to the open alert of its fingerprint, or begins one. tell is true when people should hear of
// it: the alert is new, or worse than what was told before.
func Merge(open *Alert, f sdk.Finding, from Source) (a Alert, tell bool) {
	if open == nil {
		return begin(f, from), true
	}
	a = *open
	a.Count++
	a.Confidence = max(a.Confidence, f.Confidence)
	a.Techniques = union(a.Techniques, f.Techniques)
	if f.Start.Before(a.FirstSeen) {
		a.FirstSeen = f.Start
	}
	if f.End.After(a.LastSeen) {
		a.LastSeen = f.End
	}
	if a.Src != f.Src {
		a.Src = Host(a.Src)
	}
	if a.Dst != f.Dst {
		a.Dst = Host(a.Dst)
	}
	if f.Severity.Rank() >= a.Severity.Rank() && f.Risk >= a.Risk { // a detector says more as it knows more: the latest counts, not the first
		a.Title = title(f)
	}
	a.Risk = max(a.Risk, f.Risk)
	if f.Severity.Rank() > a.Severity.Rank() {
		a.Severity, a.Title, a.State = f.Severity, title(f), Firing
		tell = true
	}
	return a, tell
}

func begin(f sdk.Finding, from Source) Alert {
	return Alert{
		ID: newID(), Fingerprint: Fingerprint(f), State: Firing,
		Severity: f.Severity, Risk: f.Risk, Confidence: f.Confidence, Title: title(f),
		Detector: f.Detector, Rule: f.Rule, Techniques: union(nil, f.Techniques), Src: f.Src, Dst: f.Dst,
		FirstSeen: f.Start, LastSeen: f.End, Count: 1, Source: from,
	}
}

// title is the finding's own sentence, bounded and on one line.
func title(f sdk.Finding) string {
	s := strings.Join(strings.Fields(f.Summary), " ")
	if s == "" {
		s = f.Detector + " " + f.Rule
	}
	if r := []rune(s); len(r) > 200 {
		s = string(r[:199]) + "…"
	}
	return s
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// Text is what a person reads in a message: what, who, when, how sure.
func Text(a Alert, f sdk.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", a.Title)
	if a.State == Resolved {
		b.WriteString("This alert was resolved.\n")
	}
	fmt.Fprintf(&b, "Severity: %s (risk %d of 100, confidence %.0f %%)\n", a.Severity, a.Risk, a.Confidence*100)
	if a.Src != "" {
		fmt.Fprintf(&b, "From: %s\n", a.Src)
	}
	if a.Dst != "" {
		fmt.Fprintf(&b, "To: %s\n", a.Dst)
	}
	fmt.Fprintf(&b, "Seen: %s to %s\n", a.FirstSeen.UTC().Format("2006-01-02 15:04:05 MST"), a.LastSeen.UTC().Format("2006-01-02 15:04:05 MST"))
	fmt.Fprintf(&b, "Found by: %s, rule %s\n", a.Detector, a.Rule)
	if len(a.Techniques) > 0 {
		fmt.Fprintf(&b, "ATT&CK: %s\n", strings.Join(a.Techniques, ", "))
	}
	if n := len(f.Packets); n > 0 {
		fmt.Fprintf(&b, "Evidence: %d packets, first is number %d\n", n, slices.Min(f.Packets))
	}
	return b.String()
}
