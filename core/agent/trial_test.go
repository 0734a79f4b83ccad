package agent

import (
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
)

func (s *site) startTrial(dir string) *running {
	a := s.start(dir, func(c *Config) { c.trialFor = time.Second })
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready && s.status.ConfigVersion == 1 })
	return a
}

// A configuration that cuts an agent off is tried twice, then what ran before runs, and the server is told.
func TestAConfigurationThatCutsTheAgentOff(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	dir := t.TempDir()
	a := s.startTrial(dir)
	s.change(func() {
		s.awayWhen = func() bool { return a.plugins.version() == 2 }
		s.version, s.assignments = 2, nil
	})
	s.until("the configuration of before, and why", func() bool {
		r := s.status.ConfigRejected
		return r != nil && r.Version == 2 && s.status.ConfigVersion == 1 && s.plugin().State == pluginhost.Ready
	})
	if a.plugins.taken().Version != 2 {
		t.Errorf("it would ask for version 2 again: it has %d", a.plugins.taken().Version)
	}
	a.stop() // a restart changes nothing in that
	s.change(func() { s.status = nil })
	s.start(dir, func(c *Config) { c.trialFor = time.Second })
	s.until("the same after a restart", func() bool {
		return s.status != nil && s.status.ConfigRejected != nil && s.status.ConfigVersion == 1 && s.plugin().State == pluginhost.Ready
	})
	s.change(func() { s.version, s.awayWhen = 3, nil })
	s.until("the next configuration", func() bool {
		return s.status.ConfigRejected == nil && s.status.ConfigVersion == 3 && len(s.status.Plugins) == 0
	})
}

// When it was the server that was away, the configuration is tried again and stays. The time is the test's: how soon an agent is
// heard again says nothing.
func TestAConfigurationOutlastsTheServersAbsence(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	a := s.start(t.TempDir(), func(c *Config) { c.trialFor = time.Hour })
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready && s.status.ConfigVersion == 1 })
	s.change(func() {
		s.awayWhen = func() bool { v := a.plugins.version(); s.away = s.away || v == 2; return false }
		s.version, s.assignments = 2, nil
	})
	s.until("the configuration", func() bool { return a.plugins.version() == 2 })
	if changed, err := a.plugins.judge(t.Context(), time.Now().Add(2*time.Hour), time.Hour); err != nil || !changed {
		t.Fatalf("the way back: %t, %v", changed, err)
	}
	if a.plugins.version() != 1 || a.plugins.taken().Version != 2 {
		t.Fatalf("%d runs of %d", a.plugins.version(), a.plugins.taken().Version)
	}
	s.change(func() { s.awayWhen, s.away = nil, false })
	s.until("the configuration again, for good", func() bool {
		if _, err := a.plugins.judge(t.Context(), time.Now(), time.Hour); err != nil {
			t.Fatal(err)
		}
		a.plugins.mu.Lock()
		over := a.plugins.trial == nil
		a.plugins.mu.Unlock()
		return over && s.status.ConfigVersion == 2 && s.status.ConfigRejected == nil && len(s.status.Plugins) == 0
	})
}
