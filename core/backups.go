package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/backup"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	backupFolder = "backups"
	backupExt    = ".tar.zst"
	sealedExt    = ".age"
	backupTime   = "20060102T150405.000Z"
)

var backupName = regexp.MustCompile(`^picket-(\d{8}T\d{6}\.\d{3}Z)-(full|data|config)(-scheduled)?\.tar\.zst(\.age)?$`)

// notInBackup is what a backup does not take from the data folder as it lies there: what belongs to this run alone, and the stores,
// which hand out copies of themselves. The key file of the secrets lies outside the folder.
var notInBackup = []string{"run", "sql", "lock", "admin.sock", "agent", backupFolder, "control.db", "control.db-wal", "control.db-shm", "telemetry", "flows", "captures",
	"plugins"}

// onlyConfig is what a backup of the configuration takes.
var onlyConfig = []string{"keys", "policy.yaml", "warninglists", "registry-keys"}

// backups makes and keeps backups of this server, one at a time.
type backups struct {
	core *Core
	dir  string
	now  func() time.Time

	working context.Context // ends with the server
	stop    context.CancelFunc
	jobs    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	running *api.Backup
	failed  string    // why the last one failed
	later   time.Time // when a scheduled one that failed is tried again
}

// tryAgain is how long after a scheduled backup that failed, mostly for want of space, the next one is begun.
const tryAgain = time.Hour

