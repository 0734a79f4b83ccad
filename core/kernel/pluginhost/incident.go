package pluginhost

import (
	"strings"
	"time"
)

// Incident is something that an instance tried and was kept from. Only the first of each sort is kept, so that a plugin in
// a fit fills no log: the ledger has the counts.
type Incident struct {
	Time time.Time    `json:"time"`
	Kind IncidentKind `json:"kind" enum:"permission,limit,killed"`
	Text string       `json:"text"`
}

// IncidentKind is what kept it.
type IncidentKind string

const (
	IncidentPermission IncidentKind = "permission" // the broker refused what was not granted
	IncidentLimit      IncidentKind = "limit"      // it was held to a limit, and goes on
	IncidentKilled     IncidentKind = "killed"     // the host ended its process
)

// maxIncidents is how many sorts are kept of one instance.
const maxIncidents = 16

// incident notes the first of a sort and tells whoever listens.
func (s *supervisor) incident(kind IncidentKind, text string) {
	text = s.log.blank(text)
	sort := string(kind) + " " + withoutNumbers(text)
	s.mu.Lock()
	known := s.incidentSorts[sort] || len(s.state.Incidents) >= maxIncidents
	if !known {
		if s.incidentSorts == nil {
			s.incidentSorts = map[string]bool{}
		}
		s.incidentSorts[sort] = true
		// A new slice: those who were given the old one keep it.
		s.state.Incidents = append(s.state.Incidents[:len(s.state.Incidents):len(s.state.Incidents)], Incident{Time: s.host.cfg.Now().UTC(), Kind: kind, Text: text})
	}
	s.mu.Unlock()
	if !known {
		s.host.cfg.Events.Publish(s.status())
	}
}

// withoutNumbers makes two texts that differ in a figure the same sort. What an address or a port is, is not a figure: it
// stands in the detail of a permission, which is kept whole by its caller's words before the first colon.
func withoutNumbers(text string) string {
	what, rest, _ := strings.Cut(text, ": ")
	return what + ": " + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, rest)
}
