package core

import (
	"cmp"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/findingbatch"
	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/promql"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/alert"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/core/services/incident"
	"github.com/picketwatch/picket/core/services/metricrule"
	"github.com/picketwatch/picket/core/services/notify"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// openServices makes the services and ties them to the store, the plugin host and one another.
func (c *Core) openServices(ctx context.Context) (err error) {
	if c.told, err = openTold(c.folder.path("told")); err != nil {
		return err
	}
	c.closeLater(func() { c.complain("close what was told", c.told.close()) })
	if err := (noticeQueue{c.control, c.told}).settleAll(ctx); err != nil {
		return err
	}
	c.notify = notify.New(notify.Config{Queue: noticeQueue{c.control, c.told}, Notifier: c.notifier, Now: c.cfg.Now, Log: c.cfg.Log,
		Changed: func(d notify.Delivery) {
			c.live.Publish(c.tenant, "notices", map[string]string{"id": d.ID, "alert": d.AlertID, "notifier": d.Notifier})
		},
		Deliveries: deliveries{c}, Closed: c.closedThere})
	c.alerts = alert.New(alert.Config{
		Store: alertStore{c}, Now: c.cfg.Now, Queued: c.notify.Wake,
		Notifiers: func(tenant string) []string {
			if tenant != c.tenant { // the operator's notifiers tell the operator's people
				return []string{store.Inbox}
			}
			list, err := c.tellers(context.Background())
			c.complain("find the notifiers", err)
			return append(list, store.Inbox)
		},
		URL: func(id string) string { return c.publicURL() + "/alerts/" + id },
		Changed: func(tenant string, a alert.Alert) {
			c.live.Publish(tenant, "alerts", map[string]string{"id": a.ID, "state": string(a.State)})
			c.incidents.Wake()
		},
	})
	c.promQL = promql.New(promql.Config{Samples: c.telemetry, Agents: c.control.AgentNames, Notes: c.control.MetricNotes, Now: c.cfg.Now, Log: c.cfg.Log})
	c.metricRules = metricrule.New(metricrule.Config{Store: c.control, Queries: c.promQL, InGroup: c.control.InGroup, Now: c.cfg.Now, Log: c.cfg.Log,
		Tenants: c.activeTenants, Raise: c.raised, Over: c.over})
	harmless, err := incident.LoadLists(c.folder.path("warninglists"))
	c.complain("these warning lists are not used", err)
	c.harmless = harmless
	c.incidents = incident.New(incident.Config{Store: c.control, Log: c.cfg.Log, Harmless: harmless.Harmless, Logins: c.flows.LookUpFacts,
		Changed: func(i store.Incident) {
			c.live.Publish(i.Tenant, "incidents", map[string]string{"id": i.ID, "state": i.State, "merged_into": i.MergedInto})
		}})
	c.traffic, err = traffic.New(ctx, traffic.Config{
		Dir: c.folder.path("captures"), MaxBytes: int64(c.cfg.Settings.Captures.MaxUpload), MaxTime: time.Duration(c.cfg.Settings.Captures.MaxAnalysis),
		Store: captureStore{c}, Worker: c.trafficWorker, Carver: c.trafficCommand, Analyse: c.analyse,
		Deliver: func(ctx context.Context, x traffic.Capture, f []sdk.Finding) error {
			c.bench.found(f)
			return c.alerts.Record(ctx, alert.Source{Tenant: x.Tenant, Capture: x.ID}, f)
		},
		Changed: func(x traffic.Capture) {
			c.live.Publish(x.Tenant, "captures", map[string]any{"id": x.ID, "state": x.State, "progress": x.Progress})
		},
		Now: c.cfg.Now, Log: c.cfg.Log,
	})
	if err != nil {
		return err
	}
	c.openExport(ctx)
	c.evidence, err = newEvidence(c)
	return err
}

// --- traffic ---

// trafficWorker is the command that parses a capture.
func (c *Core) trafficWorker(wanted traffic.Wanted) *exec.Cmd { return c.trafficCommand(wanted.Args()) }

func (c *Core) trafficCommand(args []string) *exec.Cmd { return traffic.Command(c.cfg.Programs, args) }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// --- alerts ---

type alertStore struct{ c *Core }

func alertOf(a store.Alert) alert.Alert {
	return alert.Alert{ID: a.ID, Fingerprint: a.Fingerprint, State: alert.State(a.State), Severity: a.Severity, Risk: a.Risk,
		Confidence: a.Confidence, Title: a.Title, Detector: a.Detector, Rule: a.Rule, Techniques: a.Techniques, Src: a.Src, Dst: a.Dst,
		FirstSeen: a.FirstSeen, LastSeen: a.LastSeen, Count: a.Count, Source: alert.Source{Tenant: a.Tenant, Capture: a.CaptureID, Agent: a.Agent}}
}

// onto writes what the service decides about an alert over its row; the rest of the row stays.
func onto(row store.Alert, a alert.Alert) store.Alert {
	row.ID, row.Fingerprint, row.State, row.Severity, row.Risk = a.ID, a.Fingerprint, string(a.State), a.Severity, a.Risk
	row.Confidence, row.Title, row.Detector, row.Rule, row.Techniques = a.Confidence, a.Title, a.Detector, a.Rule, a.Techniques
	row.Src, row.Dst, row.FirstSeen, row.LastSeen = a.Src, a.Dst, a.FirstSeen, a.LastSeen
	row.Count, row.CaptureID, row.Agent = a.Count, a.Source.Capture, a.Source.Agent
	return row
}

func noticeRows(list []alert.Notice) []store.Notice {
	out := make([]store.Notice, 0, len(list))
	for _, n := range list {
		out = append(out, store.Notice{ID: n.Payload.ID, AlertID: n.AlertID, Notifier: n.Notifier, Payload: n.Payload})
	}
	return out
}

func (s alertStore) RecordFindings(ctx context.Context, from alert.Source, findings []sdk.Finding, merge func(int, *alert.Alert) (alert.Alert, []alert.Notice)) ([]alert.Recorded, error) {
	rows := make([]store.FindingOf, len(findings))
	for i, f := range findings {
		row := store.Finding{Finding: f, Tenant: from.Tenant, CaptureID: from.Capture, Agent: from.Agent, Run: from.Run, Interface: from.Interface}
		rows[i] = store.FindingOf{Finding: row, Fingerprint: alert.Fingerprint(f)}
	}
	list, err := s.c.control.RecordFindings(ctx, rows, func(i int, open *store.Alert) (store.Alert, []store.Notice) {
		var before store.Alert
		var known *alert.Alert
		if open != nil {
			before = *open
			a := alertOf(*open)
			known = &a
		}
		after, notices := merge(i, known)
		return onto(before, after), noticeRows(notices)
	})
	recorded := make([]alert.Recorded, 0, len(list))
	for _, rec := range list {
		recorded = append(recorded, alert.Recorded{Alert: alertOf(rec.Alert), Duplicate: rec.Duplicate, Notices: len(rec.Notices)})
	}
	return recorded, err
}

func (s alertStore) Alert(ctx context.Context, tenant, id string) (alert.Alert, error) {
	a, err := s.c.control.AlertByID(ctx, tenant, id)
	return alertOf(a), err
}

func (s alertStore) OpenAlert(ctx context.Context, tenant, fingerprint string) (string, error) {
	id, err := s.c.control.OpenAlert(ctx, tenant, fingerprint)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return id, err
}

func (s alertStore) LastFinding(ctx context.Context, tenant, id string) (sdk.Finding, error) {
	list, err := s.c.control.AlertFindings(ctx, tenant, id, 500)
	if err != nil || len(list) == 0 {
		return sdk.Finding{}, cmp.Or(err, store.ErrNotFound)
	}
	return list[len(list)-1].Finding, nil
}

func (s alertStore) SetState(ctx context.Context, tenant, id string, state alert.State, by string, notices []alert.Notice) (alert.Alert, error) {
	a, err := s.c.control.SetAlertState(ctx, tenant, id, string(state), by, noticeRows(notices))
	return alertOf(a), err
}

func (s alertStore) Suppressions(ctx context.Context, tenant string) ([]alert.Suppression, error) {
	rows, err := s.c.control.ListSuppressions(ctx, tenant)
	list := make([]alert.Suppression, 0, len(rows))
	for _, r := range rows {
		list = append(list, suppressionOf(r))
	}
	return list, err
}

func suppressionOf(r store.Suppression) alert.Suppression {
	return alert.Suppression{ID: r.ID, Detector: r.Detector, Rule: r.Rule, Entity: r.Entity, Source: r.Source, Target: r.Target, Expires: r.Expires}
}

func (s alertStore) Suppress(ctx context.Context, f sdk.Finding, from alert.Source, suppression string) error {
	return s.c.control.SuppressFinding(ctx, store.Finding{Finding: f, Tenant: from.Tenant, CaptureID: from.Capture, Agent: from.Agent}, suppression)
}

// alertMoves are the moves of an alert as the API asks for them.
type alertMoves struct{ c *Core }

func (m alertMoves) Acknowledge(ctx context.Context, tenant, id, by string) (store.Alert, error) {
	return m.done(ctx, tenant, id)(m.c.alerts.Acknowledge(ctx, tenant, id, by))
}

func (m alertMoves) Resolve(ctx context.Context, tenant, id, by string) (store.Alert, error) {
	return m.done(ctx, tenant, id)(m.c.alerts.Resolve(ctx, tenant, id, by))
}

// Found takes what detectors found on an agent. What the agent says of the ids is not believed: one agent could hide what
// another finds. Nor is what detectors found that it was not told to run.
func (m alertMoves) Found(ctx context.Context, a store.Agent, b findingbatch.Found) error {
	assigned, err := m.c.control.PluginsOfAgent(ctx, a)
	if err == nil {
		err = b.From(assigned)
	}
	if err != nil {
		return err
	}
	for i, f := range b.Findings {
		f = detect.Clean(f)
		f.ID = detect.LiveFindingID(a.ID, b.Run, f)
		b.Findings[i] = f
	}
	return m.c.alerts.Record(ctx, alert.Source{Tenant: a.Tenant, Agent: a.ID, Run: b.Run, Interface: b.Interface}, b.Findings)
}

// Covered are those of the alerts that a suppression would have kept back.
func (m alertMoves) Covered(alerts []store.Alert, by store.Suppression) []store.Alert {
	s := suppressionOf(by)
	return slices.DeleteFunc(slices.Clone(alerts), func(a store.Alert) bool { return !s.Covers(a.Detector, a.Rule, a.Src, a.Dst) })
}

func (m alertMoves) done(ctx context.Context, tenant, id string) func(alert.Alert, error) (store.Alert, error) {
	return func(_ alert.Alert, err error) (store.Alert, error) {
		if err != nil {
			return store.Alert{}, err
		}
		return m.c.control.AlertByID(ctx, tenant, id)
	}
}

func (c *Core) warningLists() (lists []api.WarningList) {
	for _, l := range c.harmless.All() {
		lists = append(lists, api.WarningList(l))
	}
	return lists
}

// --- notices ---

type noticeQueue struct {
	control *store.Control
	told    *told
}

func (q noticeQueue) Due(ctx context.Context, now time.Time) ([]string, error) {
	return q.control.DueNotifiers(ctx, now)
}

func (q noticeQueue) Lease(ctx context.Context, now time.Time, lease time.Duration, notifier string, limit int) ([]notify.Delivery, error) {
	rows, err := q.control.LeaseNotices(ctx, now, lease, notifier, limit)
	out := make([]notify.Delivery, 0, len(rows))
	for _, r := range rows {
		if receipt, ok := q.told.receipt(r.ID); ok { // before the server died, or while the control state could not be written
			if err := q.settle(ctx, r.ID, receipt); err != nil {
				return nil, err
			}
			continue
		}
		// The store counts an attempt when it hands one out.
		out = append(out, notify.Delivery{ID: r.ID, AlertID: r.AlertID, Notifier: r.Notifier, Notice: r.Payload, Attempts: r.Attempts - 1})
	}
	return out, err
}

func (q noticeQueue) Delivered(ctx context.Context, id string, r sdk.Receipt) error {
	err := q.told.took(id, r)
	return errors.Join(err, q.settle(ctx, id, r))
}

// settleAll brings over what a killed server left: what the control state has already is never leased again.
func (q noticeQueue) settleAll(ctx context.Context) error {
	for id, r := range q.told.all() {
		if err := q.settle(ctx, id, r); err != nil {
			return err
		}
	}
	return nil
}

func (q noticeQueue) settle(ctx context.Context, id string, r sdk.Receipt) error {
	if err := q.control.NoticeDelivered(ctx, id, r); err != nil && !errors.Is(err, store.ErrState) {
		return err
	}
	return q.told.settled(id)
}

func (q noticeQueue) Retry(ctx context.Context, id string, due time.Time, cause string) error {
	return q.control.NoticeRetry(ctx, id, due, cause)
}

func (q noticeQueue) Dead(ctx context.Context, id, cause string) error {
	return q.control.NoticeDead(ctx, id, cause)
}

// notifier finds a notifier instance of the server.
func (c *Core) notifier(instance string) (notify.Notifier, bool) {
	for _, n := range c.host.Notifiers() {
		if n.Instance() == instance {
			return n, true
		}
	}
	list, err := c.catalogue.Enabled(context.Background(), sdk.KindNotifier)
	c.complain("find the notifiers", err)
	return nil, err != nil || slices.Contains(list, instance)
}

func (c *Core) testNotice(ctx context.Context, instance string, n sdk.Notice) (sdk.Receipt, error) {
	return c.notify.Test(ctx, instance, n)
}

// --- instances ---

// watchInstances tells watchers and the audit log how the server's own instances fare.
func (c *Core) watchInstances(ctx context.Context) {
	for {
		select {
		case s := <-c.changes.C():
			c.catalogue.Ran(ctx, catalogue.ServerNode, s)
			c.live.Publish(c.tenant, "plugins", map[string]string{"plugin": s.Plugin, "instance": s.Instance, "state": string(s.State)})
		case <-ctx.Done():
			return
		}
	}
}

// keepLedgers stores what the server's own instances cost, beside what the agents measure.
func (c *Core) keepLedgers(ctx context.Context) {
	epoch := strconv.FormatInt(c.cfg.Now().UnixNano(), 36) // the numbers of the batches begin anew with each start
	tick := time.NewTicker(pluginhost.LedgerEvery)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		_, err := c.telemetry.Append(ctx, store.SampleBatch{Tenant: c.tenant, Agent: store.NodeServer, Epoch: epoch, Seq: seq, Samples: c.host.LedgerSamples()})
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("the ledgers of the plugins could not be stored", "error", err)
		}
	}
}

// noRegistry is what a server without a registry asks for bytes: there are none.
type noRegistry struct{}

func (noRegistry) OpenVerified(_ context.Context, id, _ string) (*client.Artifact, error) {
	return nil, &registry.Refusal{Plugin: id, Reason: registry.NotInstalled, Err: errors.New("this server has no registry")}
}
