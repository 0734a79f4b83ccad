package incident

import (
	"net/netip"
	"slices"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// maxAttackers is how many hosts may have attacked a target before it says nothing any more which of them led on from
// there: a gateway or a server that everybody tries.
const maxAttackers = 8

// Rules are pure: what belongs together and what it amounts to. docs/incidents.md tells them in words.
type Rules struct {
	Window   time.Duration
	Harmless func(host string) string
}

// Reach implements store.IncidentRules.
func (r Rules) Reach() time.Duration { return r.Window }

// Marks are by what an alert is found as a neighbour. What is merely information takes no part, nor does what is low and done by
// nobody: a remark on a host. A rule over metrics speaks of a machine's health, not of what somebody does.
func (r Rules) Marks(a store.IncidentAlert) []store.IncidentMark {
	if a.Detector == store.MetricRules {
		return nil
	}
	src, dst := host(a.Src), host(a.Dst)
	if rank := a.Severity.Rank(); rank < sdk.SeverityLow.Rank() || src == "" && rank < sdk.SeverityMedium.Rank() {
		return nil
	}
	mark := func(role, key string) store.IncidentMark {
		return store.IncidentMark{Key: key, Role: role, Source: src, FirstSeen: a.FirstSeen, LastSeen: a.LastSeen}
	}
	var marks []store.IncidentMark
	switch {
	case src != "":
		marks = append(marks, mark(store.MarkBy, src))
		if a.SrcDevice != "" {
			marks = append(marks, mark(store.MarkBy, "device:"+a.SrcDevice))
		}
	case dst != "": // by many: what they have in common is the target
		marks = append(marks, mark(store.MarkBy, "to:"+dst))
	default:
		marks = append(marks, mark(store.MarkBy, "rule:"+a.Detector+"/"+a.Rule))
	}
	if src != "" {
		marks = append(marks, accountMarks(a, mark)...)
	}
	if dst == "" || dst == src {
		return marks
	}
	marks = append(marks, mark(store.MarkAt, dst))
	if src != "" && slices.ContainsFunc(a.Techniques, leadsOn) {
		marks = append(marks, mark(store.MarkOn, dst))
		if a.DstDevice != "" && a.DstDevice != a.SrcDevice {
			marks = append(marks, mark(store.MarkOn, "device:"+a.DstDevice))
		}
	}
	return marks
}

// accountMarks are those of accounts: one whose password was guessed leads on to whoever logs in with it. An attempt that failed leaves an
// account as it was, and two who use the same one need not know of each other.
func accountMarks(a store.IncidentAlert, mark func(role, key string) store.IncidentMark) (marks []store.IncidentMark) {
	role := store.MarkAs
	if slices.ContainsFunc(a.Techniques, guesses) {
		role = store.MarkOn
	}
	for _, x := range a.Accounts {
		if x.GotIn {
			marks = append(marks, mark(role, "account:"+x.Name))
		}
	}
	return marks
}

// Joins names the incidents that alerts with the marks mine belong to: those of the same attacker, and those in which
// the target of one attack is the attacker of the next.
func (r Rules) Joins(mine, near []store.IncidentMark) []string {
	crowded := crowds(append(slices.Clone(near), mine...))
	var joins []string
	for _, m := range mine {
		for _, n := range near {
			if n.Key == m.Key && n.IncidentID != "" && r.linked(m, n, crowded[m.Key]) && !slices.Contains(joins, n.IncidentID) {
				joins = append(joins, n.IncidentID)
			}
		}
	}
	return joins
}

// linked is symmetric, and stays true when the times of either grow: that is what makes the order not matter.
func (r Rules) linked(a, b store.IncidentMark, crowded bool) bool {
	switch {
	case a.Role == store.MarkBy && b.Role == store.MarkBy:
		return !a.FirstSeen.After(b.LastSeen.Add(r.Window)) && !b.FirstSeen.After(a.LastSeen.Add(r.Window))
	case a.Role == store.MarkOn && (b.Role == store.MarkBy || b.Role == store.MarkAs):
		return !crowded && r.follows(a, b)
	case (a.Role == store.MarkBy || a.Role == store.MarkAs) && b.Role == store.MarkOn:
		return !crowded && r.follows(b, a)
	}
	return false
}

// follows reports whether what the target did may come of the attack on it.
func (r Rules) follows(attack, next store.IncidentMark) bool {
	return !next.LastSeen.Before(attack.FirstSeen) && !next.FirstSeen.After(attack.LastSeen.Add(r.Window))
}

// crowds are the keys that too many attacked.
func crowds(marks []store.IncidentMark) map[string]bool {
	attackers := map[string][]string{}
	for _, m := range marks {
		if m.Role == store.MarkOn && !slices.Contains(attackers[m.Key], m.Source) && len(attackers[m.Key]) <= maxAttackers {
			attackers[m.Key] = append(attackers[m.Key], m.Source)
		}
	}
	crowded := map[string]bool{}
	for key, by := range attackers {
		crowded[key] = len(by) > maxAttackers
	}
	return crowded
}

// host is what acts or is acted on: an address, a prefix, a name. Addresses that stand for everybody or nobody are none.
func host(s string) string {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		s = ap.Addr().String()
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		if a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return ""
		}
		return a.String()
	}
	return s
}
