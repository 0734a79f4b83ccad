package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// rack stores assignments. What it does not have is not used here.
type rack struct {
	Store
	rows []store.Assignment
	said string // by the agent
}

func (r *rack) ListAssignments(context.Context, string) ([]store.Assignment, error) {
	return slices.Clone(r.rows), nil
}

func (r *rack) NodeAssignments(_ context.Context, _, nodeType, _ string) (out []store.Assignment, _ error) {
	for _, a := range r.rows {
		if a.NodeType == nodeType {
			out = append(out, a)
		}
	}
	return out, nil
}

func (r *rack) PutAssignment(_ context.Context, a store.Assignment) error {
	for i := range r.rows {
		if r.rows[i].Instance == a.Instance {
			r.rows[i] = a
		}
	}
	return nil
}

func (r *rack) PutInstall(context.Context, store.Install) error { return nil }

func (r *rack) RunningInstalls(context.Context, string) ([]store.Install, error) { return nil, nil }

func (r *rack) ListAgents(context.Context, string, store.Page) ([]store.Agent, string, error) {
	return []store.Agent{{ID: "7", Name: "box", Status: json.RawMessage(r.said)}}, "", nil
}

func (r *rack) AgentByID(context.Context, string) (store.Agent, error) {
	return store.Agent{ID: "7", Name: "box", Status: json.RawMessage(r.said)}, nil
}

// releases offers versions of one detector: 1.1.0 asks for more than 1.0.0, 2.0.0 has no program.
type releases struct {
	Registry
	did []string
}

func (r *releases) descriptor(version string) *registry.Descriptor {
	m := registry.Manifest{ID: "a/b", Version: version, Kind: sdk.KindDetector, Runtimes: []string{registry.RuntimeProcess},
		Permissions: []sdk.Permission{{Cap: sdk.CapFlowsRead, Reason: "It judges flows."}}}
	switch version {
	case "1.1.0":
		m.Permissions = append(m.Permissions, sdk.Permission{Cap: sdk.CapPacketsRead, Reason: "It looks closer."})
	case "1.2.0":
		m.Permissions[0].Args = map[string][]string{"of": {"here"}}
	case "2.0.0":
		m.Runtimes = []string{registry.RuntimeWASM}
	}
	return &registry.Descriptor{Manifest: m}
}

func (r *releases) Refresh(context.Context) error { return nil }
func (r *releases) Resolve(_ context.Context, id, version string) (*client.Verified, error) {
	if id != "a/b" {
		return nil, &registry.Refusal{Plugin: id, Reason: registry.NotVouched}
	}
	return &client.Verified{ID: id, Version: version, Descriptor: r.descriptor(version)}, nil
}
func (r *releases) List(context.Context) ([]client.Release, error) { return nil, nil }
func (r *releases) Installed(string) (*client.Installed, bool) {
	return &client.Installed{Locked: registry.Locked{ID: "a/b", Version: "1.0.0"}, Descriptor: r.descriptor("1.0.0")}, true
}
func (r *releases) Install(_ context.Context, _, version, _ string) (*client.Installed, error) {
	r.did = append(r.did, "install "+version)
	return nil, nil //nolint:nilnil // nobody looks at it
}
func (r *releases) InstallBeside(_ context.Context, _, version, _ string) (*client.Installed, error) {
	r.did = append(r.did, "beside "+version)
	return nil, nil //nolint:nilnil // nobody looks at it
}
func (r *releases) Prefer(_ context.Context, _, version string) error {
	r.did = append(r.did, "prefer "+version)
	return nil
}
func (r *releases) RecordGrants(context.Context, string, []sdk.Permission) error { return nil }
func (r *releases) Status() client.Status                                        { return client.Status{Base: "https://registry"} }

// versioned is a plugin host with one instance that changes its version.
type versioned struct {
	Host
	st    pluginhost.Status
	did   []string
	fails error
}

func (h *versioned) Apply(context.Context, []pluginhost.Assignment) error { return nil }
func (h *versioned) Instances() []pluginhost.Status                       { return []pluginhost.Status{h.st} }
func (h *versioned) do(what string) error {
	h.did = append(h.did, what)
	return h.fails
}
func (h *versioned) Upgrade(_ context.Context, _, version string) error {
	return h.do("upgrade " + version)
}
func (h *versioned) Rollback(context.Context, string, string) error { return h.do("rollback") }
func (h *versioned) Shadow(_ context.Context, _, version string) error {
	return h.do("shadow " + version)
}
func (h *versioned) DropShadow(context.Context, string) error { return h.do("drop") }
func (h *versioned) ShadowReport(string) (pluginhost.ShadowReport, error) {
	return pluginhost.ShadowReport{Version: "1.0.1"}, h.fails
}
func (h *versioned) History(string) ([]pluginhost.Transition, error) { return nil, h.fails }
func (h *versioned) Explain(string) (pluginhost.ProcessExplanation, error) {
	return pluginhost.ProcessExplanation{Digest: "d"}, h.fails
}

