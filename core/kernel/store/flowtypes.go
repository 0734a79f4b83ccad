package store

import (
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// FlowFilter narrows flows. What is zero narrows nothing; a list admits any of its values.
type FlowFilter struct {
	Captures []string
	From, To time.Time // flows that began in [From, To)

	Host     netip.Prefix // either side
	Src, Dst netip.Prefix
	Port     uint16 // either side
	SrcPort  uint16
	DstPort  uint16

	Protos  []uint8
	Apps    []string // "" is a flow whose protocol is not known
	Tunnels []string // "" is a flow outside any tunnel
	VLAN    uint16
	Reasons []sdk.EndReason

	MinBytes, MaxBytes       uint64 // of both directions
	MinPackets, MaxPackets   uint64
	MinDuration, MaxDuration time.Duration

	// Text is looked for in the names that the flow's facts hold: server names, hosts, names that were asked for. Case does not
	// matter.
	Text string
}

// FlowSort is what a list of flows is ordered by.
type FlowSort string

// The orders that there are.
const (
	FlowsByStart    FlowSort = "start"
	FlowsByDuration FlowSort = "duration"
	FlowsByBytes    FlowSort = "bytes"
	FlowsByPackets  FlowSort = "packets"
)

// FlowQuery asks for a page of flows, the largest first unless Ascending.
type FlowQuery struct {
	Tenant string
	Filter FlowFilter
	Sort   FlowSort // FlowsByStart when empty
	Page   Page

	Ascending bool
}

// FlowRow is what a list shows of a flow.
type FlowRow struct {
	Capture    string
	ID         uint64 // within the capture
	Start      time.Time
	Duration   time.Duration
	Src, Dst   netip.Addr
	SrcPort    uint16
	DstPort    uint16
	VLAN       uint16
	Proto      uint8
	EndReason  sdk.EndReason
	App        string
	Tunnel     string
	TunnelID   uint32
	Packets    uint64 // of both directions
	FwdPackets uint64
	Bytes      uint64
	FwdBytes   uint64
	Name       string // the first name that its facts hold
}

// FlowPage is a page of flows. Incomplete says that a file could not be read; the log says which.
type FlowPage struct {
	Flows      []FlowRow
	Next       string
	Incomplete bool
}

// FlowSummary is what flows add up to.
type FlowSummary struct {
	FlowCount
	FwdBytes    uint64
	First, Last time.Time // when the first and the last began
	Apps        []FlowGroup
	Protos      []FlowGroup
	Talkers     []FlowGroup // addresses of either side
	Ports       []FlowGroup // of the side that was asked
	Step        time.Duration
	Times       []FlowTime
	// Sampled is 0, or the number of flows of an even sample that Talkers and Ports were estimated from.
	Sampled    uint64
	Incomplete bool
}

// FlowCount is how much some flows are together.
type FlowCount struct{ Flows, Packets, Bytes uint64 }

// FlowGroup is how much the flows of one kind are: of an application, a protocol, an address or a port.
type FlowGroup struct {
	FlowCount
	App   string
	Proto uint8
	Host  netip.Addr
	Port  uint16
}

// FlowTime is how much the flows are that began in a step.
type FlowTime struct {
	FlowCount
	Start time.Time
}

// FlowDetail is all that is known of a flow.
type FlowDetail struct {
	Capture  string
	Flow     sdk.Flow
	Name     string
	Features []FlowFeature
	// Like is how many flows the baseline of the features is made of: stored ones of the same application and port.
	Like  int
	Facts []FlowFact // the first ones
}

// FlowFeature is a feature of a flow beside its distribution among similar flows.
type FlowFeature struct {
	Name, Unit, Doc    string
	Value              float64
	P5, P50, P95, Mean float64
}

// FactQuery asks for facts of one kind, oldest first.
type FactQuery struct {
	Tenant   string
	Kind     string // one of sdk.FactKinds
	Captures []string
	Flow     uint64 // needs one capture
	Host     netip.Prefix
	From, To time.Time
	Text     string
	Page     Page
}

// FlowFact is a fact as it was told: Value is one of the sdk's types, for example *sdk.DNS.
type FlowFact struct {
	Kind, Capture string
	Number        uint64 // within the capture, in the order in which facts came
	Seen          sdk.Seen
	Name          string
	Value         any
}

// FactPage is a page of facts.
type FactPage struct {
	Facts      []FlowFact
	Next       string
	Incomplete bool
}

// View is a set of filters that somebody saved.
type View struct {
	ID, Tenant, Owner, Name string
	Page                    string // of the web app that it belongs to
	Query                   string // as the page's address has it
	Shared                  bool   // everybody of the tenant sees it
	Created                 time.Time
}
