package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
)

const (
	killWrites    = "writes"
	killMigration = "migration"
)

// dieAt ends the program at one of the points that it is told of.
func dieAt(point int) func(string) {
	n := 0
	return func(string) {
		if n++; n == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// killed runs a child of a kind until it dies or ends, and returns what it said.
func killed(t *testing.T, dir, kind string, point int) (said string, died bool) {
	t.Helper()
	child := exec.Command(os.Args[0], kind, strconv.Itoa(point))
	child.Env = append(os.Environ(), killDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.Output()
	died = err != nil && child.ProcessState.Sys().(syscall.WaitStatus).Signaled()
	if err != nil && !died {
		t.Fatalf("point %d: %v %s", point, err, out)
	}
	return string(out), died
}

// writeBatch is of two days, each with a new series in every batch.
func writeBatch(seq uint64) SampleBatch {
	at, label := start.Add(time.Duration(seq)*time.Second), fmt.Sprint(seq)
	return batch(seq, gauge(at, float64(seq), "n", label), gauge(at.Add(-24*time.Hour), float64(seq), "n", label))
}

const killBatches = 2

// writeUntilKilled is a child that begins a store and writes batches until it dies at one of its points; at its end it merges
// the logs.
func writeUntilKilled(dir string, point int) error {
	now := &clock{t: start.Add(time.Minute)}
	tel, err := OpenTelemetry(context.Background(), TelemetryConfig{Dir: dir, Now: now.Now, GroupWait: time.Millisecond, step: dieAt(point)})
	if err != nil {
		return err
	}
	for seq := uint64(1); seq <= killBatches; seq++ {
		if _, err := tel.Append(context.Background(), writeBatch(seq)); err != nil {
			return err
		}
		fmt.Println(seq)
	}
	for _, seg := range tel.segments.list() {
		if err := tel.checkpoint(context.Background(), seg); err != nil {
			return err
		}
	}
	return tel.Close()
}

// The program dies once at each point of the writer: where files are begun, where series and rows are committed, where a log is
// merged. What was acknowledged is there, and all of it once after everything is sent again.
func TestKilledAtEachPointOfTheWriter(t *testing.T) {
	points := 0
	for point := 1; ; point++ {
		dir := t.TempDir()
		said, died := killed(t, dir, killWrites, point)
		tel := openTelemetry(t, dir, &clock{t: start.Add(time.Minute)}, nil)
		have := allRows(t, tel)
		if acked := strings.Count(said, "\n"); len(have) < 2*acked {
			t.Fatalf("point %d: %d batches were acknowledged, %d rows are there", point, acked, len(have))
		}
		for seq := uint64(1); seq <= killBatches; seq++ {
			res := appendTo(t, tel, writeBatch(seq))
			if res.Stored+res.Duplicate != 2 || res.StoredThrough < seq {
				t.Fatalf("point %d, sent again: %+v", point, res)
			}
		}
		have = allRows(t, tel)
		if slices.Sort(have); len(have) != 2*killBatches || len(slices.Compact(have)) != 2*killBatches {
			t.Fatalf("point %d: rows %v", point, have)
		}
		must(t, tel.Close())
		if !died {
			break
		}
		points++
	}
	if points < 20 {
		t.Errorf("died at %d points only", points)
	}
	t.Logf("died at %d points", points)
}

// migrateUntilKilled is a child that brings a file of the first version to the newest and dies at the end of a step, before it is
// committed.
func migrateUntilKilled(dir string, step int) error {
	sql.Register("mortal", &sqlite3.SQLiteDriver{ConnectHook: func(conn *sqlite3.SQLiteConn) error {
		return conn.RegisterFunc("die", func() int {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}, false)
	}})
	db, err := sql.Open("mortal", dsn(filepath.Join(dir, "control.db")))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	steps, err := migrations()
	if err != nil {
		return err
	}
	if step <= len(steps) {
		steps[step-1] += "\n;SELECT die();"
	}
	return migrate(context.Background(), db, steps)
}

// Killed in any step of a migration, the file has the version before it with what was written under that, and goes on from there.
func TestKilledInEachStepOfAMigration(t *testing.T) {
	steps, err := migrations()
	must(t, err)
	for step := 1; step <= len(steps); step++ {
		dir := t.TempDir()
		if _, died := killed(t, dir, killMigration, step); !died {
			t.Fatalf("step %d: it lived", step)
		}
		path := filepath.Join(dir, "control.db")
		db, err := sql.Open("sqlite3", dsn(path))
		must(t, err)
		var version int
		must(t, db.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&version))
		if version != step-1 {
			t.Fatalf("killed in step %d it has version %d", step, version)
		}
		if version > 0 {
			_, err = db.ExecContext(t.Context(), "INSERT INTO settings (tenant, name, value) VALUES ('default', 'colour', 'red')")
			must(t, err)
		}
		must(t, db.Close())
		c := openAt(t, dbPlace{path, filepath.Join(t.TempDir(), "key")}, nil)
		if v, err := c.Setting(t.Context(), "default", "colour"); version > 0 && (err != nil || v != "red") {
			t.Errorf("step %d: %q, %v", step, v, err)
		}
		must(t, c.Close())
	}
}