type shop struct {
	*Catalogue
	rack *rack
	reg  *releases
	host *versioned
	log  *entries
}

func newShop() *shop {
	s := &shop{rack: &rack{rows: []store.Assignment{
		{Instance: "a/b", Plugin: "a/b", Version: "1.0.0", Runtime: "process", NodeType: store.NodeServer, Grants: []byte(`[{"cap":"flows.read"}]`), Enabled: true},
		{Instance: "a/far", Plugin: "a/b", Version: "1.0.0", Runtime: "process", NodeType: store.NodeAgents, Grants: []byte(`[{"cap":"flows.read"}]`), Enabled: true},
	}}, reg: &releases{}, host: &versioned{st: pluginhost.Status{Instance: "a/b", Plugin: "a/b", Version: "1.0.0", Previous: "0.9.0", State: pluginhost.Ready}}, log: &entries{}}
	s.Catalogue = New(Config{Tenant: "default", Store: s.rack, Registry: s.reg, Host: s.host, Audit: s.log})
	return s
}

func (s *shop) version(instance string) string {
	for _, r := range s.rack.rows {
		if r.Instance == instance {
			return r.Version
		}
	}
	return ""
}

func TestVersionsOfAnInstance(t *testing.T) {
	for name, c := range map[string]struct {
		do       func(*shop) error
		fails    error  // the host says
		says     string // the error holds
		instance string
		version  string   // stored afterwards
		did      []string // by the host
	}{
		"upgrade":                              {func(s *shop) error { return s.Upgrade(t.Context(), "a/b", "a/b", "1.0.1", "ada") }, nil, "", "a/b", "1.0.1", []string{"upgrade 1.0.1"}},
		"an upgrade on agents is theirs to do": {func(s *shop) error { return s.Upgrade(t.Context(), "a/b", "a/far", "1.0.1", "ada") }, nil, "", "a/far", "1.0.1", nil},
		"an upgrade that the host cannot do":   {func(s *shop) error { return s.Upgrade(t.Context(), "a/b", "a/b", "1.0.1", "ada") }, errors.New("it hangs"), "it hangs", "a/b", "1.0.1", []string{"upgrade 1.0.1"}},
		"it asks for more":                     {func(s *shop) error { return s.Upgrade(t.Context(), "a/b", "a/b", "1.1.0", "ada") }, nil, "packets.read", "a/b", "1.0.0", nil},
		"it asks for less":                     {func(s *shop) error { return s.Upgrade(t.Context(), "a/b", "a/b", "1.2.0", "ada") }, nil, "does not ask for flows.read any more", "a/b", "1.0.0", nil},
		"not for this runtime":                 {func(s *shop) error { return s.Upgrade(t.Context(), "a/b", "a/b", "2.0.0", "ada") }, nil, "no runtime", "a/b", "1.0.0", nil},
		"no such instance":                     {func(s *shop) error { return s.Upgrade(t.Context(), "a/b", "other", "1.0.1", "ada") }, nil, "no instance", "a/b", "1.0.0", nil},
		"no such plugin":                       {func(s *shop) error { return s.Upgrade(t.Context(), "a/c", "a/b", "1.0.1", "ada") }, nil, "not_vouched", "a/b", "1.0.0", nil},
		"rollback":                             {func(s *shop) error { return s.Rollback(t.Context(), "a/b", "a/b", "", "ada") }, nil, "", "a/b", "0.9.0", []string{"rollback"}},
		"a rollback that fails":                {func(s *shop) error { return s.Rollback(t.Context(), "a/b", "a/b", "", "ada") }, errors.New("gone"), "gone", "a/b", "1.0.0", []string{"rollback"}},
		"nothing to go back to":                {func(s *shop) error { s.host.st.Previous = ""; return s.Rollback(t.Context(), "a/b", "a/b", "", "ada") }, nil, "no earlier version", "a/b", "1.0.0", nil},
		"shadow":                               {func(s *shop) error { return s.Shadow(t.Context(), "a/b", "a/b", "1.0.1") }, nil, "", "a/b", "1.0.0", []string{"shadow 1.0.1"}},
		"a shadow of itself":                   {func(s *shop) error { return s.Shadow(t.Context(), "a/b", "a/b", "1.0.0") }, nil, "already", "a/b", "1.0.0", nil},
		"a shadow on agents":                   {func(s *shop) error { return s.Shadow(t.Context(), "a/b", "a/far", "1.0.1") }, nil, "a shadow runs on the server so far", "a/far", "1.0.0", nil},
		"promote":                              {func(s *shop) error { return s.Promote(t.Context(), "a/b", "a/b", "ada") }, nil, "", "a/b", "1.0.1", []string{"drop", "upgrade 1.0.1"}},
		"drop":                                 {func(s *shop) error { return s.DropShadow(t.Context(), "a/b", "a/b") }, nil, "", "a/b", "1.0.0", []string{"drop"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			s.host.fails = c.fails
			err := c.do(s)
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if v := s.version(c.instance); v != c.version {
				t.Errorf("%s is stored as %s", c.instance, v)
			}
			if !slices.Equal(s.host.did, c.did) {
				t.Errorf("the host did %q, want %q", s.host.did, c.did)
			}
		})
	}
}

