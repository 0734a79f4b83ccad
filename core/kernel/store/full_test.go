package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	if !errors.Is(full, ErrFull) {
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
	if !errors.Is(full, ErrFull) {
		t.Fatalf("a full disk gives %v", full)
	}
	if v, err := c.Setting(t.Context(), "default", "x"); err != nil || len(v) != 100_000 {
		t.Errorf("what was stored cannot be read: %d bytes, %v", len(v), err)
	}
	must(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=32m"))
	must(t, c.PutSetting(t.Context(), "default", "after", "1"))
}

// A day that cannot be sorted for want of space stays as it is and is read as before; it is sorted when there is space again. A copy
// for which there is none is refused, and nothing of it is left.
func TestDiskFullWhileADayIsSorted(t *testing.T) {
	disk, work := t.TempDir(), t.TempDir()
	for dir, size := range map[string]string{disk: "64m", work: "256k"} {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
			t.Skipf("a small disk needs the right to mount one: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
	now := &clock{t: start}
	dir := filepath.Join(disk, "telemetry")
	tel := openTelemetry(t, dir, now, nil)
	for seq := range uint64(20) {
		b := batch(seq + 1)
		for i := range 1000 {
			b.Samples = append(b.Samples, gauge(now.Now().Add(-time.Duration(i+1)*time.Second), float64(i)*float64(seq), "n", fmt.Sprint(seq)))
		}
		appendTo(t, tel, b)
	}
	rows := allRows(t, tel)
	now.Add(48 * time.Hour)
	var file syscall.Statfs_t
	must(t, syscall.Statfs(disk, &file))
	must(t, os.WriteFile(filepath.Join(disk, "filler"), make([]byte, int64(file.Bavail)*file.Bsize-300_000), 0o600))
	must(t, tel.Tidy(t.Context()))
	if sh, _ := tel.segments.shapeOf(tel.segments.list()[0]); sh.sorted != 0 || tel.Stats().Failures == 0 {
		t.Errorf("sorted %d, failures %d", sh.sorted, tel.Stats().Failures)
	}
	if got := allRows(t, tel); !slices.Equal(got, rows) {
		t.Errorf("%d rows are read, want %d", len(got), len(rows))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if err := tel.Snapshot(t.Context(), work, func(string, string) error { return nil }); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("a copy: %v", err)
	}
	if left, _ := os.ReadDir(work); len(left) > 0 {
		t.Errorf("left of the copy: %v", left)
	}
	must(t, os.Remove(filepath.Join(disk, "filler")))
	now.Add(2 * time.Hour)
	for range 3 {
		must(t, tel.Tidy(t.Context()))
	}
	if sh, _ := tel.segments.shapeOf(tel.segments.list()[0]); sh.sorted != int64(len(rows)) {
		t.Errorf("there is space again, and %d rows are sorted", sh.sorted)
	}
	if got := allRows(t, tel); !slices.Equal(got, rows) {
		t.Errorf("sorted: %d rows, want %d", len(got), len(rows))
	}
}
