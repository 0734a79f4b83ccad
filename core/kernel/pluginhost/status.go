package pluginhost

import (
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// State is where an instance stands.
type State string

const (
	Staged      State = "staged"      // assigned, not yet tried
	Starting    State = "starting"    // verified bytes are being started and configured
	Ready       State = "ready"       // works
	Degraded    State = "degraded"    // runs, but says that it cannot do its work
	Backoff     State = "backoff"     // crashed or could not start; the host will try again by itself
	Quarantined State = "quarantined" // crashed too often; waits for an operator
	Revoked     State = "revoked"     // the registry withdrew the release
	Refused     State = "refused"     // must not run as assigned: signature, ceiling or configuration
	Draining    State = "draining"    // is being stopped
	Stopped     State = "stopped"     // no longer assigned
)

// settled reports whether the state stays until something happens.
func (s State) settled() bool { return s != Staged && s != Starting && s != Draining }

// Status is what is known about an instance at one moment.
type Status struct {
	Instance    string           `json:"instance"`
	Plugin      string           `json:"plugin"`
	Version     string           `json:"version"`
	Kind        sdk.Kind         `json:"kind"` // "" until the first start was tried
	Runtime     string           `json:"runtime"`
	Digest      string           `json:"digest"` // sha256 of the bytes that run or ran last
	State       State            `json:"state"`
	Reason      string           `json:"reason,omitempty"`  // why it is not ready, in words for an operator
	Refusal     registry.Reason  `json:"refusal,omitempty"` // what the registry or the ceiling calls it, when they refused
	PID         int              `json:"pid,omitempty"`
	Shares      []string         `json:"shares,omitempty"` // the other instances of its process, whose memory is that of all
	Since       time.Time        `json:"since"`            // when the state began
	Restarts    int              `json:"restarts"`
	Permissions []sdk.Permission `json:"permissions"` // the grants, references to the configuration resolved
	Limits      ProcessLimits    `json:"limits"`
	Ledger      Ledger           `json:"ledger"`
	LogTail     []LogLine        `json:"log_tail"`
	History     []Transition     `json:"history"`             // the last of it
	Previous    string           `json:"previous,omitempty"`  // the version that a rollback goes to
	Upgrade     *Upgrade         `json:"upgrade,omitempty"`   // the last change of version and what became of it
	Shadow      *ShadowReport    `json:"shadow,omitempty"`    // a version that is tried beside the running one
	Incidents   []Incident       `json:"incidents,omitempty"` // what it tried and was kept from, the first of each sort
}

// ProcessLimits are what the running process is held to. Zero is no limit.
type ProcessLimits struct {
	MemoryBytes       uint64  `json:"memory_bytes,omitempty"`
	CPU               float64 `json:"cpu,omitempty"`              // cores
	Deadline          float64 `json:"deadline_seconds,omitempty"` // of one call, when the plugin has one of its own
	RecordsPerSecond  int     `json:"records_per_second,omitempty"`
	OpenFiles         int     `json:"open_files,omitempty"`
	LogLinesPerSecond int     `json:"log_lines_per_second,omitempty"`
}

// UpgradeState is how far a change of version has come.
type UpgradeState string

const (
	UpgradeStarting   UpgradeState = "starting"    // the new version starts beside the old one
	UpgradeWaiting    UpgradeState = "waiting"     // it waits for the end of a capture, because it takes no state over
	UpgradeProbation  UpgradeState = "probation"   // it works and is watched
	UpgradeDone       UpgradeState = "done"        // it stays
	UpgradeFailed     UpgradeState = "failed"      // it did not take over and the old version goes on, or it must not run
	UpgradeRolledBack UpgradeState = "rolled_back" // it took over and was taken back
)

// Upgrade is a change of version of a running instance.
type Upgrade struct {
	From   string       `json:"from"`
	To     string       `json:"to"`
	State  UpgradeState `json:"state"`
	Reason string       `json:"reason,omitempty"` // why it failed or was taken back
	Began  time.Time    `json:"began"`
	Ended  time.Time    `json:"ended,omitzero"`
}

func (u *Upgrade) copy() *Upgrade {
	if u == nil {
		return nil
	}
	c := *u
	return &c
}

// Ledger is what an instance has cost and brought since the host started. Memory and the calls in flight are those of
// the running process.
type Ledger struct {
	CPUSeconds       float64 `json:"cpu_seconds"`
	ThrottledSeconds float64 `json:"throttled_seconds"` // it waited so long for its share of the processor
	MemoryBytes      uint64  `json:"memory_bytes"`
	PeakMemoryBytes  uint64  `json:"peak_memory_bytes"` // of any of its processes
	Calls            uint64  `json:"calls"`
	Errors           uint64  `json:"errors"`
	InFlight         int     `json:"in_flight"` // calls and batches that it has not answered
	Records          uint64  `json:"records"`   // samples, sightings or flows that passed
	Findings         uint64  `json:"findings"`
	RecordsPerSecond float64 `json:"records_per_second"` // over the last seconds
	Dropped          uint64  `json:"dropped"`            // records over its limit, refused
	BytesIn          uint64  `json:"bytes_in"`           // of the records that it was given
	BytesOut         uint64  `json:"bytes_out"`          // of those that it gave, about
	Replayed         uint64  `json:"replayed"`           // batches given again after a crash
	Crashes          uint64  `json:"crashes"`
	RefusedCalls     uint64  `json:"refused_calls"` // of the kernel, which no plugin may make
	LatencyP50ms     float64 `json:"latency_p50_ms"`
	LatencyP95ms     float64 `json:"latency_p95_ms"`
	LatencyP99ms     float64 `json:"latency_p99_ms"`
	LogDropped       uint64  `json:"log_dropped"` // lines over the rate
}

// LogLine is one line that a plugin wrote.
type LogLine struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"` // debug, info, warn, error
	Text  string    `json:"text"`
}
