package pluginhost

import (
	"slices"
	"strings"
	"time"
)

// Incident is something that an instance tried and was kept from. Only the first of each sort is kept, so that a plugin in
// a fit fills no log: the ledger has the counts.
type Incident struct {
	Time time.Time    `json:"time"`
	Kind IncidentKind `json:"kind" enum:"permission,limit,killed,call,crash"`
	Text string       `json:"text"`
}

// IncidentKind is what kept it.
type IncidentKind string

const (
	IncidentPermission IncidentKind = "permission" // the broker refused what was not granted
	IncidentLimit      IncidentKind = "limit"      // it was held to a limit, and goes on
	IncidentKilled     IncidentKind = "killed"     // the host ended its process
	IncidentCall       IncidentKind = "call"       // it made a call of the kernel that no plugin may make
	IncidentCrash      IncidentKind = "crash"      // its process ended by itself, or did not start
)

// maxIncidents is how many sorts of each kind are kept of one instance. A kind that is full takes one more every
// quietTime, in the place of its oldest: what is new is told, and nobody can flood the audit log.
const (
	maxIncidents = 16
	quietTime    = time.Minute
)

// maxCalls is the same for refused calls. It is more than there are sorts of them, so none is ever without room.
const maxCalls = 32

func (k IncidentKind) room() int {
	if k == IncidentCall {
		return maxCalls
	}
	return maxIncidents
}

// incident notes the first of a sort and tells whoever listens.
func (s *supervisor) incident(kind IncidentKind, text string) {
	text = s.log.blank(text)
	in := Incident{Time: s.host.cfg.Now().UTC(), Kind: kind, Text: text}
	s.mu.Lock()
	list, ok := withIncident(s.state.Incidents, in)
	s.state.Incidents = list
	s.mu.Unlock()
	if ok {
		s.host.cfg.Events.Publish(s.status())
	}
}

// withIncident adds one when it is new and there is room. Those who were given the old list keep it.
func withIncident(list []Incident, in Incident) ([]Incident, bool) {
	oldest, newest, count := -1, time.Time{}, 0
	for i, old := range list { // the oldest come first
		if old.Kind != in.Kind {
			continue
		}
		if old.sort() == in.sort() {
			return list, false
		}
		if oldest < 0 {
			oldest = i
		}
		newest, count = old.Time, count+1
	}
	list = slices.Clone(list)
	if count >= in.Kind.room() {
		if in.Time.Sub(newest) < quietTime {
			return list, false
		}
		list = slices.Delete(list, oldest, oldest+1)
	}
	return append(list, in), true
}

// sort is the same for two that differ in a figure.
func (in Incident) sort() string { return string(in.Kind) + " " + withoutNumbers(in.Text) }

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
