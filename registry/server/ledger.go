package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// ledger is what nodes and people told the registry: who has what, what they think of it, what they complain about. It
// is in memory as a whole and in the journal line by line.
type ledger struct {
	log *slog.Logger
	id  string // of the journal

	unlock func()

	mu        sync.RWMutex
	journal   *journal
	installs  map[seat]kept[registry.Receipt]
	reviews   map[seat]kept[registry.Review]
	tallies   map[string]tally // by plugin
	reports   []Report
	withdrawn map[string]withdrawal // by release
	lines     int                   // in the journal
	patience  int                   // lines that it must have before it is written anew, after that has failed
}

// seat is one node's place at one plugin. A node counts once there, however often it speaks.
type seat struct{ plugin, node string }

// kept is a statement and the bytes that were signed.
type kept[T any] struct {
	says T
	raw  json.RawMessage
}

type tally struct{ installs, stars, reviews int }

// Report is a complaint about a release. Nobody signs it, so it counts for nothing until somebody has looked.
type Report struct {
	ID      string    `json:"id"`
	Version string    `json:"version,omitempty"`
	Reason  string    `json:"reason"` // malware, spam, copyright, impersonation, broken or other
	Text    string    `json:"text"`
	Contact string    `json:"contact,omitempty"`
	Time    time.Time `json:"time"`
}

// withdrawal is when a release was first seen to be yanked or revoked. The index says only that it is.
type withdrawal struct {
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Revoked bool      `json:"revoked,omitempty"`
	Reason  string    `json:"reason"`
	Time    time.Time `json:"time"`
}

func (w withdrawal) key() string {
	if w.Revoked {
		return w.ID + " " + w.Version + " revoked"
	}
	return w.ID + " " + w.Version + " yanked"
}

// The bounds of complaints, which anybody can write: of all, and of those about one plugin, so that a flood of them keeps
// nobody from warning of another.
const (
	maxReports     = 10_000
	maxReportsEach = 200
)