// What a node took back by itself is what is stored from then on, and stands in the audit log once.
func TestAVersionThatWasTakenBack(t *testing.T) {
	s := newShop()
	s.rack.rows[0].Version = "1.0.1"
	s.host.st.Upgrade = &pluginhost.Upgrade{From: "1.0.0", To: "1.0.1", State: pluginhost.UpgradeRolledBack, Reason: "it crashed", Ended: time.Now()}
	for range 2 {
		s.Ran(t.Context(), ServerNode, s.host.st)
	}
	if len(*s.log) != 1 || (*s.log)[0].Action != "plugin.rollback" || (*s.log)[0].Outcome != audit.Failed || !strings.Contains((*s.log)[0].Detail, "it crashed") {
		t.Errorf("%+v", *s.log)
	}
	if v := s.version("a/b"); v != "1.0.0" || !slices.Contains(s.reg.did, "prefer 1.0.0") {
		t.Errorf("stored is %s; the registry did %q", v, s.reg.did)
	}
}

func TestWhatAnInstanceRestsOn(t *testing.T) {
	s := newShop()
	s.rack.rows[0].CreatedBy = "user:ada"
	e, err := s.Explain(t.Context(), "a/b", "a/b", "")
	if err != nil || e.GrantedBy != "user:ada" || e.Release.Digest != "d" || e.Registry.Base != "https://registry" || len(e.Granted) != 1 || e.Incomplete != "" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err = s.Explain(t.Context(), "a/b", "a/far", "7"); err != nil || e.Incomplete == "" || e.Node.Name != "box" {
		t.Errorf("of an agent: %+v, %v", e, err)
	}
	s.rack.said = `{"plugins":[],"ceiling":"/etc/picket/policy.yaml","registry":{"trust":"release","root_sha256":"r"},
		"processes":{"a/far":{"version":"1.0.0","digest":"d2","confinement":{"level":"B"},"used":[{"cap":"net.dial","detail":"tcp a:1","count":3}]}}}`
	e, err = s.Explain(t.Context(), "a/b", "a/far", "7")
	if err != nil || e.Release.Digest != "d2" || e.Release.Confinement == nil || e.Release.Confinement.Level != "B" || len(e.Release.Used) != 1 ||
		e.Registry.RootSHA256 != "r" || e.Registry.Base != "https://registry" || e.Ceiling != "/etc/picket/policy.yaml" || e.Incomplete != "" {
		t.Errorf("of an agent that told: %+v, %v", e, err)
	}
	s.rack.said = `{"processes":"nonsense"}`
	if e, err = s.Explain(t.Context(), "a/b", "a/far", "7"); err != nil || e.Release.Confinement != nil {
		t.Errorf("of an agent that tells nonsense: %+v, %v", e, err)
	}
	if _, err := s.Explain(t.Context(), "a/b", "nobody", ""); err == nil {
		t.Error("an instance that does not exist was explained")
	}
	if l, err := s.History(t.Context(), "a/b", "a/b", ""); err != nil || l == nil {
		t.Errorf("history %v, %v", l, err)
	}
	if r, err := s.ShadowReport(t.Context(), "a/b", "a/b"); err != nil || r.Version != "1.0.1" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A host that keeps one release at a time says so.
func TestWithoutVersions(t *testing.T) {
	s := newShop()
	s.cfg.Host = struct{ Host }{s.host}
	if err := s.Upgrade(t.Context(), "a/b", "a/b", "1.0.1", "ada"); err == nil {
		t.Error("an upgrade without a host that can do it")
	}
}

// A version that was granted more leaves nothing behind that the one before it would be refused for.
func TestRollbackTakesGrantsBack(t *testing.T) {
	for _, instance := range []string{"a/b", "a/far"} {
		s := newShop()
		s.host.st.Previous = "1.0.0"
		for i := range s.rack.rows {
			s.rack.rows[i].Version, s.rack.rows[i].Grants = "1.1.0", []byte(`[{"cap":"flows.read"},{"cap":"packets.read"}]`)
		}
		if instance == "a/far" {
			s.rack.said = `{"plugins":[{"instance":"a/far","plugin":"a/b","version":"1.1.0","previous":"1.0.0","state":"ready"}]}`
		}
		if err := s.Rollback(t.Context(), "a/b", instance, "", "ada"); err != nil {
			t.Fatalf("%s: %v", instance, err)
		}
		for _, r := range s.rack.rows {
			if r.Instance == instance && (r.Version != "1.0.0" || string(r.Grants) != `[{"cap":"flows.read"}]`) {
				t.Errorf("%s is stored as %s with %s", instance, r.Version, r.Grants)
			}
		}
	}
}
