package traffic

import (
	"maps"
	"slices"
)

// Quality says how good a capture is and what could be made of it, in the worker's words.
type Quality struct {
	Outcomes map[string]uint64 `json:"outcomes"`          // packets by what became of them
	Layers   map[string]uint64 `json:"layers"`            // packets by what they hold; one may hold several
	Short    uint64            `json:"short,omitempty"`   // packets whose transport header was cut off
	Dropped  uint64            `json:"dropped,omitempty"` // packets that the capturing machine says it lost

	FragmentsJoined  uint64 `json:"fragments_joined,omitempty"` // datagrams
	FragmentsGivenUp uint64 `json:"fragments_given_up,omitempty"`
	FragmentOverlaps uint64 `json:"fragment_overlaps,omitempty"`

	StreamGaps      uint64 `json:"stream_gaps,omitempty"`      // of TCP connections that were read
	StreamMissing   uint64 `json:"stream_missing,omitempty"`   // bytes in them
	StreamConflicts uint64 `json:"stream_conflicts,omitempty"` // segments that were sent again, and differ

	Facts        uint64 `json:"facts"`
	FactsDropped uint64 `json:"facts_dropped,omitempty"`
	// ToldNoMore is, by kind, of how many flows only the first facts were told.
	ToldNoMore map[string]uint64 `json:"told_no_more,omitempty"`

	GivenUp uint64 `json:"given_up,omitempty"` // flows that were not read to their end, for want of memory
	Panics  uint64 `json:"panics,omitempty"`   // flows that were not read to their end, because a parser broke

	LinkTypes []int           `json:"linktypes,omitempty"` // as pcap numbers them
	Protocols []ProtocolFlows `json:"protocols"`           // the most frequent first
	Names     []NamedAddress  `json:"names,omitempty"`
	Secrets   int             `json:"secrets,omitempty"` // keys in the capture that open encrypted connections
	Notes     []string        `json:"notes,omitempty"`
}

// ProtocolFlows is how many flows with a payload carried an application protocol; "" is an unknown one.
type ProtocolFlows struct {
	Name  string `json:"name"`
	Flows uint64 `json:"flows"`
}

// NamedAddress is what an address was called where the capture was made.
type NamedAddress struct {
	Addr string `json:"addr"`
	Name string `json:"name"`
}

// Bounds on what a worker may say.
const (
	maxCounts    = 32
	maxProtocols = 256
	maxNames     = 1000
	maxNotes     = 16
	maxLinkTypes = 64
	maxWord      = 64
	maxName      = 255
)

// bounded is what is kept of a worker's words.
func (q Quality) bounded() Quality {
	q.Outcomes, q.Layers = boundedCounts(q.Outcomes), boundedCounts(q.Layers)
	if q.ToldNoMore != nil {
		q.ToldNoMore = boundedCounts(q.ToldNoMore)
	}
	q.LinkTypes = q.LinkTypes[:min(len(q.LinkTypes), maxLinkTypes)]
	q.Protocols = slices.Clone(q.Protocols[:min(len(q.Protocols), maxProtocols)])
	for i := range q.Protocols {
		q.Protocols[i].Name = clip(q.Protocols[i].Name, maxWord)
	}
	q.Names = slices.Clone(q.Names[:min(len(q.Names), maxNames)])
	for i := range q.Names {
		q.Names[i] = NamedAddress{clip(q.Names[i].Addr, maxWord), clip(q.Names[i].Name, maxName)}
	}
	q.Notes = slices.Clone(q.Notes[:min(len(q.Notes), maxNotes)])
	for i := range q.Notes {
		q.Notes[i] = firstLine(q.Notes[i])
	}
	return q
}

func boundedCounts(m map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if len(out) < maxCounts && len(name) <= maxWord {
			out[name] = m[name]
		}
	}
	return out
}

func clip(s string, most int) string { return s[:min(len(s), most)] }
