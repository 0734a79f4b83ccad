package store

import (
	"encoding/json"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// User is a person who can sign in.
type User struct {
	ID, Tenant, Username, Role string
	PasswordHash               string // argon2id, PHC format; empty: cannot sign in with a password
	Disabled                   bool
	Created                    time.Time
	SignedIn                   time.Time // the last time; zero: never
}

// Session is a signed-in browser. Only the hash of its secret is stored.
type Session struct {
	ID, Tenant, UserID string
	Hash               []byte // SHA-256 of the secret
	Created, LastSeen  time.Time
	Expires            time.Time // absolute, whatever the use
	Address, UserAgent string
	Method             string    // how it was opened: "password", "totp", "passkey", "link", ...
	Proved             time.Time // when its owner last proved who they are
}

// Kinds of second factor.
const (
	FactorTOTP    = "totp"
	FactorPasskey = "passkey"
)

// Factor is what a person proves themselves with besides a password.
type Factor struct {
	ID, Tenant, UserID, Kind, Name string
	Confirmed                      bool            // until then it opens nothing
	Secret                         string          // of codes; encrypted at rest
	Step                           int64           // of the last code that was taken
	Credential                     []byte          // a passkey's id
	Body                           json.RawMessage // a passkey's public half
	Created, LastUsed              time.Time
}

// APIToken lets a program act with a role. Only the hash of its secret is stored.
type APIToken struct {
	ID, Tenant, Name, Role string
	Hash                   []byte
	Hint                   string // the secret's first characters, to tell tokens apart
	CreatedBy              string
	Created, LastUsed      time.Time
	Expires                time.Time // zero: never
	Scopes                 []string  // what of the role it may; none: all of it
	UserID                 string    // whose it is: it may no more than they, and ends with them; "" for the server's own
}

// OneTimeToken opens one door once: first set-up or a sign-in link.
type OneTimeToken struct {
	Hash             []byte
	Tenant, Purpose  string // purpose: "setup" or "signin"
	UserID           string // for "signin"
	Created, Expires time.Time
	Used             time.Time
}

// Agent is an enrolled node.
type Agent struct {
	ID, Tenant, Name, OS, Arch, Version string
	Address                             string // seen at the last contact
	PublicKey                           []byte // Ed25519
	BearerHash                          []byte // SHA-256 of the bearer token
	Labels                              map[string]string
	Disabled                            bool
	Enrolled, LastSeen                  time.Time
	ConfigVersion                       int64
	Status                              json.RawMessage // what the agent last reported of itself; nil when never
	Group                               string          // its home: GroupAll unless somebody put it into another
	Groups                              []string        // all that it is in with those above them, the nearest first; GroupAll is none of them
	Plugins, Failing                    int             // how many it says it runs, and how many of those do not work
}

// GroupAll is the group of an agent that nobody put into another, and the name of all agents together.
const GroupAll = "all"

// EnrolmentToken lets agents in, as many as it was made for.
type EnrolmentToken struct {
	ID, Tenant, Name string // with one use, the name is what the agent is called
	Hash             []byte
	CreatedBy        string
	Created, Expires time.Time
	MaxUses, Uses    int       // 0 is 1
	Used             time.Time // the last time
	Labels           map[string]string
	Group            string // "": GroupAll
	Revoked          time.Time
	RevokedBy        string
}

// Enrolment is one use of a token.
type Enrolment struct {
	AgentID, Name, Address string
	Time                   time.Time
}

// States of a command.
const (
	CommandQueued  = "queued"
	CommandSent    = "sent" // handed to the agent; never handed out again
	CommandDone    = "done"
	CommandFailed  = "failed"
	CommandRefused = "refused" // by the agent: its ceiling, an unknown type, a bad signature
	CommandExpired = "expired"

	CommandWaiting   = "waiting" // for a second person to approve its order
	CommandDenied    = "denied"  // by a second person
	CommandCancelled = "cancelled"
)

// Command is an order to one agent.
type Command struct {
	ID, Tenant, AgentID, Type string
	Args                      json.RawMessage
	Issued, Expires           time.Time
	Signature                 []byte // of the core's command key
	State                     string
	CreatedBy                 string
	Sent, Finished            time.Time
	Output                    string
	OutputTruncated           bool
	OrderID                   string // "" for what the server itself asked for
	Cancelling                int    // 1: somebody wants it stopped; 2: its agent was told
}

// Kinds of node that an assignment can name.
const (
	NodeServer = "server"
	NodeAgent  = "agent"  // the agent NodeID
	NodeAgents = "agents" // every agent of the tenant, or of the group NodeID when that is not ""
)

// Assignment enables a plugin: one configured instance on a node. Secrets are encrypted at rest.
type Assignment struct {
	Instance, Tenant         string
	Plugin, Version, Runtime string
	NodeType, NodeID         string
	Config                   json.RawMessage
	Secrets                  map[string]string
	Grants                   json.RawMessage // []sdk.Permission
	Interval                 time.Duration
	Limits                   registry.Limits // what an operator allows instead of what the manifest states
	Enabled                  bool
	CreatedBy                string
	Created, Updated         time.Time
	// Versions are those of single agents while they differ: a rollout sets them. They are read and not written with
	// the rest.
	Versions map[string]AgentVersion
	// Groups are those of whole groups, where the assignment is for all agents. They are kept as Versions are.
	Groups map[string]AgentVersion
}

// AgentVersion is what one agent or group runs instead of the version that the assignment names.
type AgentVersion struct {
	Version string          `json:"version"`
	Grants  json.RawMessage `json:"grants,omitempty"` // nil: those of the assignment
}

// States of a capture.
const (
	CaptureQueued  = "queued"
	CaptureRunning = "running"
	CaptureStopped = "stopped"
	CaptureDone    = "done"
	CaptureFailed  = "failed"
)

// Capture is an uploaded capture file and the job that reads it.
type Capture struct {
	ID, Tenant, Name, SHA256 string
	Size                     int64
	State                    string
	Order                    int64   // in the queue, the lowest first
	Progress                 float64 // 0 to 1
	Packets, Bytes, Flows    uint64
	Undecoded                uint64
	Truncated                bool
	FirstPacket, LastPacket  time.Time
	Findings                 int
	Skipped                  string // what the verdict did not see, in words; "" when it saw everything
	Error                    string
	CreatedBy                string
	Created, Started         time.Time
	Finished                 time.Time
	Services                 []ServedPort
	Quality                  string // JSON as the worker said it, "" when it has not
}

// ServedPort is a port at which hosts of a capture answered, and how many did.
type ServedPort struct {
	Proto uint8  `json:"proto"`
	Port  uint16 `json:"port"`
	Hosts int    `json:"hosts"`
}

// States of an alert.
const (
	AlertFiring       = "firing"
	AlertAcknowledged = "acknowledged"
	AlertResolved     = "resolved"
)

// Alert is what findings with the same fingerprint have become.
type Alert struct {
	ID, Tenant, Fingerprint string
	State                   string
	Severity                sdk.Severity
	Risk                    int
	Confidence              float64
	Title, Detector, Rule   string
	Techniques              []string
	Src, Dst                string
	FirstSeen, LastSeen     time.Time
	Count                   int
	CaptureID, Agent        string // where it was seen first: one of them, or neither
	AcknowledgedBy          string
	Created, Updated        time.Time
}

// AlertFilter narrows a list of alerts; empty fields do not.
type AlertFilter struct {
	State, Severity, CaptureID string
	Detector                   string
	Technique                  string    // or one below it
	Entity                     string    // at either end
	From                       time.Time // seen or found then or later
}

// Finding is a stored finding and where it came from.
type Finding struct {
	sdk.Finding
	Tenant, AlertID  string
	CaptureID, Agent string // one of them, or neither
	Run, Interface   string // of the agent's capture; packets and flows are numbered within the run
	Created          time.Time
}

// States of a notice.
const (
	NoticeQueued    = "queued"
	NoticeDelivered = "delivered"
	NoticeFailed    = "failed" // will be tried again
	NoticeDead      = "dead"   // given up
)

// Notice is one delivery to one notifier instance.
type Notice struct {
	ID, Tenant, AlertID string
	Notifier            string // instance
	Payload             sdk.Notice
	State               string
	Attempts            int
	Due, LeaseUntil     time.Time
	LastError           string
	Receipt             *sdk.Receipt
	Outcome             string // on the other side: "" not known, open, closed, undone, none
	OutcomeText         string // what the other side calls it, or why it is not known
	Checks              int    // how often it was asked
	CheckAt             time.Time
	Created, Updated    time.Time
}

// Device is the inventory record that sightings are merged into.
type Device struct {
	ID, Tenant           string
	IPs, MACs, Hostnames []string
	Vendor               string
	FirstSeen, LastSeen  time.Time
	Sources              []string // plugins that saw it
	Facts                map[string]Fact
}

// Fact is what is known of a device, with its provenance.
type Fact struct {
	Value      string    `json:"value"`
	Source     string    `json:"source"`
	Confidence float64   `json:"confidence"`
	Time       time.Time `json:"time"`
	Protocol   string    `json:"protocol,omitempty"` // that told it
	Capture    string    `json:"capture,omitempty"`  // where an observer saw it, and in which packet
	Packet     uint64    `json:"packet,omitempty"`
	// Other is what another source says, when that is something else.
	Other OtherFact `json:"other,omitzero"`
}

// OtherFact is a value that did not win, with who said it.
type OtherFact struct {
	Value      string    `json:"value"`
	Source     string    `json:"source"`
	Protocol   string    `json:"protocol,omitempty"`
	Confidence float64   `json:"confidence"`
	Time       time.Time `json:"time"`
}

// SightingBatch is what a node saw. (Agent, Epoch, Seq) makes it count once; an empty Epoch switches that off.
type SightingBatch struct {
	Tenant, Agent, Epoch string
	Seq                  uint64
	Sightings            []Sighting
}

// Sighting is a sighting and the plugin that made it.
type Sighting struct {
	Plugin string `json:"plugin"`
	sdk.Sighting
	// KinMAC and KinIP are what the device may be known by besides: devices that have it are offered to Merge too.
	KinMAC, KinIP string `json:"-"`
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	ID, Tenant      string
	Time            time.Time
	Actor           string // "user:ada", "token:ci", "agent:<id>", "system"
	Action, Object  string
	Outcome         string // "ok", "refused", "failed"
	Detail, Address string
	Seq             int64  // place in the tenant's chain, from 1
	Hash            []byte // of this line and the hash of the one before it
}

// AuditFilter narrows the audit log; empty fields do not. Actor, Action and Object are parts of what they look for, Text
// is a part of any of them, of the detail or of the address.
type AuditFilter struct {
	Actor, Action, Object, Outcome, Text string
	From, To                             time.Time // To is not among it
}
