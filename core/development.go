package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// system is who does what nobody asked for by name.
const system = "system"

// What --dev enables at its first start: the page has something to show, what is dropped on it is looked through for the usual
// attacks, and nothing leaves this machine. It is as many detectors as an analysis affords beside ndpiReader, by worth: those that
// must be shown every fact of DNS or of controllers, every file, or every packet of a layer are not among them. Grants are all that a
// plugin asks for unless some are named: to show beacon every question of DNS would cost a tenth of the whole analysis, and the bus
// of the system is beyond the ceiling of a machine whose owner wrote none.
var defaults = []struct {
	plugin   string
	interval time.Duration
	grants   []string
}{
	{"picket/host", 5 * time.Second, nil},
	{"picket/process", 10 * time.Second, nil},
	{"picket/service", 10 * time.Second, []string{sdk.CapHostMetrics, sdk.CapFSRead}},
	{"picket/portscan", 0, nil},
	{"picket/beacon", 0, []string{sdk.CapFlowsRead}},
	{"picket/bruteforce", 0, nil},
	{"picket/ransomware", 0, nil},
	{"picket/spoof", 0, nil},
	{"picket/tls", 0, nil},
	{"picket/passive", 0, nil},
}

// Settings that say what --dev has done already, so that it is not done again against the operator's will.
const (
	defaultsDone     = "development.defaults"
	defaultsVersions = "development.versions" // by plugin, those that --dev chose last
	sampleDone       = "development.sample"
)

// startDevelopment makes a first start worth looking at.
func (c *Core) startDevelopment(ctx context.Context, jobs *sync.WaitGroup) error {
	offered, enabled := 0, 0
	if c.source.client != nil {
		if err := c.enableDefaults(ctx); err != nil {
			return err
		}
		cards, err := c.catalogue.List(ctx)
		if err != nil {
			return err
		}
		for _, p := range cards {
			offered++
			if p.Enabled {
				enabled++
			}
		}
	}
	fmt.Fprintf(c.cfg.Out, "Picket %s, %s trust. Data: %s\n", config.Version, c.trust(), c.folder.root)
	fmt.Fprintf(c.cfg.Out, "  plugins  %d offered, %d enabled\n", offered, enabled)
	if err := c.startAgent(ctx, jobs); err != nil {
		return err
	}
	if err := c.analyseSample(ctx); err != nil {
		return err
	}
	return c.greet(ctx)
}

// enableDefaults enables the default plugins once. Later starts only bring those that are still enabled, and that
// nobody has touched, to the newest version. Whoever chose another version than --dev did, be it an operator or a
// plugin that took itself back, has touched it.
func (c *Core) enableDefaults(ctx context.Context) error {
	done, err := c.control.Setting(ctx, c.tenant, defaultsDone)
	if err != nil {
		return err
	}
	chosen, err := c.defaultVersions(ctx)
	if err != nil {
		return err
	}
	rows, err := c.control.ListAssignments(ctx, c.tenant)
	if err != nil {
		return err
	}
	untouched := map[string]store.Assignment{}
	for _, r := range rows {
		if r.CreatedBy != system {
			continue
		}
		if v := chosen[r.Plugin]; v != "" && v != r.Version {
			c.cfg.Log.Info("a default plugin stays at the version that was chosen for it", "plugin", r.Plugin, "version", r.Version, "default", v)
			continue
		}
		untouched[r.Plugin] = r
	}
	for _, d := range defaults {
		row, ours := untouched[d.plugin]
		if done != "" && !ours {
			continue
		}
		wish := catalogue.Wish{GrantAll: d.grants == nil, Grants: d.grants, Interval: d.interval, By: system}
		if ours {
			wish.Runtime, wish.Config, wish.Interval = row.Runtime, row.Config, row.Interval
		}
		if version := c.enableDefault(ctx, d.plugin, wish); version != "" {
			chosen[d.plugin] = version
		}
	}
	if err := c.keepDefaultVersions(ctx, chosen); err != nil {
		return err
	}
	return c.control.PutSetting(ctx, c.tenant, defaultsDone, "1")
}

func (c *Core) defaultVersions(ctx context.Context) (map[string]string, error) {
	chosen := map[string]string{}
	text, err := c.control.Setting(ctx, c.tenant, defaultsVersions)
	if err != nil || text == "" {
		return chosen, err
	}
	if err := json.Unmarshal([]byte(text), &chosen); err != nil {
		return nil, fmt.Errorf("read the setting %s: %w", defaultsVersions, err)
	}
	return chosen, nil
}

func (c *Core) keepDefaultVersions(ctx context.Context, chosen map[string]string) error {
	text, err := json.Marshal(chosen)
	if err != nil {
		return err
	}
	return c.control.PutSetting(ctx, c.tenant, defaultsVersions, string(text))
}

