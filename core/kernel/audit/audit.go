// Package audit writes down who did what to what, and how it ended. Entries go in; they are on disk when Record
// returns. Secrets never belong in an entry: Detail is cut to a bounded length, and text that looks like one of our
// tokens is masked as a last resort.
package audit

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Outcomes of an action.
const (
	OK      = "ok"
	Refused = "refused"
	Failed  = "failed"
)

const (
	maxDetail = 1000
	maxField  = 200
)

// Entry is what happened. Tenant and Outcome default to store.DefaultTenant and OK.
type Entry struct {
	Tenant  string
	Actor   string // "user:ada", "token:ci", "agent:<id>", "system"
	Action  string // "login", "plugin.enable", "agent.request"
	Object  string // "plugin:picket/ping"
	Outcome string
	Detail  string
	Address string
}

// Store keeps entries.
type Store interface {
	AppendAudit(ctx context.Context, e store.AuditEntry) error
}

// Log records entries.
type Log struct {
	store Store
	now   func() time.Time
}

// New returns a log that writes to s. now may be nil.
func New(s Store, now func() time.Time) *Log {
	if now == nil {
		now = time.Now
	}
	return &Log{store: s, now: now}
}

// Record writes an entry. It also does so when ctx has been cancelled: what was refused because a client hung up is
// still worth a line.
func (l *Log) Record(ctx context.Context, e Entry) error {
	if e.Tenant == "" {
		e.Tenant = store.DefaultTenant
	}
	if e.Outcome == "" {
		e.Outcome = OK
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	err = l.store.AppendAudit(context.WithoutCancel(ctx), store.AuditEntry{
		ID: id.String(), Tenant: e.Tenant, Time: l.now(),
		Actor: clean(e.Actor, maxField), Action: clean(e.Action, maxField), Object: clean(e.Object, maxField),
		Outcome: e.Outcome, Detail: clean(e.Detail, maxDetail), Address: clean(e.Address, maxField),
	})
	if err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	return nil
}

var secretLike = regexp.MustCompile(`(picket_|pkt_)[A-Za-z0-9_-]{8,}|(?i:bearer)\s+\S+`)

// clean makes text from outside fit for one line of the log.
func clean(s string, most int) string {
	s = secretLike.ReplaceAllString(strings.ToValidUTF8(s, "?"), "[masked]")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
