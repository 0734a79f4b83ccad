// Package sdk is the contract between Picket and its plugins: the nouns they exchange and the interfaces they
// implement. It needs nothing but the standard library, so the same source builds to a native process and to a WASM
// guest. Transport lives beside it: serve (process side), guest and abi (WASM side), host (the core's side).
//
// # The life of an instance
//
//  1. New returns a fresh value; it does no work.
//  2. The operator's configuration is decoded into Config() (defaults first, unknown keys refused) and checked.
//  3. Validate, if implemented, checks what tags cannot say.
//  4. Start, if implemented, gets the Host. An instance that fails to start is stopped.
//  5. Work: Collect, Discover, Inspect and Flush, or Notify.
//  6. Stop, if implemented, is called once; it must be safe after a failed or missing Start.
//
// An instance gets one call at a time, Health and Snapshot included; Stop comes after the running call was cancelled and
// has ended. Sinks may be used from several goroutines, until the call returns. What a plugin emits is checked: a value
// that makes no sense (a NaN, an unknown severity, a sighting outside the scope) is left out and fails the call.
package sdk

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Protocol is the major version of the contract that this SDK speaks. A host serves the current and the previous one.
const Protocol = 1

// Kind says what a plugin does for the product.
type Kind string

const (
	KindCollector Kind = "collector" // measures
	KindDiscovery Kind = "discovery" // finds devices, services and links
	KindDetector  Kind = "detector"  // judges traffic or events
	KindNotifier  Kind = "notifier"  // tells people or systems
	KindModel     Kind = "model"     // never runs: a trained model that plugins read
	KindData      Kind = "data"      // never runs: a table, fingerprints, a feed or rules that plugins read
)

// Plugin declares one plugin. Packages register theirs from init, because main does not run in a WASM guest.
type Plugin struct {
	ID      string // namespace/name, for example "picket/portscan"
	Kind    Kind
	Summary string // one sentence, ends in a full stop
	// Rules are the things a detector can find. Other kinds leave it empty.
	Rules []Rule
	// Subscription names the records that a detector or an Observer wants. Others leave it zero.
	Subscription Subscription
	// Borrows says that of the records it is shown an instance keeps copies alone: their texts (strings.Clone) and maps are valid
	// during the call only, as slices always are. What it emits in the call may hold them. Who is shown much and keeps little of
	// it takes half the time and memory so.
	Borrows bool
	// New returns a fresh instance that implements the interface of its kind.
	New func() Instance
}

// Instance is one configured use of a plugin. It also implements Collector, Discoverer, Detector or Notifier.
type Instance interface {
	// Config returns a pointer to the tagged struct that receives the configuration (see package config),
	// or nil when there is nothing to configure.
	Config() any
}

// Rule is one thing that a detector can find.
type Rule struct {
	ID             string   `json:"id"`                        // within the plugin, for example "vertical"
	Purpose        string   `json:"purpose"`                   // one sentence, ends in a full stop
	Techniques     []string `json:"techniques,omitempty"`      // ATT&CK ids, for example "T1046"
	Severity       Severity `json:"severity"`                  // the usual one; a finding may differ
	FalsePositives []string `json:"false_positives,omitempty"` // known benign causes
}

// Collector measures something each time it is asked. The host calls Collect on a schedule with a deadline in ctx.
type Collector interface {
	Instance
	Collect(ctx context.Context, req CollectRequest, sink SampleSink) error
}

// Discoverer finds devices inside a scope and never leaves it. Sightings are emitted as they come.
type Discoverer interface {
	Instance
	Discover(ctx context.Context, scope Scope, sink SightingSink) error
}

// Observer is a discovery plugin that asks nobody: it learns of devices from the records that its Subscription names. It
// may be a Discoverer too. Calls come as to a Detector. Of the facts of a kind it is shown at least the first 64 of each flow,
// and the rest only when a detector wants all of them; of logins it is shown all.
type Observer interface {
	Instance
	Observe(ctx context.Context, batch Batch, sink SightingSink) error
	// EndCapture is called at the end of a capture: report what is still pending and forget what was seen.
	EndCapture(ctx context.Context, sink SightingSink) error
}

