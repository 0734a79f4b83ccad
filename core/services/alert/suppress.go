package alert

import (
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Suppression keeps findings back that somebody does not want to hear of for a while. An empty field matches
// everything. Entity is a host or a network, as either side of the finding; source and target are one as theirs.
type Suppression struct {
	ID                     string
	Detector, Rule, Entity string
	Source, Target         string
	Expires                time.Time
}

// Matches reports whether the suppression keeps the finding back.
func (s Suppression) Matches(f sdk.Finding, now time.Time) bool {
	return now.Before(s.Expires) && s.Covers(f.Detector, f.Rule, f.Src, f.Dst)
}

// Covers reports whether something is what the suppression is about, whenever that was.
func (s Suppression) Covers(detector, rule, src, dst string) bool {
	return (s.Detector == "" || s.Detector == detector) && (s.Rule == "" || s.Rule == rule) &&
		(s.Entity == "" || concerns(s.Entity, src) || concerns(s.Entity, dst)) &&
		(s.Source == "" || concerns(s.Source, src)) && (s.Target == "" || concerns(s.Target, dst))
}

// concerns reports whether one side of a finding is the host, or lies in the network.
func concerns(entity, side string) bool {
	h := Host(side)
	if h == entity {
		return true
	}
	network, err := netip.ParsePrefix(entity)
	if err != nil {
		return same(h, entity)
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
