package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/picketwatch/picket/sdk"
)

var errStub = errors.New("store: not in place yet")

// ControlConfig says where control state lives.
type ControlConfig struct {
	Path    string // SQLite file, for example DIR/control.db
	KeyFile string // 32 random bytes, hex; made when absent; must lie outside the data folder
	Now     func() time.Time
}

// Control is the control state.
type Control struct{}

func OpenControl(ctx context.Context, cfg ControlConfig) (*Control, error) { return nil, errStub }
func (c *Control) Close() error                                            { return errStub }
func (c *Control) Ping(ctx context.Context) error                          { return errStub }

// users, sessions, tokens
func (c *Control) CreateUser(ctx context.Context, u User) error { return errStub }

// CreateFirstUser spends the set-up token and creates the first user in one transaction; ErrConflict when there is one.
func (c *Control) CreateFirstUser(ctx context.Context, setupHash []byte, u User) error {
	return errStub
}
func (c *Control) UserByName(ctx context.Context, tenant, username string) (User, error) {
	return User{}, errStub
}
func (c *Control) UserByID(ctx context.Context, tenant, id string) (User, error) {
	return User{}, errStub
}
func (c *Control) CountUsers(ctx context.Context, tenant string) (int, error) { return 0, errStub }
func (c *Control) ListUsers(ctx context.Context, tenant string) ([]User, error) {
	return nil, errStub
}
func (c *Control) SetPasswordHash(ctx context.Context, tenant, id, hash string) error { return errStub }
func (c *Control) SetUserDisabled(ctx context.Context, tenant, id string, disabled bool) error {
	return errStub
}
func (c *Control) CreateSession(ctx context.Context, s Session) error { return errStub }
func (c *Control) SessionByHash(ctx context.Context, hash []byte) (Session, error) {
	return Session{}, errStub
}
func (c *Control) TouchSession(ctx context.Context, id string, at time.Time) error { return errStub }
func (c *Control) DeleteSession(ctx context.Context, id string) error              { return errStub }
func (c *Control) DeleteUserSessions(ctx context.Context, tenant, userID string) error {
	return errStub
}
func (c *Control) CreateAPIToken(ctx context.Context, t APIToken) error { return errStub }
func (c *Control) APITokenByHash(ctx context.Context, hash []byte) (APIToken, error) {
	return APIToken{}, errStub
}
func (c *Control) TouchAPIToken(ctx context.Context, id string, at time.Time) error { return errStub }
func (c *Control) ListAPITokens(ctx context.Context, tenant string) ([]APIToken, error) {
	return nil, errStub
}
func (c *Control) DeleteAPIToken(ctx context.Context, tenant, id string) error  { return errStub }
func (c *Control) CreateOneTimeToken(ctx context.Context, t OneTimeToken) error { return errStub }
func (c *Control) SpendOneTimeToken(ctx context.Context, hash []byte, purpose string) (OneTimeToken, error) {
	return OneTimeToken{}, errStub
}

// agents
func (c *Control) CreateEnrolmentToken(ctx context.Context, t EnrolmentToken) error { return errStub }
func (c *Control) ListEnrolmentTokens(ctx context.Context, tenant string) ([]EnrolmentToken, error) {
	return nil, errStub
}

// EnrolAgent spends the enrolment token and creates the agent in one transaction; it returns the agent as stored.
func (c *Control) EnrolAgent(ctx context.Context, tokenHash []byte, a Agent) (Agent, error) {
	return Agent{}, errStub
}
func (c *Control) AgentByID(ctx context.Context, id string) (Agent, error) { return Agent{}, errStub }
func (c *Control) ListAgents(ctx context.Context, tenant string, p Page) ([]Agent, string, error) {
	return nil, "", errStub
}
func (c *Control) SetAgentDisabled(ctx context.Context, tenant, id string, disabled bool) error {
	return errStub
}
func (c *Control) TouchAgent(ctx context.Context, id, address string, at time.Time) error {
	return errStub
}
func (c *Control) SetAgentStatus(ctx context.Context, id, version string, status json.RawMessage, at time.Time) error {
	return errStub
}

// RememberNonce reports whether the nonce is new for the key and remembers it until expires.
func (c *Control) RememberNonce(ctx context.Context, keyID, nonce string, expires time.Time) (bool, error) {
	return false, errStub
}
func (c *Control) PruneNonces(ctx context.Context, before time.Time) (int, error) { return 0, errStub }

// commands
func (c *Control) InsertCommand(ctx context.Context, cmd Command) error { return errStub }

// CountWaitingCommands counts queued commands that have not expired.
func (c *Control) CountWaitingCommands(ctx context.Context, agentID string, now time.Time) (int, error) {
	return 0, errStub
}

// TakeCommands marks the agent's queued commands as sent and returns them; each is returned at most once.
func (c *Control) TakeCommands(ctx context.Context, agentID string, now time.Time, limit int) ([]Command, error) {
	return nil, errStub
}
func (c *Control) FinishCommand(ctx context.Context, agentID, id, state, output string, truncated bool, at time.Time) error {
	return errStub
}
func (c *Control) CommandByID(ctx context.Context, tenant, id string) (Command, error) {
	return Command{}, errStub
}
func (c *Control) ListCommands(ctx context.Context, tenant, agentID string, p Page) ([]Command, string, error) {
	return nil, "", errStub
}
func (c *Control) ExpireCommands(ctx context.Context, now time.Time) (int, error) { return 0, errStub }