// Detector judges batches of the records that its Subscription names. Calls come one at a time and in order of time.
type Detector interface {
	Instance
	Inspect(ctx context.Context, batch Batch, sink FindingSink) error
	// Flush is called at the end of a capture: report what is still pending and forget what was seen.
	Flush(ctx context.Context, sink FindingSink) error
}

// Notifier delivers a notice. The class of the returned error decides whether the host tries again.
type Notifier interface {
	Instance
	Notify(ctx context.Context, notice Notice) (Receipt, error)
}

// The optional parts of an instance, found by type assertion.
type (
	// Validator checks a decoded configuration.
	Validator interface{ Validate() error }
	// Starter is called once before any work. Its ctx ends when Start returns.
	Starter interface {
		Start(ctx context.Context, host Host) error
	}
	// Stopper is called once at the end, also after a failed Start.
	Stopper interface {
		Stop(ctx context.Context) error
	}
	// HealthChecker says whether the instance can work; nil means yes.
	HealthChecker interface {
		Health(ctx context.Context) error
	}
	// Snapshotter carries state over an upgrade or a crash. Restore gets what Snapshot gave, perhaps of the version
	// before: begin the state with a version of its own.
	Snapshotter interface {
		Snapshot(ctx context.Context) ([]byte, error)
		Restore(ctx context.Context, state []byte) error
	}
	// Watcher is a collector whose source sends by itself (syslog, traps). Watch runs beside the other calls until ctx
	// ends; when it returns earlier it is called again after a pause. A sink that waits is back-pressure: the store is slow.
	// Not in a WASM guest, which only runs during a call.
	Watcher interface {
		Watch(ctx context.Context, sink SampleSink) error
	}
	// Undoer is a notifier that can take back what it did. It gets the receipt that Notify gave.
	Undoer interface {
		Undo(ctx context.Context, receipt Receipt) error
	}
	// StatusReporter is a notifier that can say what became of what it delivered: a ticket closed there closes here.
	StatusReporter interface {
		Status(ctx context.Context, receipt Receipt) (DeliveryStatus, error)
	}
)

// Host is the narrow view of the outside world that an instance gets at Start. What the operator did not grant
// answers with an error of class PermissionDenied.
type Host interface {
	Log() *slog.Logger
	// Now is the host's clock. Detectors use the time in the records instead, so that a replay gives the same result.
	Now() time.Time
	// Secret returns a secret by the path of its configuration field (permission secret.read). A granted secret also
	// stands in that field.
	Secret(name string) (string, error)
	// State is a small key-value store that survives restarts.
	State() State
	// Dial opens a connection that the grants allow: network "tcp" or "udp" to host:port (permission net.dial), or
	// "unix" to a path (permission unix.connect). Names are resolved by the host; see LookupTimer.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// Fetch makes one HTTP request over Dial and reads the whole answer, at most MaxFetch bytes. Redirects are not
	// followed. Any status is an answer, not an error.
	Fetch(ctx context.Context, req Request) (Response, error)
	// Open opens a file for reading (permission fs.read). Stat tells its size and when it was changed.
	Open(name string) (fs.File, error)
	// Model opens a model or a data pack by its id, namespace/name. The manifest names it, and the versions that will do, under
	// requires; it was installed with the plugin, so no permission is needed.
	Model(id string) (*Model, error)
	// Listen accepts connections on "tcp" host:port (permission net.listen). Not in a WASM guest.
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// ListenPacket receives datagrams on "udp" host:port (permission net.listen). Not in a WASM guest.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	// ListenICMP opens a socket for ICMP echo on "ip4" or "ip6" (permission net.raw, icmp).
	// Its addresses are *net.IPAddr. Replies to others may come too: compare identifier and sequence.
	ListenICMP(network string) (net.PacketConn, error)

	processOnly
}

