package store

import (
	"database/sql"
	"fmt"
	"testing"
)

func TestTheInboxIsBounded(t *testing.T) {
	c, now := openControl(t)
	must(t, c.CreateUser(t.Context(), User{ID: "u", Tenant: DefaultTenant, Username: "ada", Role: "IT", Created: now.Now()}))
	tell := func(from, to int) {
		t.Helper()
		must(t, c.write(t.Context(), func(tx *sql.Tx) error {
			for i := from; i < to; i++ {
				_, err := c.putNotices(t.Context(), tx, Alert{ID: "a", Tenant: DefaultTenant}, []Notice{{ID: fmt.Sprintf("n%05d", i), Notifier: Inbox}, {ID: fmt.Sprintf("m%05d", i), Notifier: "mail"}})
				if err != nil {
					return err
				}
			}
			return nil
		}))
	}
	tell(0, maxInbox)
	must(t, c.MarkInbox(t.Context(), DefaultTenant, "u", nil, true))
	tell(maxInbox, maxInbox+10)
	count := func(text string) (n int) {
		t.Helper()
		must(t, c.reader.QueryRowContext(t.Context(), text).Scan(&n))
		return n
	}
	if n := count("SELECT count(*) FROM notices WHERE notifier = 'inbox'"); n != maxInbox {
		t.Errorf("%d notices, want %d", n, maxInbox)
	}
	if n := count("SELECT count(*) FROM inbox_read"); n != maxInbox-10 {
		t.Errorf("%d marks of what is read, want %d", n, maxInbox-10)
	}
	if n := count("SELECT count(*) FROM notices WHERE notifier = 'mail'"); n != maxInbox+10 {
		t.Errorf("%d deliveries, want %d", n, maxInbox+10)
	}
	if n, err := c.CountUnread(t.Context(), DefaultTenant, "u"); err != nil || n != 10 {
		t.Errorf("%d unread, want 10: %v", n, err)
	}
}