// assignments; putting or deleting one raises the config version of every agent it concerns
func (c *Control) PutAssignment(ctx context.Context, a Assignment) error { return errStub }
func (c *Control) DeleteAssignment(ctx context.Context, tenant, instance string) error {
	return errStub
}
func (c *Control) AssignmentByInstance(ctx context.Context, tenant, instance string) (Assignment, error) {
	return Assignment{}, errStub
}
func (c *Control) ListAssignments(ctx context.Context, tenant string) ([]Assignment, error) {
	return nil, errStub
}

// NodeAssignments returns the enabled assignments of a node; for NodeAgent also those for all agents.
func (c *Control) NodeAssignments(ctx context.Context, tenant, nodeType, nodeID string) ([]Assignment, error) {
	return nil, errStub
}

// WatchConfig returns a channel that is closed at the next change of any assignment.
func (c *Control) WatchConfig() <-chan struct{} { return nil }

// captures
func (c *Control) InsertCapture(ctx context.Context, x Capture) error { return errStub }
func (c *Control) UpdateCapture(ctx context.Context, x Capture) error { return errStub }
func (c *Control) CaptureByID(ctx context.Context, tenant, id string) (Capture, error) {
	return Capture{}, errStub
}
func (c *Control) ListCaptures(ctx context.Context, tenant string, p Page) ([]Capture, string, error) {
	return nil, "", errStub
}

// CapturesInState returns captures of all tenants, oldest first.
func (c *Control) CapturesInState(ctx context.Context, states ...string) ([]Capture, error) {
	return nil, errStub
}

// Recorded is what RecordFinding did.
type Recorded struct {
	Alert     Alert
	Duplicate bool // the finding was known; nothing changed
	Created   bool // the alert is new
	Notices   []Notice
}

// RecordFinding stores a finding, merges it and queues notices, all in one transaction. merge gets the alert that is
// not resolved and has the fingerprint (nil when there is none) and returns what it becomes, and the notices to queue.
// Ids, tenant, fingerprint and times that merge leaves empty are filled in.
func (c *Control) RecordFinding(ctx context.Context, f Finding, fingerprint string,
	merge func(open *Alert) (Alert, []Notice)) (Recorded, error) {
	return Recorded{}, errStub
}
func (c *Control) AlertByID(ctx context.Context, tenant, id string) (Alert, error) {
	return Alert{}, errStub
}
func (c *Control) ListAlerts(ctx context.Context, tenant string, f AlertFilter, p Page) ([]Alert, string, error) {
	return nil, "", errStub
}

// SetAlertState moves an alert on and queues notices in the same transaction; ErrState when it is already resolved.
func (c *Control) SetAlertState(ctx context.Context, tenant, id, state, by string, notices []Notice) (Alert, error) {
	return Alert{}, errStub
}

// CountOpenAlerts counts firing and acknowledged alerts by severity.
func (c *Control) CountOpenAlerts(ctx context.Context, tenant string) (map[sdk.Severity]int, error) {
	return nil, errStub
}
func (c *Control) AlertFindings(ctx context.Context, tenant, alertID string, limit int) ([]Finding, error) {
	return nil, errStub
}

// notices
func (c *Control) EnqueueNotices(ctx context.Context, n ...Notice) error { return errStub }

// LeaseNotices hands out due notices until the lease ends; one that is neither settled nor retried becomes due again.
func (c *Control) LeaseNotices(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]Notice, error) {
	return nil, errStub
}
func (c *Control) NoticeDelivered(ctx context.Context, id string, r sdk.Receipt) error {
	return errStub
}
func (c *Control) NoticeRetry(ctx context.Context, id string, due time.Time, cause string) error {
	return errStub
}
func (c *Control) NoticeDead(ctx context.Context, id, cause string) error { return errStub }
func (c *Control) NoticeByID(ctx context.Context, tenant, id string) (Notice, error) {
	return Notice{}, errStub
}
func (c *Control) AlertNotices(ctx context.Context, tenant, alertID string) ([]Notice, error) {
	return nil, errStub
}

// devices

// RecordSightings stores a batch once and merges each sighting in one transaction. merge gets the sighting and the
// devices that share its MAC, IP or host name, and returns the device it belongs to (an empty ID makes a new one) and the ids of
// matches that were merged into it and go.
func (c *Control) RecordSightings(ctx context.Context, b SightingBatch,
	merge func(s Sighting, matches []Device) (Device, []string)) (changed []Device, fresh bool, err error) {
	return nil, false, errStub
}
func (c *Control) DeviceByID(ctx context.Context, tenant, id string) (Device, error) {
	return Device{}, errStub
}
func (c *Control) ListDevices(ctx context.Context, tenant string, p Page) ([]Device, string, error) {
	return nil, "", errStub
}
func (c *Control) CountDevices(ctx context.Context, tenant string) (int, error) { return 0, errStub }

// audit
func (c *Control) AppendAudit(ctx context.Context, e AuditEntry) error { return errStub }
func (c *Control) ListAudit(ctx context.Context, tenant string, f AuditFilter, p Page) ([]AuditEntry, string, error) {
	return nil, "", errStub
}

// Setting and PutSetting are for small things without a table of their own; a missing one is "".
func (c *Control) Setting(ctx context.Context, tenant, name string) (string, error) {
	return "", errStub
}
func (c *Control) PutSetting(ctx context.Context, tenant, name, value string) error { return errStub }
