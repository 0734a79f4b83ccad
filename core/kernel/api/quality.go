package api

import (
	"encoding/json"

	"github.com/picketwatch/picket/core/kernel/store"
)

// qualityBody says how good a capture is and what could be made of it.
type qualityBody struct {
	Outcomes map[string]uint64 `json:"outcomes" doc:"Packets by what became of them; together they are all packets."`
	Layers   map[string]uint64 `json:"layers" doc:"Packets by what they hold; one may hold several."`
	Short    uint64            `json:"short,omitempty" doc:"Packets whose transport header was cut off."`
	Dropped  uint64            `json:"dropped,omitempty" doc:"Packets that the capturing machine says it lost."`

	FragmentsJoined  uint64 `json:"fragments_joined,omitempty" doc:"Datagrams that were put together."`
	FragmentsGivenUp uint64 `json:"fragments_given_up,omitempty" doc:"Datagrams of which something is missing."`
	FragmentOverlaps uint64 `json:"fragment_overlaps,omitempty"`

	StreamGaps      uint64 `json:"stream_gaps,omitempty" doc:"Of TCP connections that were read."`
	StreamMissing   uint64 `json:"stream_missing,omitempty" doc:"Bytes in those gaps."`
	StreamConflicts uint64 `json:"stream_conflicts,omitempty" doc:"Segments that were sent again, and differ."`

	Facts        uint64 `json:"facts" doc:"What the parsers of application protocols understood."`
	FactsDropped uint64 `json:"facts_dropped,omitempty"`
	// ToldNoMore is by kind of facts.
	ToldNoMore map[string]uint64 `json:"told_no_more,omitempty" doc:"Flows of which only the first facts of a kind were told, which are enough for whoever wanted them, by kind."`

	GivenUp uint64 `json:"given_up,omitempty" doc:"Flows that were not read to their end, for want of memory."`
	Panics  uint64 `json:"panics,omitempty" doc:"Flows that were not read to their end, because a parser broke."`

	LinkTypes []int           `json:"linktypes" nullable:"false" doc:"As pcap numbers them."`
	Protocols []protocolFlows `json:"protocols" nullable:"false" doc:"The most frequent first."`
	Secrets   int             `json:"secrets,omitempty" doc:"Keys in the capture that open encrypted connections."`
	Notes     []string        `json:"notes,omitempty"`
}

type protocolFlows struct {
	Name  string `json:"name" doc:"Empty when it is not known."`
	Flows uint64 `json:"flows" doc:"Those with a payload."`
}

// qualityOf is nil until the capture has been read.
func qualityOf(c store.Capture) *qualityBody {
	q := qualityBody{LinkTypes: []int{}, Protocols: []protocolFlows{}}
	if c.Quality == "" || json.Unmarshal([]byte(c.Quality), &q) != nil {
		return nil
	}
	q.LinkTypes, q.Protocols = list(q.LinkTypes), list(q.Protocols)
	return &q
}
