// Package check says what a plugin may emit. The plugin's side uses it to tell the author, the host's side because it
// takes no plugin's word: in goes one sample, sighting, finding or receipt, out comes it cut to bounds, or an error.
package check

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/picketwatch/picket/sdk"
)

// Bounds of one call.
const (
	MaxSamples   = 200_000
	MaxSightings = 100_000
	MaxFindings  = 10_000
	MaxState     = 16 << 20 // a snapshot
)

// Bounds of one record.
const (
	maxName     = 255
	maxUnit     = 63
	maxText     = 1024
	maxSummary  = 2048
	maxEntries  = 64
	maxFeatures = 256
	maxTechs    = 32
	maxPackets  = 4096
	maxFlowRefs = 512
	maxPorts    = 8192
	maxLinks    = 4096
)

// Sample checks and bounds one sample.
func Sample(s *sdk.Sample) error {
	switch {
	case !name(s.Metric):
		return fmt.Errorf("metric %q is not a name of letters, digits and . _ - / within %d bytes", cut(s.Metric, 80), maxName)
	case s.Type != sdk.Gauge && s.Type != sdk.Counter:
		return fmt.Errorf("metric %s: type %q is neither gauge nor counter", s.Metric, cut(string(s.Type), 80))
	case !finite(s.Value):
		return fmt.Errorf("metric %s: value %v; leave out what is not known", s.Metric, s.Value)
	case s.Type == sdk.Counter && s.Value < 0:
		return fmt.Errorf("metric %s: counter of %v is below 0", s.Metric, s.Value)
	case s.Time.IsZero():
		return fmt.Errorf("metric %s: no time", s.Metric)
	}
	s.Unit = cut(s.Unit, maxUnit)
	var err error
	if s.Labels, err = texts(s.Labels); err != nil {
		return fmt.Errorf("metric %s: labels: %w", s.Metric, err)
	}
	return nil
}

// Sighting checks and bounds one sighting.
func Sighting(s *sdk.Sighting) error {
	switch {
	case !s.IP.IsValid() && s.MAC == "" && s.Hostname == "":
		return errors.New("sighting without address, MAC and name")
	case s.MAC != "" && !mac(s.MAC):
		return fmt.Errorf("sighting: MAC %q is not six lower case pairs with colons", cut(s.MAC, 80))
	case !unit(s.Confidence):
		return fmt.Errorf("sighting: confidence %v is not between 0 and 1", s.Confidence)
	case s.Time.IsZero():
		return errors.New("sighting without a time")
	}
	s.IP = s.IP.Unmap().WithZone("")
	s.Hostname, s.Source = cut(s.Hostname, maxName), cut(s.Source, maxName)
	var err error
	if s.Facts, err = texts(s.Facts); err != nil {
		return fmt.Errorf("sighting: facts: %w", err)
	}
	if len(s.Ports) > maxPorts || len(s.Links) > maxLinks {
		return fmt.Errorf("sighting: %d ports and %d links are more than %d and %d", len(s.Ports), len(s.Links), maxPorts, maxLinks)
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.MAC != "" && !mac(p.MAC) || len(p.Addresses) > maxEntries {
			return fmt.Errorf("sighting: port %q: MAC %q, %d addresses", cut(p.Name, 80), cut(p.MAC, 80), len(p.Addresses))
		}
		p.Name, p.Description, p.Alias, p.Type, p.State = cut(p.Name, maxName), cut(p.Description, maxName), cut(p.Alias, maxName), cut(p.Type, maxUnit), cut(p.State, maxUnit)
	}
	for i := range s.Links {
		l := &s.Links[i]
		if l.MAC != "" && !mac(l.MAC) || l.RemoteMAC != "" && !mac(l.RemoteMAC) || l.MAC == "" && l.Name == "" && !l.IP.IsValid() {
			return fmt.Errorf("sighting: the link at port %q leads to no device: MAC %q", cut(l.Port, 80), cut(l.MAC, 80))
		}
		l.Port, l.Protocol, l.Name, l.RemotePort, l.Description = cut(l.Port, maxName), cut(l.Protocol, maxUnit), cut(l.Name, maxName), cut(l.RemotePort, maxName), cut(l.Description, maxText)
		l.IP = l.IP.Unmap().WithZone("")
	}
	return nil
}

// Observed is Sighting for what an observer saw. A name alone is no device, and nobody has the address of many. Which capture it
// was is not for the plugin to say.
func Observed(s *sdk.Sighting) error {
	s.Capture = ""
	switch ip := s.IP.Unmap(); {
	case !ip.IsValid() && s.MAC == "":
		return errors.New("sighting without address and MAC")
	case ip.IsValid() && (ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})):
		return fmt.Errorf("sighting of %s, which is the address of no device", ip)
	}
	return Sighting(s)
}

