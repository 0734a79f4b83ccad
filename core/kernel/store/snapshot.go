package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Keep is given each file of a snapshot, by its name in the folder of its store. What lies at path is gone, or goes on changing
// at its end, once it returns.
type Keep func(name, path string) error

// notInConfig are the tables that a snapshot of the configuration leaves empty: what was measured, seen, found and done.
var notInConfig = []string{"alerts", "findings", "finding_packets", "alert_accounts", "accounts_pending", "incidents", "incident_marks", "incident_pending", "incident_notes", "feedback", "feedback_alerts", "suppressed",
	"devices", "device_keys", "device_changes", "device_days", "sightings", "sighting_marks", "captures", "inbox_read", "notices", "commands", "orders", "audit", "audit_heads", "audit_starts", "sessions", "nonces", "one_time_tokens"}

// Snapshot writes a copy of the control state, as it is at one moment, into a new file at path. Writes go on meanwhile.
func (c *Control) Snapshot(ctx context.Context, path string, configOnly bool) (err error) {
	from, err := sql.Open("sqlite3", dsn(c.path)) // the readers' connections may not do this
	if err != nil {
		return err
	}
	_, err = from.ExecContext(ctx, "VACUUM INTO ?", path)
	if err = errors.Join(err, from.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", c.path, explain(err))
	}
	if err := os.Chmod(path, 0o600); err != nil || !configOnly {
		return err
	}
	db, err := sql.Open("sqlite3", dsn(path, "_foreign_keys", "off", "_journal_mode", "OFF"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(explain(err), db.Close()) }()
	db.SetMaxOpenConns(1)
	for _, table := range notInConfig {
		var there int
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", table).Scan(&there); err != nil {
			return err
		}
		if there == 0 {
			continue
		}
		if _, err := db.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			return err
		}
	}
	_, err = db.ExecContext(ctx, "VACUUM")
	return err
}

// Snapshot hands out every file of the store: each day as it is at one moment, and the series last, so that all that have samples
// are among them. Every sample that was acknowledged before it is in; writes go on meanwhile. One day at a time takes space
// in the folder work.
func (t *Telemetry) Snapshot(ctx context.Context, work string, keep Keep) error {
	for _, seg := range t.segments.list() {
		if err := t.snapshotDay(ctx, seg.day, work, keep); err != nil {
			return err
		}
	}
	for i, res := range resolutions {
		for _, path := range t.rollups.paths(i) {
			if err := present(keep(filepath.Join(rollupName, res.name, filepath.Base(path)), path)); err != nil {
				return err
			}
		}
	}
	return t.engine.snapshot(ctx, catalogueAlias, filepath.Base(t.catalogue.path), work, keep)
}

func (t *Telemetry) snapshotDay(ctx context.Context, day int64, work string, keep Keep) error {
	seg, err := t.segments.one(ctx, day)
	if seg == nil || err != nil { // retention took it meanwhile
		return err
	}
	defer t.segments.release(seg) // which keeps its file, and so the archive that it names, from being replaced
	if sh, _ := t.segments.shapeOf(seg); sh.archive != "" {
		if err := keep(sh.archive, filepath.Join(t.cfg.Dir, sh.archive)); err != nil {
			return err
		}
	}
	return t.engine.snapshot(ctx, seg.alias, filepath.Base(seg.path), work, keep)
}

// snapshot hands out a copy of an attached file as it is at one moment.
func (e *engine) snapshot(ctx context.Context, alias, name, work string, keep Keep) error {
	m, err := e.begin(ctx, filepath.Join(work, name), "")
	if err != nil {
		return err
	}
	if err = m.exec(ctx, "COPY FROM DATABASE "+alias+" TO "+m.alias); err == nil {
		err = m.finish(ctx)
	}
	if err != nil {
		return errors.Join(explainDuck(name, err), m.abandon(ctx))
	}
	return errors.Join(keep(name, m.path), removeFiles(m.path))
}

// present takes away the error that a file is not there: retention was quicker.
func present(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Snapshot hands out every file of the store: the days as they are at one moment each, and with them at least the frames that
// they speak of. work must lie on the same file system as the store.
func (f *Flows) Snapshot(ctx context.Context, work string, keep Keep) error {
	// Frames only grow, or go as a whole: linked before the days are copied they stay, read afterwards they have all that is
	// spoken of.
	if err := f.linkFrames(work); err != nil {
		return err
	}
	for _, seg := range f.segments.list() {
		held, err := f.segments.one(ctx, seg.day)
		if err != nil {
			return err
		}
		if held == nil {
			continue
		}
		err = f.engine.snapshot(ctx, held.alias, filepath.Base(held.path), work, keep)
		f.segments.release(held)
		if err != nil {
			return err
		}
	}
	if err := f.linkFrames(work); err != nil { // of recordings that came meanwhile
		return err
	}
	frames, err := filepath.Glob(filepath.Join(work, "*"+framesExt))
	if err != nil {
		return err
	}
	for _, path := range frames {
		if err := errors.Join(keep(filepath.Base(path), path), os.Remove(path)); err != nil {
			return err
		}
	}
	return nil
}

func (f *Flows) linkFrames(work string) error {
	entries, err := os.ReadDir(f.cfg.Dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), framesExt) {
			continue
		}
		err := os.Link(filepath.Join(f.cfg.Dir, entry.Name()), filepath.Join(work, entry.Name()))
		if err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// CheckControl says whether a file holds control state that this program can open.
func CheckControl(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", dsn(path, "_query_only", "true", "_journal_mode", "OFF"))
	if err != nil {
		return err
	}
	defer db.Close()
	var version int
	var whole string
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return explain(err)
	}
	steps, err := migrations()
	if err != nil {
		return err
	}
	if version > len(steps) {
		return fmt.Errorf("it has version %d, this program knows up to %d; it was written by a newer picketd", version, len(steps))
	}
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&whole); err != nil {
		return explain(err)
	}
	if whole != "ok" {
		return fmt.Errorf("the control state is damaged: %s", whole)
	}
	return nil
}
