// Package catalogue knows the plugins of a server: what the registry offers, what an operator enabled where with which
// grants, and how each instance runs, here and on the agents. A wish to enable something goes in; it is checked against
// the signed descriptor, stored, and becomes the desired state of the node it is for. Out come the cards of the page.
package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// Plugin is one card: what it is, and where it runs.
type Plugin struct {
	ID           string           `json:"id"`
	Title        string           `json:"title"`
	Summary      string           `json:"summary"`
	Kind         sdk.Kind         `json:"kind" enum:"collector,discovery,detector,notifier"`
	Versions     []string         `json:"versions" nullable:"false" doc:"What the registry offers, newest first."`
	Version      string           `json:"version" doc:"The newest that may run."`
	License      string           `json:"license"`
	Homepage     string           `json:"homepage,omitempty"`
	Trust        string           `json:"trust" enum:"development,release,unsigned" doc:"unsigned: its author tries it on this server."`
	VouchedBy    string           `json:"vouched_by,omitempty" doc:"The role of the registry that signed it."`
	Digest       string           `json:"digest,omitempty" doc:"Of the signed descriptor."`
	Revoked      string           `json:"revoked,omitempty" doc:"Why it must not run."`
	Runtimes     []string         `json:"runtimes" nullable:"false"`
	Permissions  []sdk.Permission `json:"permissions" nullable:"false"`
	ConfigSchema json.RawMessage  `json:"config_schema,omitempty" doc:"JSON Schema of the configuration."`
	Rules        []Rule           `json:"rules" nullable:"false" doc:"What a detector can find."`
	Techniques   []string         `json:"techniques" nullable:"false"`
	Metrics      []string         `json:"metrics" nullable:"false"`
	Tags         []string         `json:"tags" nullable:"false"`
	HasPage      bool             `json:"has_page" doc:"The release carries a page of its own, shown in a frame."`
	Readme       string           `json:"readme,omitempty" doc:"Markdown; only on the card of one plugin."`
	Enabled      bool             `json:"enabled"`
	Instances    []Instance       `json:"instances" nullable:"false"`
}

// Rule is one thing that a detector can find.
type Rule struct {
	ID             string       `json:"id"`
	Purpose        string       `json:"purpose"`
	Techniques     []string     `json:"techniques" nullable:"false"`
	Severity       sdk.Severity `json:"severity"`
	FalsePositives []string     `json:"false_positives" nullable:"false"`
}