// InScope returns Sighting together with the check that a sighting lies inside the scope.
func InScope(scope sdk.Scope) func(*sdk.Sighting) error {
	return func(s *sdk.Sighting) error {
		if err := Sighting(s); err != nil {
			return err
		}
		if s.IP.IsValid() && !scope.Contains(s.IP) {
			return fmt.Errorf("sighting of %s lies outside the scope", s.IP)
		}
		return nil
	}
}

// Finding checks and bounds one finding.
func Finding(f *sdk.Finding) error {
	switch {
	case f.Rule == "" || len(f.Rule) > maxName || !utf8.ValidString(f.Rule):
		return fmt.Errorf("finding: rule %q", cut(f.Rule, 80))
	case f.Severity.Rank() == 0:
		return fmt.Errorf("finding of rule %s: severity %q is not one of info, low, medium, high, critical", f.Rule, cut(string(f.Severity), 80))
	case f.Risk < 0 || f.Risk > 100:
		return fmt.Errorf("finding of rule %s: risk %d is not between 0 and 100", f.Rule, f.Risk)
	case !unit(f.Confidence):
		return fmt.Errorf("finding of rule %s: confidence %v is not between 0 and 1", f.Rule, f.Confidence)
	case len(f.Techniques) > maxTechs:
		return fmt.Errorf("finding of rule %s: %d techniques", f.Rule, len(f.Techniques))
	case len(f.Features) > maxFeatures:
		return fmt.Errorf("finding of rule %s: %d features are more than %d", f.Rule, len(f.Features), maxFeatures)
	}
	for _, id := range f.Techniques {
		if !Technique(id) {
			return fmt.Errorf("finding of rule %s: %q is not a technique such as T1046 or T1110.001", f.Rule, cut(id, 80))
		}
	}
	for key, v := range f.Features {
		if key == "" || len(key) > maxName || !utf8.ValidString(key) || !finite(v) {
			return fmt.Errorf("finding of rule %s: feature %q is %v", f.Rule, cut(key, 80), v)
		}
	}
	f.ID, f.Detector = cut(f.ID, maxName), cut(f.Detector, maxName)
	f.Src, f.Dst = cut(f.Src, maxName), cut(f.Dst, maxName)
	f.Summary = cut(f.Summary, maxSummary)
	f.Packets = f.Packets[:min(len(f.Packets), maxPackets)]
	f.Flows = f.Flows[:min(len(f.Flows), maxFlowRefs)]
	for i := range f.Flows {
		r := &f.Flows[i]
		r.CommunityID, r.Proto = cut(r.CommunityID, maxName), cut(r.Proto, maxName)
		r.Src, r.Dst = cut(r.Src, maxName), cut(r.Dst, maxName)
	}
	return nil
}

// Receipt bounds one receipt.
func Receipt(r *sdk.Receipt) {
	r.ForeignID, r.URL = cut(r.ForeignID, maxName), cut(r.URL, maxSummary)
}

// Status checks and bounds one delivery status.
func Status(s *sdk.DeliveryStatus) error {
	switch s.State {
	case sdk.DeliveryOpen, sdk.DeliveryClosed, sdk.DeliveryUndone:
	default:
		return fmt.Errorf("delivery status %q is not one of open, closed, undone", cut(string(s.State), 80))
	}
	s.Text = cut(s.Text, maxText)
	return nil
}

// Instance reports whether id can name an instance.
func Instance(id string) bool {
	return id != "" && len(id) <= maxName && strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// Technique reports whether id has the form of an ATT&CK technique.
func Technique(id string) bool {
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	main, sub, hasSub := strings.Cut(id, ".")
	return len(main) == 5 && main[0] == 'T' && digits(main[1:]) && (!hasSub || len(sub) == 3 && digits(sub))
}

// texts bounds a map of texts and makes them valid UTF-8. A key is refused rather than cut: two could become one.
func texts(m map[string]string) (map[string]string, error) {
	if len(m) > maxEntries {
		return nil, fmt.Errorf("%d entries are more than %d", len(m), maxEntries)
	}
	for key, v := range m {
		if key == "" || len(key) > maxName || !utf8.ValidString(key) {
			return nil, fmt.Errorf("key %q", cut(key, 80))
		}
		if c := cut(v, maxText); c != v {
			m[key] = c
		}
	}
	return m, nil
}

// cut returns s as valid UTF-8 of at most n bytes.
func cut(s string, n int) string {
	if len(s) <= n && utf8.ValidString(s) {
		return s
	}
	s = strings.ToValidUTF8(s[:min(len(s), n)], "")
	return s
}

func name(s string) bool {
	if s == "" || len(s) > maxName || !letter(s[0]) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !letter(s[i]) && (s[i] < '0' || s[i] > '9') && !strings.ContainsRune("._-/:", rune(s[i])) {
			return false
		}
	}
	return true
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

func mac(s string) bool {
	if len(s) != 17 {
		return false
	}
	for i := range len(s) {
		if i%3 == 2 && s[i] != ':' || i%3 != 2 && !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
			return false
		}
	}
	return true
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
func unit(v float64) bool   { return v >= 0 && v <= 1 } // false for NaN
