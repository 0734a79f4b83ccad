package catalogue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry/client"
)

// meddled is a store in which something else happens while an assignment is written.
type meddled struct {
	*store.Control
	mu        sync.Mutex
	meanwhile func() // before the next assignment is written
	looked    func() // after somebody has asked what has not ended
}

func (m *meddled) PutAssignment(ctx context.Context, a store.Assignment) error {
	m.mu.Lock()
	do := m.meanwhile
	m.meanwhile = nil
	m.mu.Unlock()
	if do != nil {
		do()
	}
	return m.Control.PutAssignment(ctx, a)
}

func (m *meddled) RunningInstalls(ctx context.Context, tenant string) ([]store.Install, error) {
	rows, err := m.Control.RunningInstalls(ctx, tenant)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.looked != nil {
		m.looked()
	}
	return rows, err
}

// Who comes to a plugin while another version of it is being stored waits for that, and does not take it back as
// something that a crash has left.
func TestWhatIsUnderWayIsNotTakenBack(t *testing.T) {
	s := newStand(t)
	s.install("1.0.0")
	m := &meddled{Control: s.store}
	s.cfg.Store = m
	var other sync.WaitGroup
	m.meanwhile = func() {
		looked := make(chan struct{})
		m.mu.Lock()
		m.looked = sync.OnceFunc(func() { close(looked) })
		m.mu.Unlock()
		other.Go(func() {
			if err := s.settleOthers(t.Context(), beacon); err != nil {
				t.Error(err)
			}
		})
		<-looked
	}
	if _, err := s.Enable(t.Context(), beacon, Wish{Version: "1.1.0", GrantAll: true, By: "user:ada"}); err != nil {
		t.Fatal(err)
	}
	other.Wait()
	s.want("after both", []string{beacon + " 1.1.0", table + " 1.0.0"}, []string{beacon + " 1.1.0"})
}

// unmovable is a registry client that takes nothing out of plugins.lock.
type unmovable struct {
	*client.Client
	err error
}

func (u *unmovable) Remove(ctx context.Context, ids ...string) error {
	if u.err != nil {
		return u.err
	}
	return u.Client.Remove(ctx, ids...)
}

// An uninstallation that cannot be carried through keeps no server from starting. Once it can be, it is, and the audit
// log says who had asked for it.
func TestAnUninstallationIsCarriedThroughLater(t *testing.T) {
	s := newStand(t)
	s.install("1.0.0")
	u := &unmovable{s.client, errors.New("plugins.lock cannot be written")}
	s.cfg.Registry = u
	if _, err := s.Uninstall(t.Context(), beacon, "user:ada"); !errors.Is(err, u.err) {
		t.Fatalf("uninstall: %v", err)
	}
	next := s.catalogue()
	next.cfg.Registry = u
	if err := next.Start(t.Context()); err != nil {
		t.Errorf("start: %v", err)
	}
	u.err = nil
	log := &lockedEntries{}
	next.cfg.Audit = log
	if err := next.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want("after another start", nil, nil)
	said := slices.ContainsFunc(log.entries, func(e audit.Entry) bool {
		return e.Action == "plugin.uninstall" && e.Object == "plugin:"+beacon && strings.Contains(e.Detail, "user:ada")
	})
	if !said {
		t.Errorf("the audit log has %+v", log.entries)
	}
}
