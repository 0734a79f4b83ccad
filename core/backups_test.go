package core

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/backup"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

func backupServer(t *testing.T, change func(s *config.Picketd)) (*running, string) {
	t.Helper()
	s := settings(filepath.Join(t.TempDir(), "data"))
	if change != nil {
		change(&s)
	}
	r := start(t, Config{Settings: s, Programs: programs(t, nil)})
	token, _, err := r.auth.CreateToken(t.Context(), "t", "ADM", "test", 0)
	check(t, err)
	return r, token
}

func (r *running) backupsOf(token string) (list struct {
	Items  []api.Backup
	Failed string
}) {
	r.t.Helper()
	code, text := r.call(http.MethodGet, "/api/v1/admin/backups", token, "")
	if code != http.StatusOK {
		r.t.Fatalf("list: %d %s", code, text)
	}
	check(r.t, json.Unmarshal([]byte(text), &list))
	return list
}

// made waits for a backup and returns its file.
func (r *running) made(token, order string) string {
	r.t.Helper()
	before := len(r.backupsOf(token).Items)
	if code, text := r.call(http.MethodPost, "/api/v1/admin/backups", token, order); code != http.StatusAccepted {
		r.t.Fatalf("create: %d %s", code, text)
	}
	var list []api.Backup
	r.wait("the backup", func() bool {
		l := r.backupsOf(token)
		if l.Failed != "" {
			r.t.Fatal(l.Failed)
		}
		list = l.Items
		return len(list) > before && list[0].State == api.BackupDone
	})
	return list[0].Name
}

// What was there when a backup was made, and nothing else, is there after it was restored into a new folder.
func TestBackupAndRestore(t *testing.T) {
	r, token := backupServer(t, nil)
	sample := sdk.Sample{Metric: "m", Unit: "1", Type: sdk.Gauge, Time: time.Now(), Value: 42}
	_, err := r.telemetry.Append(t.Context(), store.SampleBatch{Tenant: "default", Agent: "a", Epoch: "e", Seq: 1, Samples: []sdk.Sample{sample}})
	check(t, err)
	check(t, r.control.PutSetting(t.Context(), "default", "colour", "red"))
	check(t, os.MkdirAll(r.folder.path("captures"), 0o700))
	check(t, os.WriteFile(r.folder.path("captures", "c"), []byte("packets"), 0o600))
	key, err := age.GenerateX25519Identity()
	check(t, err)

	for name, c := range map[string]struct {
		order   string
		keys    []age.Identity
		samples int
		files   []string
		without []string
	}{
		"full":      {`{"mode":"full"}`, nil, 1, []string{"keys/command.pem"}, []string{"captures/c"}},
		"captures":  {`{"mode":"full","captures":true}`, nil, 1, []string{"captures/c"}, nil},
		"encrypted": {`{"mode":"full","recipient":"` + key.Recipient().String() + `"}`, []age.Identity{key}, 1, nil, nil},
		"data":      {`{"mode":"data"}`, nil, 0, []string{"keys/command.pem"}, []string{"telemetry"}},
		"config":    {`{"mode":"config"}`, nil, 0, []string{"keys/command.pem"}, []string{"telemetry", "flows"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := r.folder.path("backups", r.made(token, c.order))
			dir := filepath.Join(t.TempDir(), "new")
			report, err := Restore(t.Context(), file, dir, c.keys)
			check(t, err)
			if report.Encrypted != (c.keys != nil) {
				t.Errorf("%+v", report)
			}
			for _, name := range c.files {
				if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
			for _, name := range append(c.without, "lock", "run", "backups", "admin.sock") {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					t.Errorf("%s is in it", name)
				}
			}
			secret, err := os.ReadFile(r.cfg.Settings.SecretKeyFile())
			check(t, err)
			check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				raw, err := os.ReadFile(path)
				if bytes.Contains(raw, bytes.TrimSpace(secret)) {
					t.Errorf("%s holds the key of the secrets", path)
				}
				return err
			}))
			back := settings(dir)
			back.KeyFile = r.cfg.Settings.SecretKeyFile()
			s := start(t, Config{Settings: back, Programs: programs(t, nil)})
			if v, err := s.control.Setting(t.Context(), "default", "colour"); err != nil || v != "red" {
				t.Errorf("setting %q, %v", v, err)
			}
			if n := len(s.telemetry.Last("default", "m", "")); n != c.samples {
				t.Errorf("%d samples, want %d", n, c.samples)
			}
			if code, _ := s.call(http.MethodGet, "/api/v1/tokens", token, ""); code != http.StatusOK {
				t.Errorf("the token is not known: %d", code)
			}
		})
	}
}

