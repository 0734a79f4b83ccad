package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
)

// By is who updates by policy, in the audit log and on pages.
const By = "system:auto-update"

// How an update by policy goes to agents: nobody watches it, so canaries have an hour.
const (
	autoCanary = 10
	autoSoak   = time.Hour
)

// Update looks at every policy once: what may be newer now, is.
func (s *Service) Update(ctx context.Context) {
	list, err := s.cfg.Store.UpdatePolicies(ctx, s.cfg.Tenant)
	if err != nil {
		s.cfg.Log.Error("read the update policies", "error", err)
		return
	}
	for _, p := range list {
		if p.Auto == catalogue.AutoOff {
			continue
		}
		before := p
		if err := s.follow(ctx, &p); err != nil {
			p.Waiting = err.Error()
			s.cfg.Log.Warn("update by policy", "plugin", p.Plugin, "problem", err)
		}
		if p == before {
			continue
		}
		if err := s.cfg.Store.NoteUpdatePolicy(ctx, p); err != nil {
			s.cfg.Log.Error("store an update policy", "plugin", p.Plugin, "error", err)
			continue
		}
		s.changed(p.Plugin, "")
	}
}

// follow brings one plugin up to date, or says in the policy what it waits for.
func (s *Service) follow(ctx context.Context, p *store.UpdatePolicy) error {
	p.Waiting = ""
	s.learn(ctx, p)
	offered, err := s.cfg.Catalogue.Offered(ctx, p.Plugin)
	if err != nil {
		return err
	}
	if err := s.followOnServer(ctx, p, offered); err != nil {
		return err
	}
	if r, err := s.underWay(ctx, p.Plugin); err != nil || r.ID != "" {
		if r.State == store.RolloutWaiting {
			p.Waiting = firstOf(p.Waiting, r.Reason)
		}
		return err
	}
	seen, err := s.cfg.Catalogue.Observe(ctx, p.Plugin)
	if err != nil {
		return err
	}
	seen = inGroup(seen, p.Group)
	oldest := ""
	for _, o := range seen {
		if oldest == "" || older(o.Row.Version, oldest) {
			oldest = o.Row.Version
		}
	}
	version, why := newest(*p, oldest, offered, s.cfg.Now())
	if version == "" {
		p.Waiting = firstOf(p.Waiting, why)
		return nil
	}
	r, err := s.Create(ctx, store.Rollout{Plugin: p.Plugin, Version: version, Group: p.Group, CanaryPercent: autoCanary, Soak: autoSoak, By: By}, catalogue.Grants{})
	if err != nil {
		return err
	}
	s.took(ctx, "rollout.create", p.Plugin, fmt.Sprintf("version %s, group %s rollout:%s", version, p.Group, r.ID))
	if r.State == store.RolloutWaiting {
		p.Waiting = r.Reason
	}
	return nil
}

// took writes down what was done by policy, as it is written down when a person does it.
func (s *Service) took(ctx context.Context, action, plugin, detail string) {
	err := s.cfg.Audit.Record(ctx, audit.Entry{Tenant: s.cfg.Tenant, Actor: By, Action: action, Object: "plugin:" + plugin, Detail: detail})
	if err != nil {
		s.cfg.Log.Error("audit", "action", action, "error", err)
	}
}

// underWay returns the open rollout of a plugin, of which there is one at most; without an ID there is none.
func (s *Service) underWay(ctx context.Context, plugin string) (store.Rollout, error) {
	open, err := s.cfg.Store.OpenRollouts(ctx, s.cfg.Tenant)
	if err != nil {
		return store.Rollout{}, err
	}
	for _, r := range open {
		if r.Plugin == plugin {
			return r, nil
		}
	}
	return store.Rollout{}, nil
}

