package catalogue

import (
	"encoding/json"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// InstallPlan is what an installation would do. Nothing has been changed by asking.
type InstallPlan struct {
	Install      []PlannedInstall `json:"install" nullable:"false" doc:"In order; what is there already is not among it."`
	Permissions  PermissionDiff   `json:"permissions"`
	ConfigSchema json.RawMessage  `json:"config_schema,omitempty"`
	Config       json.RawMessage  `json:"config,omitempty" doc:"As it is now, without its secrets."`
	SecretsSet   []string         `json:"secrets_set" nullable:"false"`
	Changes      []string         `json:"changes" nullable:"false" doc:"Settings that this version added or dropped."`
	Conflicts    []string         `json:"conflicts" nullable:"false" doc:"Why it cannot be installed; empty when it can."`
	NeedsHuman   bool             `json:"needs_human" doc:"It asks for more than was granted so far."`
	Version      string           `json:"version"`
	From         string           `json:"from,omitempty" doc:"The version that is there now."`
	Node         string           `json:"node" doc:"Where it would run: server, agents, group:NAME or the id of an agent."`
}

// PlannedInstall is one release that an installation brings.
type PlannedInstall struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Size    int64  `json:"size" doc:"Bytes to fetch."`
	Because string `json:"because"`

	Registry string `json:"registry" doc:"The name of the registry that it comes from. Agents that are to run it must name any but own in their policy.yaml."`
}

// PermissionDiff compares what a version asks for with what was granted.
type PermissionDiff struct {
	Added   []sdk.Permission `json:"added" nullable:"false"`
	Removed []sdk.Permission `json:"removed" nullable:"false"`
	Kept    []sdk.Permission `json:"kept" nullable:"false"`
}

// The states of an installation.
const (
	InstallRunning    = "running"
	InstallDone       = "done"
	InstallFailed     = "failed"          // and everything that it changed is as before
	InstallStuck      = "rollback failed" // somebody has to look
	StepWaiting       = "waiting"
	StepRunning       = "running"
	StepDone          = "done"
	StepFailed        = "failed"
	StepSkipped       = "skipped"
	StepRolledBack    = "rolled back"
	stepResolve       = "resolve"
	stepDownload      = "download"
	stepVerify        = "verify"
	stepGrants        = "grants"
	stepStart         = "start"
	stepReady         = "ready"
	interruptedReason = "picketd stopped while this was being installed"
	unwrittenReason   = "how it ended could not be stored: is the disk full? It is taken back when picketd starts again, or when somebody installs the plugin anew"
)

// InstallJob is an installation and how far it has come.
type InstallJob struct {
	ID       string        `json:"id"`
	Plugin   string        `json:"plugin"`
	Version  string        `json:"version"`
	Node     string        `json:"node"`
	By       string        `json:"by"`
	State    string        `json:"state" enum:"running,done,failed,rollback failed"`
	Steps    []InstallStep `json:"steps" nullable:"false"`
	Error    string        `json:"error,omitempty"`
	Undone   []string      `json:"undone" nullable:"false" doc:"What was taken back after a failure."`
	Started  time.Time     `json:"started"`
	Finished *time.Time    `json:"finished,omitempty"`
}

// InstallStep is one step; done of total are bytes while fetching and nodes while starting.
type InstallStep struct {
	Name  string `json:"name" enum:"resolve,download,verify,grants,start,ready"`
	State string `json:"state" enum:"waiting,running,done,failed,skipped,rolled back"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	Text  string `json:"text,omitempty"`
}

// Fleet is which version of what runs where.
type Fleet struct {
	Plugins []FleetPlugin `json:"plugins" nullable:"false"`
	Nodes   []FleetNode   `json:"nodes" nullable:"false"`
	Groups  []string      `json:"groups" nullable:"false" doc:"The groups that agents are in; all is every agent."`
}

// FleetPlugin is one plugin on all nodes.
type FleetPlugin struct {
	ID        string            `json:"id"`
	Title     string            `json:"title"`
	Kind      sdk.Kind          `json:"kind"`
	Versions  []FleetVersion    `json:"versions" nullable:"false" doc:"Those that run somewhere, the newest first."`
	Wanted    string            `json:"wanted" doc:"The version that nodes should run when no rollout says otherwise."`
	ByGroup   map[string]string `json:"wanted_by_group,omitempty" doc:"The version of groups to which a rollout brought another."`
	Newest    string            `json:"newest,omitempty" doc:"What the registry offers."`
	Policy    UpdatePolicy      `json:"policy"`
	Rollout   string            `json:"rollout,omitempty" doc:"The rollout that is under way."`
	Overrides []Override        `json:"overrides" nullable:"false"`
}

// FleetVersion is one version and the nodes that run it.
type FleetVersion struct {
	Version string      `json:"version"`
	Nodes   []FleetUser `json:"nodes" nullable:"false"`
}

// FleetUser is a node that runs something.
type FleetUser struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// FleetNode is one node of the fleet.
type FleetNode struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Type  string `json:"type" enum:"server,agent"`
	Group string `json:"group,omitempty"`
	OS    string `json:"os,omitempty"`
	Arch  string `json:"arch,omitempty"`
	Trust string `json:"trust,omitempty" doc:"The kind of root that the node says it has pinned."`
	Root  string `json:"root_sha256,omitempty"`
	// Refreshed is when the node last had fresh signatures: a revocation reaches it with the next.
	Refreshed *time.Time `json:"refreshed,omitempty"`
}

// UpdatePolicy says how a plugin is kept up to date without anybody asking. Grants never grow that way.
type UpdatePolicy struct {
	Auto         string `json:"auto" enum:"off,patch,minor"`
	CooldownDays int    `json:"cooldown_days" minimum:"0" maximum:"365" doc:"How old a release must be."`
	Group        string `json:"group" doc:"The agents that follow; all is every agent."`
	By           string `json:"by,omitempty" doc:"Who set it."`
	Waiting      string `json:"waiting,omitempty" doc:"Why the newest version that fits is not taken."`
}

// Override lets a revoked version run on where the node's own policy.yaml allows that.
type Override struct {
	Version string    `json:"version"`
	Node    string    `json:"node" doc:"server, the id of an agent, or empty for every node."`
	Reason  string    `json:"reason"`
	By      string    `json:"by"`
	Time    time.Time `json:"time"`
}
