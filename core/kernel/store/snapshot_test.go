package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

// keepIn copies what a snapshot hands out into a folder.
func keepIn(dir string) Keep {
	return func(name, path string) error {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		return errors.Join(err, out.Close())
	}
}

// A snapshot that is taken while rows are added to several days, and days are compacted, has every row that was acknowledged before
// it and none that is not in the store; one that is taken in peace has the same rows, marks and answers.
func TestSnapshotUnderLoad(t *testing.T) {
	from := start.Truncate(24 * time.Hour).Add(-10 * 24 * time.Hour)
	now := &clock{t: from.Add(3*24*time.Hour + time.Minute)}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	wander(t, tel, from, 3)
	now.t = from.Add(9*24*time.Hour + 12*time.Hour)
	for range 6 {
		must(t, tel.Tidy(t.Context())) // some days are in Parquet, some are not
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	send := func(seq uint64) error {
		var b SampleBatch
		b.Tenant, b.Agent, b.Epoch, b.Seq = "default", "busy", "e", seq
		for day := range 9 {
			b.Samples = append(b.Samples, gauge(from.Add(time.Duration(day*24)*time.Hour+time.Duration(seq)*time.Millisecond), float64(seq), "busy", "1"))
		}
		_, err := tel.Append(t.Context(), b)
		return err
	}
	for seq := range uint64(50) {
		must(t, send(seq+1))
	}
	before := allRows(t, tel)
	go func() {
		seq := uint64(51)
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := send(seq); err != nil {
				stopped <- err
				return
			}
			seq++
		}
	}()
	snapshot := func() (*Telemetry, []string) {
		t.Helper()
		dir := t.TempDir()
		must(t, tel.Snapshot(t.Context(), t.TempDir(), keepIn(dir)))
		back := openTelemetry(t, dir, now, nil)
		return back, allRows(t, back)
	}
	_, taken := snapshot()
	for range 3 {
		must(t, tel.Tidy(t.Context()))
	}
	close(stop)
	must(t, <-stopped)
	after := allRows(t, tel)
	inAfter := map[string]bool{}
	for _, r := range after {
		inAfter[r] = true
	}
	have := map[string]bool{}
	for _, r := range taken {
		have[r] = true
		if !inAfter[r] {
			t.Fatalf("row %s is not in the store", r)
		}
	}
	for _, r := range before {
		if !have[r] {
			t.Fatalf("row %s was acknowledged before and is missing", r)
		}
	}
	t.Logf("%d rows before, %d in the snapshot, %d after", len(before), len(taken), len(after))
	back, whole := snapshot()
	if !slices.Equal(whole, after) {
		t.Errorf("%d rows, want the same %d", len(whole), len(after))
	}
	q := SeriesQuery{Metric: "system.memory.usage", Step: time.Hour, From: from, To: from.Add(72 * time.Hour)}
	sameValues(t, "an answer", values(t, back, q), values(t, tel, q))
	if res := appendTo(t, back, batch(3, gauge(from.Add(time.Minute), 1))); res.Duplicate != 1 {
		t.Errorf("a mark is missing: %+v", res)
	}
	for _, seg := range back.segments.list() {
		sh, _ := back.segments.shapeOf(seg)
		var unsorted int
		must(t, back.engine.db.QueryRowContext(t.Context(), "SELECT count(*) FROM (SELECT series_id AS s, ts, lag(series_id) OVER (ORDER BY rowid) AS ps, lag(ts) OVER (ORDER BY rowid) AS pt, rowid AS n FROM "+
			seg.alias+".main.samples) WHERE n < ? AND (s < ps OR (s = ps AND ts < pt))", map[bool]int64{true: sh.sorted}[sh.archive == ""]).Scan(&unsorted))
		if unsorted > 0 {
			t.Errorf("%s: %d rows out of order", seg.path, unsorted)
		}
	}
}

// A snapshot of the control state opens; that of the configuration has nothing that was measured or found.
func TestSnapshotOfControlState(t *testing.T) {
	c, _ := openControl(t)
	must(t, c.PutSetting(t.Context(), "default", "colour", "red"))
	for i := range 3 {
		must(t, c.AppendAudit(t.Context(), AuditEntry{ID: fmt.Sprint(i), Tenant: "default", Time: start.Add(time.Duration(i) * time.Hour), Actor: "a", Action: "b", Outcome: "ok"}))
	}
	_, err := c.RemoveBefore(t.Context(), KeepAudit, start.Add(time.Hour))
	must(t, err)
	for _, configOnly := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "data", "control.db")
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, c.Snapshot(t.Context(), path, configOnly))
		must(t, CheckControl(t.Context(), path))
		back := openAt(t, dbPlace{path, filepath.Join(t.TempDir(), "key")}, nil)
		if v, err := back.Setting(t.Context(), "default", "colour"); err != nil || v != "red" {
			t.Errorf("setting %q, %v", v, err)
		}
		list, _, err := back.ListAudit(t.Context(), "default", AuditFilter{}, Page{})
		if must(t, err); (len(list) == 0) != configOnly {
			t.Errorf("only the configuration %t: %d lines", configOnly, len(list))
		}
		must(t, back.AppendAudit(t.Context(), AuditEntry{ID: "3", Tenant: "default", Time: start, Actor: "a", Action: "b", Outcome: "ok"}))
		if r, err := back.VerifyAudit(t.Context(), "default", AuditHead{}); err != nil || r.Problem != "" {
			t.Errorf("only the configuration %t: the log that goes on: %+v, %v", configOnly, r, err)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.db")
	must(t, os.WriteFile(bad, []byte("no database, but long enough to be looked at as one"), 0o600))
	if err := CheckControl(t.Context(), bad); err == nil {
		t.Error("a file that is no control state passes")
	}
}

// Flows of a snapshot are those of the store, with every feature, also of a recording that ended while it was taken.
func TestSnapshotOfFlows(t *testing.T) {
	now := &clock{t: start}
	f := openFlows(t, t.TempDir(), now)
	record(t, f, "default", "one", version(1), map[uint64]string{3: "a.example"})
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				record(t, f, "default", fmt.Sprint("busy", n), version(2), nil)
				n++
			}
		}
	}()
	take := func() *Flows {
		t.Helper()
		dir := t.TempDir()
		must(t, f.Snapshot(t.Context(), t.TempDir(), keepIn(dir)))
		return openFlows(t, dir, now)
	}
	same := func(back *Flows, capture string) {
		t.Helper()
		for _, id := range []uint64{1, 3} {
			want, err := f.Get(t.Context(), "default", capture, id)
			must(t, err)
			got, err := back.Get(t.Context(), "default", capture, id)
			if must(t, err); fmt.Sprintf("%+v", got.Flow) != fmt.Sprintf("%+v", want.Flow) { // what is usual may have changed meanwhile
				t.Errorf("flow %d of %s is another:\n%+v\nnot\n%+v", id, capture, got.Flow, want.Flow)
			}
		}
	}
	same(take(), "one")
	close(stop)
	n := <-stopped
	back := take()
	for i := range n {
		same(back, fmt.Sprint("busy", i))
	}
	q := FlowQuery{Tenant: "default"}
	if got, want := listAll(t, back, q), listAll(t, f, q); !reflect.DeepEqual(got, want) {
		t.Errorf("%d flows, want the same %d", len(got), len(want))
	}
}