// LookupTimer is a stream that Dial opened and that knows how long the lookup of its name took, 0 for an address. Streams of
// a process with a broker do; a guest's do not.
type LookupTimer interface{ LookupTime() time.Duration }

// MaxFetch is the largest body in a Request or a Response, in bytes.
const MaxFetch = 8 << 20

// Request is one HTTP request.
type Request struct {
	Method string              `json:"method"` // "" is GET
	URL    string              `json:"url"`    // http or https
	Header map[string][]string `json:"header,omitempty"`
	Body   []byte              `json:"body,omitempty"`
	// Roots are certificates in PEM form to trust instead of the system's, for a server with a private authority.
	Roots string `json:"roots,omitempty"`
}

// Response is the answer to a Request.
type Response struct {
	Status int                 `json:"status"`
	Header map[string][]string `json:"header,omitempty"` // canonical names, for example "Content-Type"
	Body   []byte              `json:"body,omitempty"`
}

// State is a small key-value store of one instance: keys of at most 128 bytes, values of at most 1 MiB, 16 MiB in all.
// Get returns nil, nil for a missing key.
type State interface {
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

// The sinks take what a plugin emits. They return an error only when the work should stop.
type (
	SampleSink interface {
		Sample(Sample) error
	}
	SightingSink interface {
		Sighting(Sighting) error
	}
	FindingSink interface {
		Finding(Finding) error
	}
)

// CollectRequest says what the host wants from one collection.
type CollectRequest struct {
	Time     time.Time     // when the collection was due
	Interval time.Duration // the time until the next one
}

// MetricType is the type of a series.
type MetricType string

const (
	Gauge   MetricType = "gauge"   // a value that goes up and down
	Counter MetricType = "counter" // monotonic, cumulative
)

// Sample is one measured value of a series. Name and labels follow the OpenTelemetry semantic conventions,
// for example "system.cpu.time" with label "cpu.mode". A value that is not known is left out, never 0.
type Sample struct {
	Metric string            `json:"metric"`
	Unit   string            `json:"unit,omitempty"` // UCUM, for example "s", "By", "1"
	Type   MetricType        `json:"type"`
	Labels map[string]string `json:"labels,omitempty"`
	Time   time.Time         `json:"time"`
	Value  float64           `json:"value"`
}

// Scope limits a discovery. A Discoverer must not touch an address outside Prefixes.
type Scope struct {
	Prefixes []netip.Prefix
}

// Contains reports whether addr lies inside the scope.
func (s Scope) Contains(addr netip.Addr) bool {
	for _, p := range s.Prefixes {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// Sighting is what a discovery plugin saw of a device. The inventory merges sightings into devices.
type Sighting struct {
	Time     time.Time         `json:"time"`
	IP       netip.Addr        `json:"ip,omitzero"`
	MAC      string            `json:"mac,omitempty"` // lower case, colons
	Hostname string            `json:"hostname,omitempty"`
	Facts    map[string]string `json:"facts,omitempty"` // further facts, for example "rtt_seconds"
	// Source is the protocol that told it, for example "mdns"; Capture and Packet say where an Observer saw it.
	Source  string `json:"source,omitempty"`
	Capture string `json:"capture,omitempty"`
	Packet  uint64 `json:"packet,omitempty"`
	// Confidence is between 0 and 1.
	Confidence float64 `json:"confidence"`
	// Ports and Links are all that a device has. They take the place of those that the plugin told of it before; a sighting without any
	// leaves those as they are. They go as far as the host: the inventory does not keep them yet.
	Ports []Port `json:"-"`
	Links []Link `json:"-"`
}

// Port is an interface of a device.
type Port struct {
	Index       uint32         `json:"index"` // by which the device knows it
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Alias       string         `json:"alias,omitempty"` // what people called it
	Type        string         `json:"type,omitempty"`  // for example "ethernet"
	MAC         string         `json:"mac,omitempty"`
	Speed       uint64         `json:"speed,omitempty"` // bits per second
	State       string         `json:"state,omitempty"` // "up", "down", or "off" when people switched it off
	Addresses   []netip.Prefix `json:"addresses,omitempty"`
}

// Link is what a device says of the other end of one of its ports.
type Link struct {
	Port        string     `json:"port"`     // the device's own
	Protocol    string     `json:"protocol"` // "lldp", "cdp", or "bridge" for the only address that was heard there
	MAC         string     `json:"mac,omitempty"`
	IP          netip.Addr `json:"ip,omitzero"`
	Name        string     `json:"name,omitempty"`
	RemotePort  string     `json:"remote_port,omitempty"`
	RemoteMAC   string     `json:"remote_mac,omitempty"` // of the other port, where it goes by that
	Description string     `json:"description,omitempty"`
}

// Subscription names the records that a detector or an Observer wants.
type Subscription struct {
	Flows bool `json:"flows,omitempty"` // permission flows.read
	// Features, with Flows, fills in Flow.Features.
	Features bool                `json:"features,omitempty"`
	Facts    []string            `json:"facts,omitempty"`   // kinds of FactKinds; permission facts.read, of contents files.read
	Without  []string            `json:"without,omitempty"` // parts of FactParts; they come when somebody else looks at them
	Packets  *PacketSubscription `json:"packets,omitempty"` // permission packets.read
}

// Empty reports whether nothing is wanted.
func (s Subscription) Empty() bool { return !s.Flows && len(s.Facts) == 0 && s.Packets == nil }

// PacketSubscription says which packets a detector wants, and how much of each.
type PacketSubscription struct {
	// Layers are the layers of which a packet must hold at least one: "arp", "ipv4", "ipv6", "icmp", "tcp", "udp",
	// "dns", "dhcp"; none means all packets.
	Layers  []string `json:"layers,omitempty"`
	SnapLen int      `json:"snaplen,omitempty"` // bytes of each packet; 0 means 256
}

// PacketLayers are the layers that packets can be chosen by.
var PacketLayers = []string{"arp", "ipv4", "ipv6", "icmp", "tcp", "udp", "dns", "dhcp"}

// MaxSnapLen is the largest snap length, in bytes.
const MaxSnapLen = 64 << 10

// Validate reports a layer that does not exist or a snap length out of range.
func (s PacketSubscription) Validate() error {
	for _, l := range s.Layers {
		if !contains(PacketLayers, l) {
			return fmt.Errorf("there is no layer %q that packets can be chosen by (there are: %s)", l, strings.Join(PacketLayers, ", "))
		}
	}
	if s.SnapLen < 0 || s.SnapLen > MaxSnapLen {
		return fmt.Errorf("a snap length of %d bytes is not between 0 and %d", s.SnapLen, MaxSnapLen)
	}
	return nil
}

// Packet is one packet as it was captured.
type Packet struct {
	Number uint64    `json:"number"` // in the capture, from 1
	Time   time.Time `json:"time"`
	Link   uint16    `json:"link"`   // link type as in pcap, for example 1 for Ethernet
	Length uint32    `json:"length"` // bytes on the wire
	Data   []byte    `json:"data"`   // from the link layer on, cut to the snap length
}

// Batch carries records to a detector. Slices, those in the records too, are only valid during the call: copy what is
// kept; see also Plugin.Borrows. Records must not be changed: other instances may be shown the same ones. How the records are cut into batches differs between runtimes and must not change what is found.
//
// A batch holds records of one kind. Between kinds the order is that of the capture, within the size of a batch: a fact
// comes before its flow.
type Batch struct {
	Capture  string // names the input, for evidence
	Flows    []Flow
	Packets  []Packet
	DNS      []DNS
	TLS      []TLS
	HTTP     []HTTP
	SMB      []SMB
	DHCP     []DHCP
	ARP      []ARP
	OT       []OT
	Files    []File
	Logins   []Login
	Messages []Message
	Contents []Content
}

// Severity of a finding.
type Severity string

// From the least to the most severe.
const (
	SeverityInfo     Severity = "info"
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Rank orders severities; an unknown one ranks below info.
func (s Severity) Rank() int {
	switch s {
	case SeverityInfo:
		return 1
	case SeverityLow:
		return 2
	case SeverityMedium:
		return 3
	case SeverityHigh:
		return 4
	case SeverityCritical:
		return 5
	}
	return 0
}

// Finding is what a detector says once. Its id is derived from what was found, so that a replay cannot double it.
type Finding struct {
	ID         string             `json:"id"` // made by FindingID; a detector leaves it empty
	Detector   string             `json:"detector"`
	Rule       string             `json:"rule"` // as declared; behind it, after a slash, the name of a rule of the operator's own
	Severity   Severity           `json:"severity"`
	Risk       int                `json:"risk"`       // 0 to 100
	Confidence float64            `json:"confidence"` // 0 to 1
	Techniques []string           `json:"techniques"`
	Src        string             `json:"src"` // address, or "" when there are many
	Dst        string             `json:"dst"` // address, address:port or prefix
	Start      time.Time          `json:"start"`
	End        time.Time          `json:"end"`
	Packets    []uint64           `json:"packets"` // numbers in the capture, from 1
	Flows      []FlowRef          `json:"flows"`
	Features   map[string]float64 `json:"features,omitempty"` // what the verdict rests on
	Summary    string             `json:"summary"`
}

// FlowRef names a flow in the evidence of a finding.
type FlowRef struct {
	ID          uint64 `json:"id"`
	CommunityID string `json:"community_id"`
	Proto       string `json:"proto"`
	Src         string `json:"src"` // address:port
	Dst         string `json:"dst"`
}

// Notice is what a notifier is asked to deliver.
type Notice struct {
	ID       string    `json:"id"` // the same for each retry
	Time     time.Time `json:"time"`
	Event    string    `json:"event"` // "alert.firing", "alert.resolved", "metrics", "test"
	Severity Severity  `json:"severity"`
	Title    string    `json:"title"`
	Text     string    `json:"text"`
	URL      string    `json:"url,omitempty"`   // the alert's page
	Alert    *Finding  `json:"alert,omitempty"` // the finding that the alert rests on
	// AlertID is the same for every notice of one alert, however many findings the alert has grown to; "" for a notice that
	// is about none. A notifier that keeps one thing per alert, such as a ticket, finds it by this.
	AlertID string `json:"alert_id,omitempty"`
	// Samples are what was measured, for a notice of event "metrics" (permission metrics.read). A notifier with that permission is a
	// sink: it gets these and no alerts, in the order in which they were stored, and again after a Notify that failed.
	// Beside its own labels a sample of an agent has "host.name", the agent's name.
	Samples []Sample `json:"samples,omitempty"`
}

// EventMetrics is the event of a notice that brings samples.
const EventMetrics = "metrics"

// Receipt is what a system that was told answered.
type Receipt struct {
	ForeignID string `json:"foreign_id,omitempty"`
	URL       string `json:"url,omitempty"`
	Undoable  bool   `json:"undoable,omitempty"`
}

// DeliveryStatus is what became of something delivered.
type DeliveryStatus struct {
	State DeliveryState `json:"state"`
	Text  string        `json:"text,omitempty"` // what the other system calls it
	Time  time.Time     `json:"time,omitzero"`  // when it changed
}

// DeliveryState says whether the other side still works on it.
type DeliveryState string

const (
	DeliveryOpen   DeliveryState = "open"   // still being worked on
	DeliveryClosed DeliveryState = "closed" // done there: the alert is resolved here
	DeliveryUndone DeliveryState = "undone" // taken back
)
