package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
)

// The server's order to ask the registry now stops what is revoked, without waiting for the agent's own time. What an
// administrator then says counts where the machine's owner lets administrators say so, and nowhere else.
func TestAnOrderBringsARevocationAndAnOwnerAllowsTheOverride(t *testing.T) {
	for name, policy := range map[string]string{"an owner who allows it": "override: allow\n", "an owner who said nothing": ""} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.publish()
			s.assign(collector())
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte("apiVersion: picket/v1\n"+policy), 0o600); err != nil {
				t.Fatal(err)
			}
			s.start(dir, nil)
			s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
			s.registry.Revoke(t, "picket/collector", "1.0.0", "it steals cookies")
			if r := s.result(s.order("refresh-registry", `{}`, nil)); r.State != "done" {
				t.Errorf("the order: %+v", r)
			}
			s.until("the revocation", func() bool { return s.plugin().State == pluginhost.Revoked })

			let := collector()
			let.Override = "user:ada: until Monday"
			s.assign(let)
			if policy == "" {
				s.until("the new configuration", func() bool { return s.status.ConfigVersion == s.version })
				r := s.result(s.order("restart-plugin", `{"instance":"collector-1"}`, nil))
				if r.State != "failed" {
					t.Errorf("it was started although its owner allows no override: %+v", r)
				}
				contains(t, r.Output, "it steals cookies")
				return
			}
			s.until("it to run on", func() bool { return s.plugin().State == pluginhost.Ready })
			s.assign(collector())
			s.until("it to stop again", func() bool { return s.plugin().State == pluginhost.Revoked })
		})
	}
}