// learn notes the versions that failed, so that they are not tried again and again.
func (s *Service) learn(ctx context.Context, p *store.UpdatePolicy) {
	lister, ok := s.cfg.Store.(interface {
		ListRollouts(ctx context.Context, tenant string, p store.Page) ([]store.Rollout, string, error)
	})
	if !ok {
		return
	}
	list, _, err := lister.ListRollouts(ctx, s.cfg.Tenant, store.Page{Limit: 100})
	if err != nil {
		return // it is tried again the next time
	}
	for _, r := range slices.Backward(list) { // newest first
		if r.Plugin == p.Plugin && (r.State == store.RolloutRolledBack || r.State == store.RolloutHalted) {
			noteFailed(p, r.Version)
		}
	}
}

// maxFailed is how many versions that failed are remembered.
const maxFailed = 50

func noteFailed(p *store.UpdatePolicy, version string) {
	if failed(*p, version) {
		return
	}
	list := append(strings.Fields(p.Failed), version)
	p.Failed = strings.Join(list[max(0, len(list)-maxFailed):], " ")
}

func failed(p store.UpdatePolicy, version string) bool {
	return slices.Contains(strings.Fields(p.Failed), version)
}

// followOnServer upgrades the server's own instances. The plugin host goes back by itself when the version does not work.
func (s *Service) followOnServer(ctx context.Context, p *store.UpdatePolicy, offered []catalogue.OfferedRelease) error {
	rows, err := s.cfg.Catalogue.ServerRows(ctx, p.Plugin)
	if err != nil {
		return err
	}
	for _, row := range rows {
		version, why := newest(*p, row.Version, offered, s.cfg.Now())
		if version == "" {
			p.Waiting = firstOf(p.Waiting, why)
			continue
		}
		v, err := s.cfg.Catalogue.FindRelease(ctx, p.Plugin, version)
		if err != nil {
			return err
		}
		_, missing, err := s.cfg.Catalogue.Suit(ctx, row, v, catalogue.Grants{})
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			p.Waiting = fmt.Sprintf("%s asks for more than was granted: %s", version, missing[0])
			continue
		}
		if err := s.cfg.Catalogue.Upgrade(ctx, p.Plugin, row.Instance, version, By); err != nil {
			var no *registry.Refusal
			if !errors.As(err, &no) {
				noteFailed(p, version)
			}
			return err
		}
		s.took(ctx, "plugin.upgrade", p.Plugin, "version "+version+" on the server")
	}
	return nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func older(a, b string) bool {
	x, errX := semver.StrictNewVersion(a)
	y, errY := semver.StrictNewVersion(b)
	return errX == nil && errY == nil && x.LessThan(y)
}

// newest returns the highest version that a policy lets a node have that runs another, or why a higher one is not taken.
func newest(p store.UpdatePolicy, running string, offered []catalogue.OfferedRelease, now time.Time) (version, why string) {
	have, err := semver.StrictNewVersion(running)
	if err != nil {
		return "", ""
	}
	list := slices.Clone(offered)
	slices.SortFunc(list, func(a, b catalogue.OfferedRelease) int {
		if older(a.Version, b.Version) {
			return 1
		}
		return -1
	})
	for _, r := range list {
		v, err := semver.StrictNewVersion(r.Version)
		if err != nil || !v.GreaterThan(have) || v.Prerelease() != "" || r.Yanked != "" || r.Revoked != "" {
			continue
		}
		if v.Major() != have.Major() || p.Auto == catalogue.AutoPatch && v.Minor() != have.Minor() {
			continue
		}
		cool := time.Duration(p.CooldownDays) * 24 * time.Hour
		switch {
		case failed(p, r.Version):
			why = firstOf(why, r.Version+" did not work and is not tried again")
		case cool > 0 && r.Published.IsZero():
			why = firstOf(why, "nobody says when "+r.Version+" was published")
		case now.Sub(r.Published) < cool:
			why = firstOf(why, fmt.Sprintf("%s is too new until %s", r.Version, r.Published.Add(cool).UTC().Format("2006-01-02 15:04 MST")))
		default:
			return r.Version, why
		}
	}
	return "", why
}