// enableDefault enables one plugin and returns the version that it runs with. One that the registry refuses must not
// keep the server from starting: the refusal is shown, logged and audited.
func (c *Core) enableDefault(ctx context.Context, id string, w catalogue.Wish) (version string) {
	p, err := c.catalogue.Enable(ctx, id, w)
	e := audit.Entry{Actor: system, Action: "plugin.enable", Object: "plugin:" + id, Detail: "default of --dev"}
	if err != nil {
		e.Outcome, e.Detail = audit.Refused, err.Error()
		c.cfg.Log.Warn("a default plugin is not enabled", "plugin", id, "reason", err)
	}
	c.complain("audit", c.audit.Record(ctx, e))
	return p.Version
}

// startAgent runs an agent on this machine, enrolled with a fresh token unless it is enrolled already.
func (c *Core) startAgent(ctx context.Context, jobs *sync.WaitGroup) error {
	program := filepath.Join(c.cfg.Programs, "picket-agent")
	if _, err := os.Stat(program); err != nil {
		c.cfg.Log.Warn("no agent runs on this machine", "missing", program)
		return nil
	}
	c.child = newChild(program, c.agentArguments, c.cfg.Log)
	jobs.Go(func() { c.child.run(ctx) })
	fmt.Fprintln(c.cfg.Out, "  agent    on this machine")
	return nil
}

// agentArguments are those of an enrolled agent, or of one that enrols with a fresh token.
// The token goes to its standard input: everybody on a machine can read its command lines.
func (c *Core) agentArguments(ctx context.Context) (args []string, stdin string, err error) {
	dir := c.folder.path("agent")
	args = []string{"--data", dir}
	if cert := c.cfg.Settings.TLSCert; cert != "" {
		args = append(args, "--ca", cert)
	}
	if strings.HasPrefix(c.URL(), "http://") {
		args = append(args, "--insecure-http") // what goes to one of its own addresses does not leave this machine
	}
	enrolled, err := c.ownAgent(ctx, dir)
	if err != nil || enrolled {
		return args, "", err
	}
	token, _, err := c.agents.CreateToken(ctx, agents.TokenRequest{Tenant: c.tenant, Name: "this machine", CreatedBy: system,
		Server: c.URL(), RootSHA256: c.rootSHA256()})
	if err != nil {
		return nil, "", fmt.Errorf("let the local agent in: %w", err)
	}
	return append(args, "--server", c.URL(), "--token-file", "-"), token, nil
}

// ownAgent reports whether the agent in dir is enrolled here, and leads it to where this server listens now. One that
// this server does not know (its own data was removed) is forgotten, so that it can enrol anew.
func (c *Core) ownAgent(ctx context.Context, dir string) (bool, error) {
	file := filepath.Join(dir, "identity.json")
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the local agent's identity: %w", err)
	}
	var id map[string]any
	name := ""
	if json.Unmarshal(raw, &id) == nil {
		name, _ = id["agent_id"].(string)
	}
	_, err = c.control.AgentByID(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return false, os.RemoveAll(dir)
	}
	if err != nil || id["server"] == c.URL() {
		return err == nil, err
	}
	id["server"] = c.URL()
	if raw, err = json.MarshalIndent(id, "", "  "); err != nil {
		return false, err
	}
	if err := os.WriteFile(file+".new", raw, 0o600); err != nil {
		return false, fmt.Errorf("tell the local agent the new address: %w", err)
	}
	return true, os.Rename(file+".new", file)
}

// analyseSample uploads the bundled capture, once.
func (c *Core) analyseSample(ctx context.Context) error {
	done, err := c.control.Setting(ctx, c.tenant, sampleDone)
	if err != nil || done != "" {
		return err
	}
	f, err := os.Open(filepath.Join(c.cfg.Programs, "sample", "first-light.pcap"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // a build without the sample
	}
	if err != nil {
		return fmt.Errorf("open the sample capture: %w", err)
	}
	defer f.Close()
	if _, err := c.traffic.Receive(ctx, c.tenant, "first-light.pcap", system, f); err != nil {
		return fmt.Errorf("take the sample capture in: %w", err)
	}
	fmt.Fprintln(c.cfg.Out, "  sample   first-light.pcap is being analysed")
	return c.control.PutSetting(ctx, c.tenant, sampleDone, "1")
}

// greet prints how to get in: a link that signs in with --dev, a link that sets the server up when nobody can sign in,
// also after it was used with --dev alone, the address otherwise.
func (c *Core) greet(ctx context.Context) error {
	switch needed, err := c.auth.SetupNeeded(ctx); {
	case err != nil:
		return err
	case c.cfg.Dev:
		u, err := c.auth.EnsureUser(ctx, "admin", auth.RoleADM)
		if err != nil {
			return err
		}
		token, err := c.auth.NewSignInToken(ctx, u.ID)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.cfg.Out, "\nOpen  %s/signin#token=%s\n(the link signs you in once, within 15 minutes; Ctrl-C stops everything)\n", c.URL(), token)
	case needed:
		token, err := c.auth.NewSetupToken(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.cfg.Out, "Picket %s. Data: %s\nSet it up at  %s/setup#token=%s\n(the link works once, within 24 hours)\n", config.Version, c.folder.root, c.URL(), token)
	default:
		fmt.Fprintf(c.cfg.Out, "Picket %s. Data: %s\nListening on  %s\n", config.Version, c.folder.root, c.URL())
	}
	return nil
}
