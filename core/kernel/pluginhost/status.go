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
	Since       time.Time        `json:"since"` // when the state began
	Restarts    int              `json:"restarts"`
	Permissions []sdk.Permission `json:"permissions"` // the grants, references to the configuration resolved
	Ledger      Ledger           `json:"ledger"`
	LogTail     []LogLine        `json:"log_tail"`
}

// Ledger is what an instance has cost and brought since the host started. Memory is that of the running process.
type Ledger struct {
	CPUSeconds   float64 `json:"cpu_seconds"`
	MemoryBytes  uint64  `json:"memory_bytes"`
	Calls        uint64  `json:"calls"`
	Errors       uint64  `json:"errors"`
	Records      uint64  `json:"records"` // samples, sightings or flows that passed
	Findings     uint64  `json:"findings"`
	Crashes      uint64  `json:"crashes"`
	LatencyP50ms float64 `json:"latency_p50_ms"`
	LatencyP95ms float64 `json:"latency_p95_ms"`
	LogDropped   uint64  `json:"log_dropped"` // lines over the rate
}

// LogLine is one line that a plugin wrote.
type LogLine struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"` // debug, info, warn, error
	Text  string    `json:"text"`
}
