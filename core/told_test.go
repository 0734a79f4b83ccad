package core

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// A server that was killed after the other side took a notice, and before that was in the control state, does not send it again.
func TestWhatWasTakenIsNotSentTwice(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	now := time.Now()
	control, err := store.OpenControl(ctx, store.ControlConfig{Path: filepath.Join(dir, "control.db"), KeyFile: filepath.Join(t.TempDir(), "k"), Now: func() time.Time { return now }})
	check(t, err)
	t.Cleanup(func() { control.Close() })
	check(t, control.EnqueueNotices(ctx, store.Notice{ID: "n1", Tenant: "t", AlertID: "a", Notifier: "mail"}, store.Notice{ID: "n2", Tenant: "t", AlertID: "b", Notifier: "mail"}))
	file := filepath.Join(dir, "told")
	begin := func() noticeQueue {
		t.Helper()
		told, err := openTold(file)
		check(t, err)
		t.Cleanup(func() { told.close() })
		return noticeQueue{control, told}
	}
	lease := func(q noticeQueue) (ids []string) {
		t.Helper()
		list, err := q.Lease(ctx, now, time.Minute, "mail", 10)
		check(t, err)
		for _, d := range list {
			ids = append(ids, d.ID)
		}
		return ids
	}
	q := begin()
	if got := lease(q); len(got) != 2 {
		t.Fatalf("due: %q", got)
	}
	check(t, q.told.took("n1", sdk.Receipt{ForeignID: "<m1>"})) // and there it is killed, in the middle of the next line
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteString(`{"notice":"n2","rec`)
	check(t, err)
	check(t, f.Close())

	now = now.Add(2 * time.Minute)
	q = begin()
	if got := lease(q); len(got) != 1 || got[0] != "n2" {
		t.Errorf("sent again: %q, want n2 alone", got)
	}
	if n, err := control.NoticeByID(ctx, "t", "n1"); err != nil || n.State != store.NoticeDelivered || n.Receipt == nil || n.Receipt.ForeignID != "<m1>" {
		t.Errorf("%+v, %v", n, err)
	}
	check(t, q.Delivered(ctx, "n2", sdk.Receipt{}))
	if info, err := os.Stat(file); err != nil || info.Size() != 0 {
		t.Errorf("%v: what is settled is still remembered: %v", info.Size(), err)
	}
	if n, err := control.NoticeByID(ctx, "t", "n2"); err != nil || n.State != store.NoticeDelivered {
		t.Errorf("%+v, %v", n, err)
	}
}
