package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// A full disk refuses batches with a clear error and loses nothing acknowledged; when there is space again the store
// goes on by itself. The sizes make it fail once while writing the log and once during a checkpoint.
func TestDiskFull(t *testing.T) {
	for name, c := range map[string]struct {
		filler int
		rows   int // in one batch
	}{
		"while writing the log": {18 << 20, 10_000},
		"during a checkpoint":   {6 << 20, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			disk := t.TempDir()
			if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
				t.Skipf("a small disk needs the right to mount one: %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
			testDiskFull(t, disk, c.filler, c.rows)
		})
	}
}

func testDiskFull(t *testing.T, disk string, filler, rows int) {
	t.Helper()
	now := &clock{t: start.Add(30 * time.Minute)}
	must(t, os.WriteFile(filepath.Join(disk, "filler"), make([]byte, filler), 0o600))
	dir := filepath.Join(disk, "telemetry")
	tel := openTelemetry(t, dir, now, nil)
	send := func(seq uint64) error {
		b := SampleBatch{Tenant: "default", Agent: "a", Epoch: "e", Seq: seq}
		for i := range rows {
			b.Samples = append(b.Samples, sdk.Sample{Metric: "m", Type: sdk.Gauge, Time: now.Now().Add(-time.Duration(i+1) * time.Millisecond), Value: float64(i) * float64(seq)})
		}
		_, err := tel.Append(t.Context(), b)
		return err
	}
	// Each checkpoint that succeeds makes room; go on until a batch fails.
	seq, full := uint64(1), error(nil)
	for ; full == nil && seq < 1000; seq++ {
		full = send(seq)
	}
	seq-- // this one failed
	if full == nil || !strings.Contains(full.Error(), "disk is full") {
		t.Fatalf("a full disk gives %v", full)
	}
	must(t, os.Remove(filepath.Join(disk, "filler")))
	for ; ; seq++ {
		if err := send(seq); err != nil {
			t.Fatalf("there is space again, batch %d: %v", seq, err)
		}
		if seq%20 == 0 {
			break
		}
	}
	q := SeriesQuery{Tenant: "default", Metric: "m", From: start, To: now.Now(), Step: time.Hour}
	if res, err := tel.Series(t.Context(), q); err != nil || res.Incomplete {
		t.Fatalf("query: incomplete %t, %v", res.Incomplete, err)
	}
	must(t, errors.Join(tel.Close()))
	tel = openTelemetry(t, dir, now, nil)
	held, missing := tel.segments.forRead(t.Context(), 0, 1<<40)
	defer tel.segments.release(held...)
	if len(held) != 1 || len(missing) > 0 {
		t.Fatalf("files %d, %v", len(held), missing)
	}
	var have int
	must(t, tel.engine.db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+held[0].alias+".main.samples").Scan(&have))
	if have != int(seq)*rows {
		t.Errorf("%d rows, want %d", have, int(seq)*rows)
	}
}

func TestDiskFullForControlState(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	c := openAt(t, dbPlace{filepath.Join(disk, "data", "control.db"), filepath.Join(t.TempDir(), "key")}, nil)
	var full error
	n := 0
	for ; full == nil && n < 100; n++ {
		full = c.PutSetting(t.Context(), "default", strings.Repeat("x", n+1), strings.Repeat("y", 100_000))
	}
	if full == nil || !strings.Contains(full.Error(), "disk is full") {
		t.Fatalf("a full disk gives %v", full)
	}
	if v, err := c.Setting(t.Context(), "default", "x"); err != nil || len(v) != 100_000 {
		t.Errorf("what was stored cannot be read: %d bytes, %v", len(v), err)
	}
	must(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=32m"))
	must(t, c.PutSetting(t.Context(), "default", "after", "1"))
}