// Node is where an instance runs.
type Node struct {
	Type string `json:"type" enum:"server,agent"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Instance is one configured use of a plugin on one node.
type Instance struct {
	Instance   string                   `json:"instance"`
	Plugin     string                   `json:"plugin"`
	Node       Node                     `json:"node"`
	State      pluginhost.State         `json:"state" enum:"staged,starting,ready,degraded,backoff,quarantined,revoked,refused,draining,stopped"`
	Reason     string                   `json:"reason,omitempty"`
	Runtime    string                   `json:"runtime"`
	Version    string                   `json:"version"`
	Digest     string                   `json:"digest,omitempty" doc:"Of the bytes that run."`
	PID        int                      `json:"pid,omitempty"`
	Shares     []string                 `json:"shares,omitempty" doc:"The other instances of its pack that run in the same process, whose memory is that of all."`
	Restarts   int                      `json:"restarts"`
	Since      *time.Time               `json:"since,omitempty"`
	Ledger     pluginhost.Ledger        `json:"ledger"`
	LogTail    []pluginhost.LogLine     `json:"log_tail" nullable:"false"`
	Config     json.RawMessage          `json:"config,omitempty" doc:"Without its secrets."`
	SecretsSet []string                 `json:"secrets_set" nullable:"false" doc:"Names of the secrets that are stored."`
	Grants     []sdk.Permission         `json:"grants" nullable:"false"`
	Interval   string                   `json:"interval,omitempty"`
	By         string                   `json:"by,omitempty" doc:"Who enabled it."`
	Unconfined bool                     `json:"unconfined,omitempty" doc:"It runs without confinement, for a debugger."`
	Limits     pluginhost.ProcessLimits `json:"limits"`
	Previous   string                   `json:"previous,omitempty" doc:"The version that a rollback goes to."`

	Upgrade *pluginhost.Upgrade      `json:"upgrade,omitempty" doc:"The last change of version and what became of it."`
	Shadow  *pluginhost.ShadowReport `json:"shadow,omitempty" doc:"A version that is tried beside the running one."`

	LimitsSet registry.Limits       `json:"limits_set" doc:"What an operator allows instead of what the manifest states."`
	Incidents []pluginhost.Incident `json:"incidents" nullable:"false" doc:"What it tried and was kept from, the first of each sort."`

	history []pluginhost.Transition
}

// Store keeps what was enabled.
type Store interface {
	PutAssignment(ctx context.Context, a store.Assignment) error
	DeleteAssignment(ctx context.Context, tenant, instance string) error
	ListAssignments(ctx context.Context, tenant string) ([]store.Assignment, error)
	NodeAssignments(ctx context.Context, tenant, nodeType, nodeID string) ([]store.Assignment, error)
	AgentByID(ctx context.Context, id string) (store.Agent, error)
	ListAgents(ctx context.Context, tenant string, p store.Page) ([]store.Agent, string, error)
	FleetStore
	InstallStore
	ConfigStore
}

// FleetStore keeps what is said about many nodes at once.
type FleetStore interface {
	SetAgentsGroup(ctx context.Context, tenant string, ids []string, group string) ([]string, error)
	OpenRollouts(ctx context.Context, tenant string) ([]store.Rollout, error)
	PutUpdatePolicy(ctx context.Context, p store.UpdatePolicy) error
	UpdatePolicies(ctx context.Context, tenant string) ([]store.UpdatePolicy, error)
	PutOverride(ctx context.Context, o store.Override) error
	DeleteOverrides(ctx context.Context, tenant, plugin, version string) error
	Overrides(ctx context.Context, tenant string) ([]store.Override, error)
}

// InstallStore keeps installations.
type InstallStore interface {
	PutInstall(ctx context.Context, i store.Install) error
	InstallByID(ctx context.Context, tenant, id string) (store.Install, error)
	RunningInstalls(ctx context.Context, tenant string) ([]store.Install, error)
	PruneInstalls(ctx context.Context, before time.Time) (int, error)
}

// Registry verifies and installs; registry/client is one.
type Registry interface {
	Refresh(ctx context.Context) error
	List(ctx context.Context) ([]client.Release, error)
	Resolve(ctx context.Context, id, versionRange string) (*client.Verified, error)
	Install(ctx context.Context, id, version, runtime string) (*client.Installed, error)
	Installed(id string) (*client.Installed, bool)
	AllInstalled() []*client.Installed
	RecordGrants(ctx context.Context, id string, grants []sdk.Permission) error
	Readme(ctx context.Context, d *registry.Descriptor) ([]byte, error)
	Status() client.Status
}

// Host runs the server's own instances; pluginhost.Host is one.
type Host interface {
	Apply(ctx context.Context, list []pluginhost.Assignment) error
	Instances() []pluginhost.Status
	Restart(ctx context.Context, instance string) error
	Release(ctx context.Context, instance string) error
}

// Auditor writes down what was refused; audit.Log is one.
type Auditor interface {
	Record(ctx context.Context, e audit.Entry) error
}

// Config is what the catalogue needs. Registry may be nil: then nothing is offered.
type Config struct {
	Tenant   string
	Store    Store
	Registry Registry
	Host     Host
	Ceiling  *policy.Ceiling // of the server's own node
	Order    func(ctx context.Context, o queue.Order) (store.Command, error)
	Notify   func(ctx context.Context, instance string, n sdk.Notice) (sdk.Receipt, error)
	Audit    Auditor
	Changed  func(what any) // something about plugins is different
	// Refreshed is called when the registry was asked for news on the way to something else; nil: nobody wants to know.
	Refreshed func(ctx context.Context)
	Unsigned  func() []Unsigned // plugins under development; nil when this server takes none
	Shop      Shop              // what the registries say of themselves; nil: what Registry lists
	// Needs says what plugins would be of use here, the most pressing first; nil: nobody knows.
	Needs func(ctx context.Context) ([]Need, error)
	Now   func() time.Time
	Log   *slog.Logger
}

// Catalogue is safe for concurrent use.
type Catalogue struct {
	cfg Config

	change sync.Mutex // one change of what is enabled at a time, so that Apply sees them in order

	mu         sync.Mutex        // guards what follows
	seen       map[string]string // refusals that were audited: node and instance → reason
	installing map[string]bool   // plugins
	overridden map[string]bool   // revoked releases that may run on this server: id and version

	life        context.Context // of installations
	close       context.CancelFunc
	jobs        sync.WaitGroup
	readyWithin time.Duration
}

// New returns a catalogue. Nothing runs before Start.
func New(cfg Config) *Catalogue {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Catalogue{cfg: cfg, seen: map[string]string{}, installing: map[string]bool{}, readyWithin: readyWithin}
	c.life, c.close = context.WithCancel(context.Background())
	return c
}

// Close ends the installations that are under way; what they did is taken back.
func (c *Catalogue) Close() {
	c.close()
	c.jobs.Wait()
}

// Start brings up on the server what is enabled there. It needs no registry: what is installed is enough. What was being
// installed when the server stopped is taken back first.
func (c *Catalogue) Start(ctx context.Context) error {
	if err := c.recoverInstalls(ctx); err != nil {
		return fmt.Errorf("take back what was being installed: %w", err)
	}
	if err := c.loadOverrides(ctx); err != nil {
		return err
	}
	c.change.Lock()
	defer c.change.Unlock()
	if err := c.agree(ctx); err != nil { // what is installed starts all the same
		c.cfg.Log.Error("bring plugins.lock to what is enabled", "error", err)
	}
	return c.apply(ctx)
}

// apply makes the plugin host run what is stored. The caller holds change.
func (c *Catalogue) apply(ctx context.Context) error {
	rows, err := c.cfg.Store.NodeAssignments(ctx, c.cfg.Tenant, store.NodeServer, "")
	if err != nil {
		return err
	}
	unsigned := c.unsigned()
	list := make([]pluginhost.Assignment, 0, len(rows)+len(unsigned))
	for _, u := range unsigned {
		a, err := u.host()
		if err != nil {
			return err
		}
		list = append(list, a)
	}
	for _, r := range rows {
		if _, ok := c.unsignedOf(r.Plugin); ok {
			continue // it rests while its author tries another
		}
		a, err := HostAssignment(r)
		if err != nil {
			return err
		}
		list = append(list, a)
	}
	return c.cfg.Host.Apply(ctx, list)
}

// HostAssignment is what a plugin host is given of a stored assignment.
func HostAssignment(r store.Assignment) (pluginhost.Assignment, error) {
	grants, err := grantsOf(r)
	return pluginhost.Assignment{Instance: r.Instance, Plugin: r.Plugin, Version: r.Version, Runtime: r.Runtime,
		Config: r.Config, Secrets: r.Secrets, Grants: grants, Interval: r.Interval, Limits: r.Limits}, err
}

func grantsOf(r store.Assignment) ([]sdk.Permission, error) {
	grants := []sdk.Permission{}
	if len(r.Grants) == 0 {
		return grants, nil
	}
	err := json.Unmarshal(r.Grants, &grants)
	return grants, err
}

// Enabled returns the server's instances of a kind that are meant to run, whether or not they do just now.
func (c *Catalogue) Enabled(ctx context.Context, kind sdk.Kind) ([]string, error) {
	rows, err := c.cfg.Store.NodeAssignments(ctx, c.cfg.Tenant, store.NodeServer, "")
	out := c.unsignedOfKind(kind)
	if err != nil || c.cfg.Registry == nil {
		return out, err
	}
	for _, r := range rows {
		if _, ok := c.unsignedOf(r.Plugin); ok {
			continue
		}
		if i, ok := c.cfg.Registry.Installed(r.Plugin); ok && i.Descriptor.Manifest.Kind == kind {
			out = append(out, r.Instance)
		}
	}
	return out, nil
}