func openLedger(dir string, log *slog.Logger) (*ledger, error) {
	l := &ledger{
		log: log, installs: map[seat]kept[registry.Receipt]{}, reviews: map[seat]kept[registry.Review]{}, tallies: map[string]tally{},
		withdrawn: map[string]withdrawal{},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	var err error
	if l.unlock, err = durable.Lock(ctx, filepath.Join(dir, "lock")); err != nil {
		return nil, fmt.Errorf("another process serves this registry: %w", err)
	}
	if l.id, err = readID(dir); err == nil {
		l.journal, err = openJournal(dir, l.replay)
	}
	if err != nil {
		l.unlock()
		return nil, err
	}
	if err := l.compact(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// lockPatience lets a server that is being stopped finish.
const lockPatience = 3 * time.Second

func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unlock == nil { // closed already
		return nil
	}
	defer func() { l.unlock(); l.unlock = nil }()
	return l.journal.close()
}

// replay takes a record of the journal, which was checked before it was written.
func (l *ledger) replay(r record) error {
	l.lines++
	switch {
	case r.Receipt != nil:
		says, err := registry.ParseReceipt(r.Receipt)
		if err != nil {
			return err
		}
		l.takeReceipt(*says, r.Receipt)
	case r.Review != nil:
		says, err := registry.ParseReview(r.Review)
		if err != nil {
			return err
		}
		l.takeReview(*says, r.Review)
	case r.Report != nil:
		l.reports = append(l.reports, *r.Report)
	case r.Withdrawn != nil:
		l.withdrawn[r.Withdrawn.key()] = *r.Withdrawn
	case r.Read:
		l.reports = nil
	}
	return nil
}

func (l *ledger) takeReceipt(says registry.Receipt, raw json.RawMessage) {
	at := seat{says.ID, says.Node}
	t := l.tallies[says.ID]
	if l.installs[at].says.Action == registry.ActionInstalled {
		t.installs--
	}
	if says.Action == registry.ActionInstalled {
		t.installs++
	}
	l.installs[at], l.tallies[says.ID] = kept[registry.Receipt]{says, raw}, t
}

func (l *ledger) takeReview(says registry.Review, raw json.RawMessage) {
	at := seat{says.ID, says.Node}
	t := l.tallies[says.ID]
	if old, again := l.reviews[at]; again {
		t.stars -= old.says.Stars
		t.reviews--
	}
	t.stars += says.Stars
	t.reviews++
	l.reviews[at], l.tallies[says.ID] = kept[registry.Review]{says, raw}, t
}

// Why a statement of a node is refused.
var (
	errNotNewer  = errors.New("the node has said something later already; an older or repeated statement changes nothing")
	errNoReceipt = errors.New("the node has no receipt for this plugin; only those that have installed it can review it")
	errFull      = errors.New("the registry takes no more reports about this until its people have read those they have")
)

// receipt takes a receipt whose signature has been checked.
func (l *ledger) receipt(says registry.Receipt) error {
	raw, err := says.Encode()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, have := l.installs[seat{says.ID, says.Node}]; have && !says.Time.After(last.says.Time) {
		return errNotNewer
	}
	if err := l.journal.add(record{Receipt: raw}); err != nil {
		return err
	}
	l.takeReceipt(says, raw)
	l.added(1)
	return nil
}

// review takes a review whose signature has been checked.
func (l *ledger) review(says registry.Review) error {
	raw, err := says.Encode()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := seat{says.ID, says.Node}
	if _, have := l.installs[at]; !have {
		return errNoReceipt
	}
	if last, have := l.reviews[at]; have && !says.Time.After(last.says.Time) {
		return errNotNewer
	}
	if err := l.journal.add(record{Review: raw}); err != nil {
		return err
	}
	l.takeReview(says, raw)
	l.added(1)
	return nil
}

func (l *ledger) report(r Report) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	same := 0
	for _, have := range l.reports {
		if have.ID == r.ID {
			same++
		}
	}
	if len(l.reports) >= maxReports || same >= maxReportsEach {
		return errFull
	}
	if err := l.journal.add(record{Report: &r}); err != nil {
		return err
	}
	l.reports = append(l.reports, r)
	l.added(1)
	return nil
}

// note writes down when each release was first seen to be withdrawn.
func (l *ledger) note(sh *shelf, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var fresh []record
	for _, w := range sh.withdrawals(now) {
		if _, known := l.withdrawn[w.key()]; !known {
			fresh = append(fresh, record{Withdrawn: &w})
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := l.journal.add(fresh...); err != nil {
		return err
	}
	for _, r := range fresh {
		l.withdrawn[r.Withdrawn.key()] = *r.Withdrawn
	}
	l.added(len(fresh))
	return nil
}

// withdrawals lists the releases that are withdrawn. A revocation says when; a yank is as old as the first sight of it.
func (sh *shelf) withdrawals(now time.Time) []withdrawal {
	var out []withdrawal
	for _, p := range sh.index.Plugins {
		for _, r := range p.Releases {
			if r.Yanked != "" {
				out = append(out, withdrawal{ID: p.ID, Version: r.Version, Reason: r.Yanked, Time: now.UTC()})
			}
			if r.Revoked == "" {
				continue
			}
			at := now
			if rev, ok := sh.revoked.Find(registry.Subject{ID: p.ID, Version: r.Version, Descriptor: r.Descriptor, KeyIDs: r.KeyIDs}); ok && rev.Time.Before(now) {
				at = rev.Time
			}
			out = append(out, withdrawal{ID: p.ID, Version: r.Version, Revoked: true, Reason: r.Revoked, Time: at.UTC()})
		}
	}
	return out
}

// reviewsOf returns the reviews of a plugin, the newest first.
func (l *ledger) reviewsOf(plugin string) []registry.Review {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []registry.Review
	for at, r := range l.reviews {
		if at.plugin == plugin {
			out = append(out, r.says)
		}
	}
	slices.SortFunc(out, func(a, b registry.Review) int { return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Node, b.Node)) })
	return out
}

func (l *ledger) allWithdrawn() []withdrawal {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Collect(maps.Values(l.withdrawn))
}

// compactAt is how many lines of the journal may be out of date before it is written anew.
const compactAt = 1000

// added counts lines that were added to the journal. That it cannot be written anew is no reason to refuse what is in it.
func (l *ledger) added(lines int) {
	l.lines += lines
	if l.lines < l.patience {
		return
	}
	if err := l.compact(); err != nil {
		l.patience = l.lines + compactAt
		l.log.Warn("the journal stays as long as it is", "error", err)
	}
}

// compact writes the journal anew when most of it has been overtaken by later lines.
func (l *ledger) compact() error {
	live := len(l.installs) + len(l.reviews) + len(l.reports) + len(l.withdrawn)
	if l.lines-live < max(compactAt, live) {
		return nil
	}
	records := make([]record, 0, live)
	for _, at := range sortedSeats(l.installs) {
		records = append(records, record{Receipt: l.installs[at].raw})
	}
	for _, at := range sortedSeats(l.reviews) {
		records = append(records, record{Review: l.reviews[at].raw})
	}
	for _, r := range l.reports {
		records = append(records, record{Report: &r})
	}
	for _, key := range slices.Sorted(maps.Keys(l.withdrawn)) {
		w := l.withdrawn[key]
		records = append(records, record{Withdrawn: &w})
	}
	if err := l.journal.replace(records); err != nil {
		return fmt.Errorf("compact the journal: %w", err)
	}
	l.log.Info("compacted the journal", "lines_before", l.lines, "lines", live)
	l.lines = live
	return nil
}

func sortedSeats[T any](m map[seat]T) []seat {
	return slices.SortedFunc(maps.Keys(m), func(a, b seat) int {
		return cmp.Or(strings.Compare(a.plugin, b.plugin), strings.Compare(a.node, b.node))
	})
}
