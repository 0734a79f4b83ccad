package alert

import (
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Suppression keeps findings back that somebody does not want to hear of for a while. An empty field matches
// everything. Entity is a host or a network, as either side of the finding.
type Suppression struct {
	ID                     string
	Detector, Rule, Entity string
	Expires                time.Time
}

// Matches reports whether the suppression keeps the finding back.
func (s Suppression) Matches(f sdk.Finding, now time.Time) bool {
	return now.Before(s.Expires) && (s.Detector == "" || s.Detector == f.Detector) && (s.Rule == "" || s.Rule == f.Rule) &&
		(s.Entity == "" || s.concerns(f.Src) || s.concerns(f.Dst))
}

func (s Suppression) concerns(side string) bool {
	h := Host(side)
	if h == s.Entity {
		return true
	}
	network, err := netip.ParsePrefix(s.Entity)
	if err != nil {
		return same(h, s.Entity)
	}
	if of, err := netip.ParsePrefix(h); err == nil {
		return network.Bits() <= of.Bits() && network.Contains(of.Addr())
	}
	a, err := netip.ParseAddr(h)
	return err == nil && network.Contains(a.Unmap())
}

// same reports whether two spellings are one address.
func same(a, b string) bool {
	x, err := netip.ParseAddr(a)
	if err != nil {
		return false
	}
	y, err := netip.ParseAddr(b)
	return err == nil && x.Unmap() == y.Unmap()
}

// suppressedBy is the suppression that keeps a finding back, the first of them; "" for none.
func suppressedBy(list []Suppression, f sdk.Finding, now time.Time) string {
	for _, s := range list {
		if s.Matches(f, now) {
			return s.ID
		}
	}
	return ""
}
