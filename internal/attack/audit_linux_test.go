package attack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/event"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
)

// The audit log is the real one: a store on the disk, filled by the catalogue from the states of the plugin host, as in
// the server. Each arena is a tenant of its own in it.

// line is an entry that the audit log must hold about the villain: what happened, and words of the reason.
type line struct{ action, says string }

// control opens the store of this process once.
var control = sync.OnceValues(func() (*store.Control, error) {
	place := programs // which goes when all tests are done
	if os.Geteuid() != 0 {
		place = os.Getenv("TMPDIR")
	}
	dir, err := os.MkdirTemp(place, "audit")
	if err != nil {
		return nil, err
	}
	return store.OpenControl(context.Background(), store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"), KeyFile: filepath.Join(dir, "key")})
})

var tenants atomic.Int64

// auditor is one arena's part of the log.
type auditor struct {
	store  *store.Control
	tenant string
}

// newAuditor listens to what becomes of the instances until the test ends.
func newAuditor(t *testing.T, bus *event.Bus[pluginhost.Status]) *auditor {
	t.Helper()
	a, stop, err := startAuditor(bus)
	must(t, err)
	t.Cleanup(stop)
	return a
}

func startAuditor(bus *event.Bus[pluginhost.Status]) (a *auditor, stop func(), err error) {
	s, err := control()
	if err != nil {
		return nil, nil, err
	}
	a = &auditor{store: s, tenant: fmt.Sprintf("arena-%d", tenants.Add(1))}
	cat := catalogue.New(catalogue.Config{Tenant: a.tenant, Audit: audit.New(s, nil)})
	changes := bus.Subscribe("server", 0)
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case st := <-changes.C():
				cat.Ran(context.Background(), catalogue.ServerNode, st)
			case <-done:
				return
			}
		}
	})
	return a, func() {
		close(done)
		work.Wait()
		changes.Close()
	}, nil
}

// about lists what the log holds about a plugin, oldest first.
func (a *auditor) about(t *testing.T, plugin string) []store.AuditEntry {
	t.Helper()
	list, err := a.entries(plugin)
	must(t, err)
	return list
}

func (a *auditor) entries(plugin string) ([]store.AuditEntry, error) {
	list, _, err := a.store.ListAudit(context.Background(), a.tenant, store.AuditFilter{Object: "plugin:" + plugin}, store.Page{Limit: 200})
	slices.Reverse(list)
	return list, err
}

// audited waits until the log names the villain with the reason, for each of the lines, and notes them for the page.
func (a *arena) audited(lines ...line) {
	a.t.Helper()
	if len(lines) == 0 {
		a.t.Error("the test does not say what the audit log should")
	}
	for _, l := range lines {
		if e, ok := a.entry(func(e store.AuditEntry) bool { return e.Action == l.action && strings.Contains(e.Detail, l.says) }); ok {
			noteAudit(a.t, e.Action)
		} else {
			a.t.Errorf("the audit log has no %s that says %q", l.action, l.says)
		}
	}
	a.logAudit()
}

// auditedAny waits until the log names the villain with one of the reasons.
func (a *arena) auditedAny(says ...string) {
	a.t.Helper()
	e, ok := a.entry(func(e store.AuditEntry) bool {
		return slices.ContainsFunc(says, func(text string) bool { return strings.Contains(e.Detail, text) })
	})
	if ok {
		what := e.Action
		if len(says) > 1 && (what == "plugin.crash" || what == "plugin.killed") {
			what = endedEither // a matter of who is faster
		}
		noteAudit(a.t, what)
	} else {
		a.t.Errorf("the audit log says none of %q", says)
	}
	a.logAudit()
}

// endedEither: the host ended it, or it fell over its limit by itself.
const endedEither = "plugin.killed` or `plugin.crash"

// entry waits for an entry about the villain that names it and says that something was refused or failed.
func (a *arena) entry(fits func(store.AuditEntry) bool) (store.AuditEntry, bool) {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		for _, e := range a.log.about(a.t, a.villain.Plugin) {
			if e.Outcome != audit.OK && strings.HasPrefix(e.Detail, "villain on this server: ") && fits(e) {
				return e, true
			}
		}
		if a.t.Failed() || time.Now().After(deadline) {
			return store.AuditEntry{}, false
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (a *arena) logAudit() {
	a.t.Helper()
	for _, e := range a.log.about(a.t, a.villain.Plugin) {
		a.t.Logf("audit log: %s %s: %s", e.Action, e.Outcome, e.Detail)
	}
}

// unheard says why the log has nothing to say about an attack.
func (a *arena) unheard(why string) {
	a.t.Helper()
	if list := a.log.about(a.t, a.villain.Plugin); len(list) > 0 {
		a.t.Errorf("the audit log says more than nothing: %+v", list)
	}
	noteAudit(a.t, "– ("+why+")")
}

// audits are the entries that the tests looked for, by the name of the test of a level.
var audits struct {
	sync.Mutex
	of map[string][]string
}

func noteAudit(t *testing.T, text string) {
	t.Helper()
	audits.Lock()
	defer audits.Unlock()
	if audits.of == nil {
		audits.of = map[string][]string{}
	}
	if !slices.Contains(audits.of[t.Name()], text) {
		audits.of[t.Name()] = append(audits.of[t.Name()], text)
	}
}

func auditsOf(t *testing.T) []string {
	t.Helper()
	audits.Lock()
	defer audits.Unlock()
	return slices.Clone(audits.of[t.Name()])
}
