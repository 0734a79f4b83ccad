package attack

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

// The server is hostile here: it assigns what no owner of a machine would want, and the plugin asks for it. The node's
// ceiling and the node's registry say no.

// refusal is what a node makes of such an assignment.
type refusal struct {
	grants  []sdk.Permission
	ceiling string // policy.yaml, the default when empty
	reason  registry.Reason
	says    string
}

func (r refusal) check(t *testing.T, level confine.Level) {
	t.Helper()
	s := newScene(t)
	a := newArena(t, level, process, "nothing", s.args, change{grants: r.grants, shelf: &shelf{perms: r.grants}, config: func(c *pluginhost.Config) {
		if r.ceiling != "" {
			c.Ceiling = ceiling(t, r.ceiling)
		}
	}})
	a.release()
	st := a.until("villain", "refused", func(s pluginhost.Status) bool { return s.State == pluginhost.Refused })
	if st.Refusal != r.reason || !strings.Contains(st.Reason, r.says) || st.PID != 0 {
		t.Errorf("%s: %q, want %s with %q", st.Refusal, st.Reason, r.reason, r.says)
	}
	t.Log(st.Reason)
	a.audited(line{"plugin.refused", r.says})
	a.untouched()
}

func ceiling(t *testing.T, text string) *policy.Ceiling {
	t.Helper()
	c, err := policy.Parse([]byte("apiVersion: picket/v1\n" + text))
	must(t, err)
	return c
}

func TestAttackServerGrantsExecProcess(t *testing.T) {
	grants := []sdk.Permission{{Cap: sdk.CapExec}}
	levels(t, nameOf(t), process, func(t *testing.T, level confine.Level) {
		t.Helper()
		refusal{grants, "", registry.BeyondCeiling, "exec"}.check(t, level)
		// Not even the owner can give what nothing holds a plugin to.
		refusal{grants, "permissions: [{cap: exec}]\nunenforced: allow\n", registry.NotEnforced, "not enforced"}.check(t, level)
	})
}

func TestAttackServerGrantsWritingProcess(t *testing.T) {
	grants := []sdk.Permission{{Cap: sdk.CapFSWrite, Args: map[string][]string{"paths": {"/tmp"}}}}
	levels(t, nameOf(t), process, func(t *testing.T, level confine.Level) {
		t.Helper()
		refusal{grants, "", registry.BeyondCeiling, "fs.write"}.check(t, level)
		refusal{grants, "permissions: [{cap: fs.write}]\nunenforced: allow\n", registry.NotEnforced, "not enforced"}.check(t, level)
	})
}

// Something like a reader of logs is granted the passwords, or finds a link to them in its folder.
func TestAttackServerGrantsShadowProcess(t *testing.T) {
	levels(t, nameOf(t), process, func(t *testing.T, level confine.Level) {
		t.Helper()
		grants := func(path string) []sdk.Permission {
			return []sdk.Permission{{Cap: sdk.CapFSRead, Args: map[string][]string{"paths": {path}}}}
		}
		refusal{grants("/etc/shadow"), "", registry.BeyondCeiling, "fs.read"}.check(t, level)
		s := newScene(t)
		logs := filepath.Join(s.folder, "logs")
		must(t, os.Mkdir(logs, 0o755))                                                  //nolint:gosec // others read it
		must(t, os.WriteFile(filepath.Join(logs, "messages"), []byte("a line"), 0o644)) //nolint:gosec // as above
		must(t, os.Symlink(s.args["path"], filepath.Join(logs, "link")))
		open := func(name string) []attempt {
			t.Helper()
			args := s.with(0, map[string]string{"path": filepath.Join(logs, name)})
			a := newArena(t, level, process, "read-file", args, change{grants: grants(logs), shelf: &shelf{perms: grants(logs)}, config: func(c *pluginhost.Config) {
				c.Ceiling = ceiling(t, "permissions: [{cap: fs.read, args: {paths: ["+logs+"]}}]\n")
			}})
			a.ready()
			told, err := a.collect()
			must(t, err)
			if name == "link" {
				a.audited(line{"plugin.permission", "fs.read " + filepath.Join(logs, name)})
			}
			a.untouched()
			return told
		}
		reads := func(told []attempt, name string) bool {
			for _, x := range told {
				if x.Means == "host: open "+filepath.Join(logs, name) {
					return x.OK
				}
			}
			t.Fatalf("it did not try %s: %+v", name, told)
			return false
		}
		if !reads(open("messages"), "messages") {
			t.Error("it cannot read its own folder, so the rest shows nothing")
		}
		if reads(open("link"), "link") {
			t.Error("a link leads out of the folder that was granted")
		}
	})
}