func newBackups(c *Core) (*backups, error) {
	b := &backups{core: c, dir: c.folder.path(backupFolder), now: c.cfg.Now}
	b.working, b.stop = context.WithCancel(context.Background())
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries { // what a crash left half done
		if e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") {
			if err := os.RemoveAll(filepath.Join(b.dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// close breaks off what is being made.
func (b *backups) close() {
	b.stop()
	b.jobs.Wait()
}

// Start begins a backup and returns at once; done, which may be nil, is told how it ended.
func (b *backups) Start(ctx context.Context, o api.BackupOrder, scheduled bool, done func(api.Backup, error)) (api.Backup, error) {
	to, err := backup.Recipient(o.Recipient, o.Passphrase)
	if err != nil {
		return api.Backup{}, &store.QueryError{Message: err.Error()}
	}
	now := b.now().UTC()
	made := api.Backup{Mode: o.Mode, Created: now.Truncate(time.Millisecond), Encrypted: len(to) > 0, Scheduled: scheduled, State: api.BackupRunning}
	made.Name = "picket-" + now.Format(backupTime) + "-" + o.Mode
	if scheduled {
		made.Name += "-scheduled"
	}
	made.Name += backupExt
	if made.Encrypted {
		made.Name += sealedExt
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running != nil {
		return api.Backup{}, fmt.Errorf("%w: a backup is being made", store.ErrState)
	}
	if _, err := os.Stat(filepath.Join(b.dir, made.Name)); err == nil {
		return api.Backup{}, fmt.Errorf("%w: %s", store.ErrConflict, made.Name)
	}
	b.running, b.failed = &made, ""
	b.jobs.Go(func() {
		size, err := b.create(b.working, made, o.Captures, to)
		b.mu.Lock()
		b.running = nil
		if err != nil {
			b.failed = err.Error()
		}
		b.mu.Unlock()
		made.Size, made.State = size, api.BackupDone
		if done != nil {
			done(made, err)
		}
	})
	return made, nil
}

// create writes the file under another name until it is complete.
func (b *backups) create(ctx context.Context, made api.Backup, captures bool, to []age.Recipient) (size int64, err error) {
	work, err := os.MkdirTemp(b.dir, "work-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	tmp := filepath.Join(b.dir, made.Name+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("backup %s: %w", made.Name, errors.Join(noRoom(err), os.Remove(tmp)))
		}
	}()
	err = b.write(ctx, f, made, captures, to, work)
	if err == nil {
		err = f.Sync()
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(tmp, filepath.Join(b.dir, made.Name)); err != nil {
		return 0, err
	}
	d, err := os.Open(b.dir)
	if err != nil {
		return 0, err
	}
	return info.Size(), errors.Join(d.Sync(), d.Close())
}

// noRoom says what to do when there was no space.
func noRoom(err error) error {
	if text := err.Error(); strings.Contains(text, "no space left") || strings.Contains(text, "disk is full") {
		return fmt.Errorf("there is not enough space for it: remove older backups, or make one of less (mode data or config): %w", err)
	}
	return err
}

// write takes the control state first: what it speaks of is in the stores by then.
func (b *backups) write(ctx context.Context, f io.Writer, made api.Backup, captures bool, to []age.Recipient, work string) (err error) {
	w, err := backup.NewWriter(ctx, f, backup.Head{Mode: made.Mode, Version: config.Version, Created: made.Created}, to...)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.Abandon()
		}
	}()
	control := filepath.Join(work, "control.db")
	if err := b.core.control.Snapshot(ctx, control, made.Mode == backup.Config); err != nil {
		return err
	}
	if err := errors.Join(w.Add("control.db", control), os.Remove(control)); err != nil {
		return err
	}
	if err := b.others(ctx, w, made.Mode, captures, work); err != nil {
		return err
	}
	if made.Mode != backup.Config {
		if err := b.core.flows.Snapshot(ctx, work, func(name, path string) error { return w.Add("flows/"+name, path) }); err != nil {
			return err
		}
	}
	if made.Mode == backup.Full {
		if err := b.core.telemetry.Snapshot(ctx, work, func(name, path string) error { return w.Add("telemetry/"+filepath.ToSlash(name), path) }); err != nil {
			return err
		}
	}
	return w.Close()
}

// others takes what lies in the data folder beside the stores.
func (b *backups) others(ctx context.Context, w *backup.Writer, mode string, captures bool, work string) error {
	root := b.core.folder.root
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		wanted := !slices.Contains(notInBackup, e.Name()) && !strings.HasPrefix(e.Name(), ".")
		if mode == backup.Config {
			wanted = slices.Contains(onlyConfig, e.Name())
		}
		if wanted {
			if err := takeTree(ctx, w, root, e.Name(), work); err != nil {
				return err
			}
		}
	}
	if mode == backup.Config {
		return nil
	}
	more := []string{filepath.Join("plugins", "installed")}
	if captures {
		more = append(more, "captures")
	}
	for _, name := range more {
		if err := takeTree(ctx, w, root, name, work); err != nil {
			return err
		}
	}
	return nil
}

// takeTree takes a file, or all below a folder. What goes away meanwhile was not to be kept; each file is copied first, because
// it may change.
func takeTree(ctx context.Context, w *backup.Writer, root, name, work string) error {
	return filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !d.Type().IsRegular() || strings.HasSuffix(d.Name(), ".tmp"):
			return nil
		}
		spool := filepath.Join(work, "spool")
		if err := copyFile(spool, path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return w.Add(rel, spool)
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// List are the backups that are kept, the newest first, and the one that is being made.
func (b *backups) List() (list []api.Backup, failed string, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, "", err
	}
	for _, e := range entries {
		part := backupName.FindStringSubmatch(e.Name())
		info, err := e.Info()
		if part == nil || err != nil {
			continue
		}
		created, err := time.Parse(backupTime, part[1])
		if err != nil {
			continue
		}
		list = append(list, api.Backup{Name: e.Name(), Mode: part[2], Created: created, Size: info.Size(), Encrypted: part[4] != "", Scheduled: part[3] != "", State: api.BackupDone})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running != nil { // also when its file has its name already
		list = slices.DeleteFunc(list, func(x api.Backup) bool { return x.Name == b.running.Name })
		list = append(list, *b.running)
	}
	slices.SortFunc(list, func(x, y api.Backup) int {
		return cmp.Or(y.Created.Compare(x.Created), strings.Compare(x.Name, y.Name))
	})
	return list, b.failed, nil
}

// Open opens a backup for reading.
func (b *backups) Open(name string) (*os.File, error) {
	if !backupName.MatchString(name) {
		return nil, store.ErrNotFound
	}
	f, err := os.Open(filepath.Join(b.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, store.ErrNotFound
	}
	return f, err
}

// Delete removes a backup.
func (b *backups) Delete(name string) error {
	if !backupName.MatchString(name) {
		return store.ErrNotFound
	}
	err := os.Remove(filepath.Join(b.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return store.ErrNotFound
	}
	return err
}

// run makes a backup whenever one is due, and removes scheduled ones beyond those that are kept.
func (b *backups) run(ctx context.Context) {
	settings := b.core.cfg.Settings.Backups
	if settings.Every <= 0 {
		return
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := b.due(ctx, settings); err != nil && ctx.Err() == nil {
			b.core.cfg.Log.Error("scheduled backup", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *backups) due(ctx context.Context, settings config.Backups) error {
	list, _, err := b.List()
	if err != nil {
		return err
	}
	b.mu.Lock()
	later := b.later
	b.mu.Unlock()
	if wait := later.Sub(b.now()); wait > 0 && wait <= tryAgain { // more says that the clock was set back
		return nil
	}
	for _, x := range list {
		switch {
		case !x.Scheduled:
			continue
		case x.State == api.BackupRunning, b.now().Sub(x.Created) < time.Duration(settings.Every):
			return nil
		}
	}
	_, err = b.Start(ctx, api.BackupOrder{Mode: settings.Mode, Recipient: settings.Recipient, Captures: settings.Captures}, true, func(made api.Backup, err error) {
		b.core.recordBackup("system", made, err)
		if err != nil {
			b.mu.Lock()
			b.later = b.now().Add(tryAgain)
			b.mu.Unlock()
			b.core.cfg.Log.Error("scheduled backup", "error", err)
			return
		}
		b.core.complain("remove old backups", b.prune(settings.Keep))
	})
	if errors.Is(err, store.ErrState) { // somebody makes one by hand
		return nil
	}
	return err
}

// prune keeps the newest scheduled backups.
func (b *backups) prune(keep int) error {
	list, _, err := b.List()
	if err != nil {
		return err
	}
	for _, x := range list {
		if !x.Scheduled || x.State != api.BackupDone {
			continue
		}
		if keep--; keep < 0 {
			if err := b.Delete(x.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Core) recordBackup(actor string, made api.Backup, err error) {
	e := audit.Entry{Actor: actor, Action: "backup.create", Object: "backup:" + made.Name, Detail: fmt.Sprintf("%s, %d bytes", made.Mode, made.Size)}
	if err != nil {
		e.Outcome, e.Detail = audit.Failed, err.Error()
	}
	c.complain("audit", c.audit.Record(context.Background(), e))
}

// Restore unpacks a backup into a data folder that does not exist yet, or is empty. Nothing is there until all of it has been
// checked.
func Restore(ctx context.Context, file, dir string, keys []age.Identity) (backup.Report, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return backup.Report{}, err
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return backup.Report{}, fmt.Errorf("%s is not empty: restore into a new folder, and move the old one away yourself", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return backup.Report{}, err
	}
	f, err := os.Open(file)
	if err != nil {
		return backup.Report{}, err
	}
	defer f.Close()
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return backup.Report{}, err
	}
	staging := dir + ".restoring"
	if _, err := os.Lstat(staging); err == nil {
		return backup.Report{}, fmt.Errorf("%s is there already: another restore is at work, or one was broken off; if none is, remove it and try again", staging)
	}
	report, err := backup.Extract(ctx, f, keys, staging)
	if err != nil {
		return report, fmt.Errorf("%s: %w", file, err)
	}
	if err := store.CheckControl(ctx, filepath.Join(staging, "control.db")); err != nil {
		return report, errors.Join(fmt.Errorf("%s: %w", file, err), os.RemoveAll(staging))
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return report, errors.Join(err, os.RemoveAll(staging))
	}
	if err := os.Rename(staging, dir); err != nil {
		return report, errors.Join(err, os.RemoveAll(staging))
	}
	d, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return report, err
	}
	return report, errors.Join(d.Sync(), d.Close())
}