// A backup that does not fit is refused with words that say why, and the folder stays as it was.
func TestRestoreRefused(t *testing.T) {
	r, token := backupServer(t, nil)
	sealed := r.folder.path("backups", r.made(token, `{"mode":"config","passphrase":"correct horse battery"}`))
	plain := r.folder.path("backups", r.made(token, `{"mode":"config"}`))
	raw, err := os.ReadFile(plain)
	check(t, err)
	file := func(raw []byte) string {
		path := filepath.Join(t.TempDir(), "b")
		check(t, os.WriteFile(path, raw, 0o600))
		return path
	}
	wrong, err := backup.Keys(nil, "incorrect horse battery")
	check(t, err)
	altered := bytes.Clone(raw)
	altered[len(altered)/2] ^= 1
	full := t.TempDir()
	check(t, os.WriteFile(filepath.Join(full, "mine"), nil, 0o600))
	for name, c := range map[string]struct {
		file, dir, words string
		keys             []age.Identity
	}{
		"no passphrase":    {sealed, "", "is encrypted", nil},
		"wrong passphrase": {sealed, "", "is not the one", wrong},
		"cut off":          {file(raw[:len(raw)/2]), "", "was cut off", nil},
		"altered":          {file(altered), "", "altered", nil},
		"no backup":        {file([]byte("something else")), "", "no backup of picket", nil},
		"not empty":        {plain, full, "is not empty", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := c.dir
			if dir == "" {
				dir = filepath.Join(t.TempDir(), "new")
			}
			_, err := Restore(t.Context(), c.file, dir, c.keys)
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("says %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "*restoring*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if entries, _ := os.ReadDir(dir); len(entries) > 0 && c.dir == "" {
				t.Error("something was unpacked")
			}
		})
	}
}

// Scheduled backups are made when they are due; the oldest beyond those that are kept go, those made by hand stay.
func TestScheduledBackups(t *testing.T) {
	r, token := backupServer(t, nil)
	byHand := r.made(token, `{"mode":"config"}`)
	at := time.Now()
	r.backups.now = func() time.Time { return at }
	rules := config.Backups{Every: config.Duration(24 * time.Hour), Mode: "config", Keep: 2}
	for day := range 4 {
		at = at.Add(24 * time.Hour)
		for range 2 { // the second finds nothing to do
			check(t, r.backups.due(t.Context(), rules))
			r.wait("the backup", func() bool { l, _, _ := r.backups.List(); return l[0].State == api.BackupDone })
			r.backups.jobs.Wait()
		}
		list, failed, err := r.backups.List()
		check(t, err)
		if failed != "" || len(list) != min(day+1, 2)+1 || list[len(list)-1].Name != byHand || !list[0].Scheduled {
			t.Fatalf("day %d: %+v %s", day, list, failed)
		}
	}
}

// A scheduled backup that failed is not tried again at once: it may have failed because it filled the disk.
func TestAFailedBackupWaits(t *testing.T) {
	r, _ := backupServer(t, nil)
	at := time.Now()
	r.backups.now = func() time.Time { return at }
	r.backups.stop() // whatever is begun from now on fails
	rules := config.Backups{Every: config.Duration(24 * time.Hour), Mode: "config", Keep: 2}
	for i, fails := range []bool{true, false, true} {
		r.backups.mu.Lock()
		r.backups.failed = ""
		r.backups.mu.Unlock()
		check(t, r.backups.due(t.Context(), rules))
		r.backups.jobs.Wait()
		if _, failed, err := r.backups.List(); err != nil || (failed != "") != fails {
			t.Errorf("%d: failed %q, %v", i, failed, err)
		}
		if i > 0 {
			at = at.Add(tryAgain)
		}
	}
}

// A backup for which there is no room says what to do, leaves nothing behind, and goes well once there is.
func TestBackupOnAFullDisk(t *testing.T) {
	r, token := backupServer(t, nil)
	dir := r.folder.path("backups")
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	if code, text := r.call(http.MethodPost, "/api/v1/admin/backups", token, `{"mode":"full"}`); code != http.StatusAccepted {
		t.Fatalf("create: %d %s", code, text)
	}
	r.wait("the backup to fail", func() bool { return r.backupsOf(token).Failed != "" })
	if failed := r.backupsOf(token).Failed; !strings.Contains(failed, "not enough space") || !strings.Contains(failed, "remove older backups") {
		t.Errorf("says %s", failed)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	check(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	r.made(token, `{"mode":"full"}`)
}

// What another restore is unpacking, or was when it was broken off, is not removed.
func TestRestoreLeavesAnotherAlone(t *testing.T) {
	r, token := backupServer(t, nil)
	file := r.folder.path("backups", r.made(token, `{"mode":"config"}`))
	dir := filepath.Join(t.TempDir(), "new")
	check(t, os.MkdirAll(dir+".restoring/telemetry", 0o700))
	if _, err := Restore(t.Context(), file, dir, nil); err == nil || !strings.Contains(err.Error(), "another restore") {
		t.Errorf("says %v", err)
	}
	if _, err := os.Stat(dir + ".restoring/telemetry"); err != nil {
		t.Error(err)
	}
	check(t, os.RemoveAll(dir+".restoring"))
	if _, err := Restore(t.Context(), file, dir, nil); err != nil {
		t.Error(err)
	}
}