func dialTo(to ...string) []sdk.Permission {
	return []sdk.Permission{{Cap: sdk.CapNetDial, Args: map[string][]string{"to": to, "proto": {"tcp"}}}}
}

// The address with a cloud machine's credentials: as a number, in a range, as a name that is known, and by a name that
// turns out to lead there.
func TestAttackServerDialsMetadataProcess(t *testing.T) {
	levels(t, nameOf(t), process, func(t *testing.T, level confine.Level) {
		t.Helper()
		for _, to := range []string{"169.254.169.254", "169.254.0.0/16", "0.0.0.0/0", "fe80::1", "::ffff:169.254.169.254", "metadata.google.internal", "METADATA.google.internal."} {
			refusal{dialTo(to), "", registry.BeyondCeiling, "net.dial"}.check(t, level)
		}
		refusal{[]sdk.Permission{{Cap: sdk.CapNetDial}}, "", registry.BeyondCeiling, "net.dial"}.check(t, level)
		dials := func(denied string) (reached bool) {
			t.Helper()
			s := newScene(t)
			a := newArena(t, level, process, "tcp", s.args, change{grants: dialTo("localhost"), shelf: &shelf{perms: dialTo("localhost")}, config: func(c *pluginhost.Config) {
				c.Ceiling = ceiling(t, "permissions: [{cap: net.dial}]\ndeny_dial: ["+denied+"]\n")
			}})
			a.ready()
			_, err := a.collect()
			must(t, err)
			if strings.Contains(denied, "127.0.0.0") {
				a.audited(line{"plugin.permission", "net.dial tcp localhost:"})
			}
			a.untouched()
			return s.heard.Load() > 0
		}
		if !dials("192.0.2.1") {
			t.Error("a name that is allowed leads nowhere, so the rest shows nothing")
		}
		if dials(`127.0.0.0/8, "::1"`) {
			t.Error("a name leads to an address that this node never dials")
		}
	})
}

// signed asks a real registry for everything but the neighbour.
type signed struct {
	shelf
	client *client.Client
}

func (s *signed) OpenVerified(ctx context.Context, id, runtime string) (*client.Artifact, error) {
	if id == "attack/neighbour" {
		return s.shelf.OpenVerified(ctx, id, runtime)
	}
	return s.client.OpenVerified(ctx, id, runtime)
}

func TestAttackServerPushesUnsignedProcess(t *testing.T) {
	levels(t, nameOf(t), process, func(t *testing.T, level confine.Level) {
		t.Helper()
		r := registrytest.New(t)
		c, err := client.Open(client.Config{Dir: filepath.Join(t.TempDir(), "node"), Base: r.Serve(t), RootFile: r.RootFile(), AllowDevelopment: true, Now: r.Now})
		must(t, err)
		defer c.Close()
		a := newArena(t, level, process, "nothing", nil, change{config: func(cfg *pluginhost.Config) { cfg.Registry = &signed{client: c} }})
		a.release()
		st := a.until("villain", "refused", func(s pluginhost.Status) bool { return s.State == pluginhost.Refused })
		if st.Refusal != registry.NotInstalled || st.PID != 0 {
			t.Errorf("%s: %s", st.Refusal, st.Reason)
		}
		t.Log(st.Reason)
		a.audited(line{"plugin.refused", st.Reason})
		a.untouched()
	})
}
