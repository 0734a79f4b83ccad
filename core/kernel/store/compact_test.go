package store

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// settleAll lets housekeeping do all that there is to do.
func settleAll(t *testing.T, tel *Telemetry) {
	t.Helper()
	before := ""
	for range 200 {
		must(t, tel.Tidy(t.Context()))
		now := fmt.Sprint(fileNames(t, tel.cfg.Dir))
		if now == before {
			break
		}
		before = now
	}
	if n := tel.Stats().Failures; n > 0 {
		t.Fatalf("%d failures", n)
	}
}

// fileNames are the files below a folder with their sizes, logs and what spills left out.
func fileNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".wal") {
			info, err := d.Info()
			if err != nil {
				return nil //nolint:nilerr // gone meanwhile
			}
			name, _ := filepath.Rel(dir, path)
			names = append(names, fmt.Sprint(name, " ", info.Size(), " ", info.ModTime().UnixNano()))
		}
		return nil
	}))
	return names
}

// allRows are the samples as they are read, in order.
func allRows(t *testing.T, tel *Telemetry) (rows []string) {
	t.Helper()
	held, missing := tel.segments.forRead(t.Context(), 0, 1<<40)
	defer tel.segments.release(held...)
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	for _, seg := range held {
		found, err := tel.engine.db.QueryContext(t.Context(), "SELECT series_id, epoch_us(ts), value FROM "+tel.rows(seg)+" ORDER BY ALL")
		must(t, err)
		defer found.Close()
		for found.Next() {
			var id uint32
			var us int64
			var value float64
			must(t, found.Scan(&id, &us, &value))
			rows = append(rows, fmt.Sprint(id, " ", us, " ", math.Float64bits(value)))
		}
		must(t, found.Err())
	}
	return rows
}

// wander sends days of a gauge and a counter that is set back now and then, with a gap, one sample a minute, in no order of series.
func wander(t *testing.T, tel *Telemetry, from time.Time, days int) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	level, count := [3]float64{}, [3]float64{}
	b := batch(0)
	for at := from; at.Before(from.Add(time.Duration(days) * 24 * time.Hour)); at = at.Add(time.Minute) {
		if h := at.Sub(from).Hours(); h > 30 && h < 33 {
			continue
		}
		for i := range 3 {
			level[i] += random.NormFloat64()
			count[i] += float64(random.IntN(1000))
			if random.IntN(500) == 0 {
				count[i] = float64(random.IntN(10))
			}
			c := counter(at, count[i])
			c.Labels = map[string]string{"i": strconv.Itoa(i)}
			b.Samples = append(b.Samples, gauge(at, level[i], "i", strconv.Itoa(i)), c)
		}
		if len(b.Samples) > 200 {
			b.Seq++
			appendTo(t, tel, b)
			b.Samples = nil
		}
	}
	b.Seq++
	appendTo(t, tel, b)
}

func values(t *testing.T, tel *Telemetry, q SeriesQuery) (out []float64) {
	t.Helper()
	q.Tenant = "default"
	res, err := tel.Series(t.Context(), q)
	must(t, err)
	if res.Incomplete {
		t.Fatal("incomplete")
	}
	for _, line := range res.Series {
		for _, p := range line.Points {
			if !p.Valid {
				p.Value = math.NaN()
			}
			out = append(out, p.Value)
		}
	}
	return out
}

func sameValues(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if math.IsNaN(got[i]) != math.IsNaN(want[i]) || math.Abs(got[i]-want[i]) > 1e-9*(1+math.Abs(want[i])) {
			t.Errorf("%s: value %d is %g, want %g", what, i, got[i], want[i])
			return
		}
	}
}

// What a day becomes changes no answer: sorted, rolled up, in Parquet, after a late row, and after a restart.
func TestTheLifeOfADay(t *testing.T) {
	from := start.Truncate(24 * time.Hour).Add(-10 * 24 * time.Hour)
	now := &clock{t: from.Add(3*24*time.Hour + time.Minute)}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, nil)
	wander(t, tel, from, 3)

	var asked []SeriesQuery
	for _, step := range []time.Duration{time.Minute, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		for _, agg := range []Agg{AggAvg, AggMin, AggMax, AggLast} {
			asked = append(asked, SeriesQuery{Metric: "system.memory.usage", Step: step, Agg: agg, From: from.Add(7 * time.Minute), To: from.Add(71*time.Hour + 13*time.Minute)})
		}
		asked = append(asked, SeriesQuery{Metric: "system.network.io", Step: step, Rate: true, From: from.Add(time.Hour), To: from.Add(72 * time.Hour)})
	}
	for _, agg := range []Agg{AggAvg, AggMin, AggMax, AggLast} {
		asked = append(asked, SeriesQuery{Metric: "system.memory.usage", Step: 6 * time.Hour, Agg: agg, From: from, To: from.Add(72 * time.Hour)})
	}
	var want [][]float64
	for _, q := range asked {
		want = append(want, values(t, tel, q))
	}
	rows := allRows(t, tel)
	check := func(when string) {
		t.Helper()
		for i, q := range asked {
			sameValues(t, fmt.Sprintf("%s: %s %s step %s rate %t", when, q.Metric, q.Agg, q.Step, q.Rate), values(t, tel, q), want[i])
		}
		if got := allRows(t, tel); !slices.Equal(got, rows) {
			t.Errorf("%s: %d samples, want the same %d", when, len(got), len(rows))
		}
	}
	rolledUp := func() (n int) {
		t.Helper()
		for _, q := range asked {
			n += len(tel.plan(withTenant(q), newGrid(q), fewSamples+1).rolled)
		}
		return n
	}
	if rolledUp() > 0 {
		t.Fatal("read from roll-ups before there were any")
	}
	now.t = from.Add(3*24*time.Hour + 3*time.Hour)
	settleAll(t, tel)
	if rolledUp() == 0 {
		t.Error("no roll-up is read")
	}
	if q := withTenant(asked[5]); len(tel.plan(q, newGrid(q), fewSamples).rolled) > 0 {
		t.Error("a roll-up is read where there are few samples")
	}
	check("sorted and rolled up")
	now.t = from.Add(12 * 24 * time.Hour)
	settleAll(t, tel)
	if files, _ := filepath.Glob(filepath.Join(dir, "*.parquet")); len(files) != 3 {
		t.Errorf("archives %v, want 3", files)
	}
	check("in Parquet")
	must(t, tel.Close())
	tel = openTelemetry(t, dir, now, nil)
	check("after a restart")
	if res := appendTo(t, tel, batch(5, gauge(from.Add(4*time.Minute), 1, "i", "0"))); res.Duplicate != 1 {
		t.Errorf("a repeated batch: %+v", res)
	}

	late := gauge(from.Add(24*time.Hour+7*time.Minute+time.Second), 1e6, "i", "1")
	appendTo(t, tel, batch(1_000_000, late))
	settleAll(t, tel)
	most := SeriesQuery{Metric: "system.memory.usage", Labels: map[string]string{"i": "1"}, Step: 24 * time.Hour, Agg: AggMax, From: from, To: from.Add(72 * time.Hour)}
	if got := values(t, tel, most); got[1] != 1e6 {
		t.Errorf("the late row does not show: %v", got)
	}
	now.Add(quiet + time.Second)
	settleAll(t, tel)
	if got := values(t, tel, most); got[1] != 1e6 || len(tel.plan(withTenant(most), newGrid(most), fewSamples+1).rolled) != 3 {
		t.Errorf("roll-ups were not made again: %v", got)
	}
	if got := allRows(t, tel); len(got) != len(rows)+1 {
		t.Errorf("%d samples, want %d", len(got), len(rows)+1)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "rollups", "5m", "*")); len(files) != 3 {
		t.Errorf("roll-ups %v, want one for each day", files)
	}
	// Samples go first; what was made of them answers on.
	now.t = from.Add(33*24*time.Hour + 12*time.Hour)
	settleAll(t, tel)
	if files, _ := filepath.Glob(filepath.Join(dir, "2*.*")); len(files) != 0 {
		t.Errorf("past retention: %v", files)
	}
	if got := values(t, tel, most); got[1] != 1e6 {
		t.Errorf("without samples: %v", got)
	}
	sameValues(t, "without samples", values(t, tel, asked[9]), want[9])
	res, err := tel.Series(t.Context(), withTenant(SeriesQuery{Metric: "system.memory.usage", From: from, To: from.Add(time.Hour)}))
	if must(t, err); res.Step != 5*time.Minute {
		t.Errorf("step %s is chosen where values of 5 minutes are left", res.Step)
	}
	now.t = from.Add(6 * 365 * 24 * time.Hour)
	settleAll(t, tel)
	if files, _ := filepath.Glob(filepath.Join(dir, "rollups", "*", "*")); len(files) != 0 {
		t.Errorf("past every retention: %v", files)
	}
}

func withTenant(q SeriesQuery) SeriesQuery {
	q.Tenant = "default"
	return q
}

// Of two values of a source without sequence numbers at the same time the later one counts, at once and for good.
func TestTheLastOfTwoCounts(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	send := func(value float64) {
		t.Helper()
		appendTo(t, tel, SampleBatch{Tenant: "default", Agent: "a", Samples: []sdk.Sample{gauge(start, value), gauge(start.Add(time.Minute), 7)}})
	}
	q := SeriesQuery{Metric: "system.memory.usage", From: start, To: start.Add(2 * time.Minute), Step: time.Minute, Agg: AggMin}
	for i, value := range []float64{3, 1, 2} {
		send(value)
		if got := line(t, tel, q); got != fmt.Sprintf("%g 7", value) {
			t.Errorf("after %d: %s", i+1, got)
		}
	}
	now.Add(27 * time.Hour)
	settleAll(t, tel)
	if got := allRows(t, tel); len(got) != 2 || line(t, tel, q) != "2 7" {
		t.Errorf("%v", got)
	}
	now.Add(9 * 24 * time.Hour)
	settleAll(t, tel)
	send(5)
	if got := line(t, tel, q); got != "5 7" {
		t.Errorf("late, in Parquet: %s", got)
	}
	now.Add(time.Hour)
	settleAll(t, tel)
	if got := allRows(t, tel); len(got) != 2 || line(t, tel, q) != "5 7" {
		t.Errorf("%v", got)
	}
}

// Rows that came after a day was found sorted keep the mark that says that they may repeat others.
func TestLateRowsAreNotArchivedOver(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	send := func(value float64) {
		t.Helper()
		appendTo(t, tel, SampleBatch{Tenant: "default", Agent: "a", Samples: []sdk.Sample{gauge(start.Add(time.Minute), value)}})
	}
	appendTo(t, tel, batch(1, gauge(start, 1)))
	now.Add(27 * time.Hour)
	settleAll(t, tel)
	seg, err := tel.segments.one(t.Context(), dayOf(start.UnixMicro()))
	must(t, err)
	send(3)
	wantErr(t, tel.archive(t.Context(), seg), errHeld)
	tel.segments.release(seg)
	send(4)
	if got := allRows(t, tel); len(got) != 2 {
		t.Errorf("at once: %v", got)
	}
	now.Add(9 * 24 * time.Hour)
	settleAll(t, tel)
	if got := allRows(t, tel); len(got) != 2 {
		t.Errorf("settled: %v", got)
	}
}

// A file that could not be replaced takes rows as before.
func TestADayOutlivesAFailedSwap(t *testing.T) {
	tel := openTelemetry(t, t.TempDir(), &clock{t: start}, nil)
	appendTo(t, tel, batch(1, gauge(start, 1)))
	seg, err := tel.segments.one(t.Context(), dayOf(start.UnixMicro()))
	must(t, err)
	must(t, tel.inWriter(t.Context(), func() error {
		if err := tel.segments.swap(t.Context(), seg, seg.path+".tmp"); err == nil {
			t.Error("a file that is not there takes the place of another")
		}
		return nil
	}))
	tel.segments.release(seg)
	appendTo(t, tel, batch(2, gauge(start.Add(time.Second), 2)))
	if got := allRows(t, tel); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// segmentVersion1 is what files looked like before they were rolled up.
const segmentVersion1 = `CREATE TABLE $.meta (version INTEGER, sorted BOOLEAN); INSERT INTO $.meta VALUES (1, %t);
	CREATE TABLE $.samples (ts TIMESTAMP, series_id UINTEGER, value DOUBLE);
	CREATE TABLE $.ingest (tenant VARCHAR, agent VARCHAR, epoch VARCHAR, seq UBIGINT)`

// Files of version 1 are read, added to, and brought to the present shape once their day is over.
func TestFilesOfVersion1(t *testing.T) {
	now := &clock{t: start}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, nil)
	appendTo(t, tel, batch(1, gauge(start, 1), gauge(start.Add(time.Minute), 2)))
	days := []time.Time{start.Add(-48 * time.Hour), start.Add(-24 * time.Hour), start}
	for i, day := range days {
		seg := tel.segments.describe(dayOf(day.UnixMicro()))
		if i == 2 {
			must(t, tel.Close())
			must(t, os.Remove(seg.path))
			tel = openTelemetry(t, dir, now, nil)
		}
		must(t, tel.engine.create(t.Context(), seg.path, fmt.Sprintf(segmentVersion1, i == 0)+fmt.Sprintf(`;
			INSERT INTO $.samples SELECT make_timestamp(%d + i * 60000000), 0, i FROM range(10) r(i);
			INSERT INTO $.ingest VALUES ('default', 'a1', 'e1', %d)`, day.UnixMicro(), i+1)))
	}
	must(t, tel.Close())
	tel = openTelemetry(t, dir, now, nil)
	rows := allRows(t, tel)
	if len(rows) != 30 {
		t.Fatalf("%d rows, want 30", len(rows))
	}
	if res := appendTo(t, tel, batch(3, gauge(start, 1))); res.Duplicate != 1 {
		t.Errorf("a mark was forgotten: %+v", res)
	}
	if res := appendTo(t, tel, batch(4, gauge(start.Add(5*time.Minute+time.Second), 1))); res.Stored != 1 {
		t.Errorf("nothing can be added: %+v", res)
	}
	now.Add(27 * time.Hour)
	settleAll(t, tel)
	for _, seg := range tel.segments.list() {
		if sh, _ := tel.segments.shapeOf(seg); sh.version != segmentVersion || sh.tail != 0 || !tel.rollups.has(seg.day, sh.generation) {
			t.Errorf("%s: %+v", seg.path, sh)
		}
	}
	if got := allRows(t, tel); len(got) != 31 || !slices.Equal(got[:20], rows[:20]) {
		t.Errorf("%d rows, want 31", len(got))
	}
	if res := appendTo(t, tel, batch(2, gauge(start.Add(-24*time.Hour), 1))); res.Duplicate != 1 {
		t.Errorf("a mark was forgotten: %+v", res)
	}
}

const killPoint = "points"

// settleUntilKilled is a child that brings days into their final shape, while rows come late, and dies at one of its points.
func settleUntilKilled(dir string, point int) error {
	now := &clock{t: start.Add(12 * 24 * time.Hour)}
	die, points := dieAt(point), 0
	tel, err := OpenTelemetry(context.Background(), TelemetryConfig{Dir: dir, Now: now.Now, GroupWait: time.Millisecond, step: func(name string) {
		if strings.HasPrefix(name, "transaction") { // those are for TestKilledAtEachPointOfTheWriter
			return
		}
		points++
		die(name)
	}})
	if err != nil {
		return err
	}
	for seq := range uint64(12) {
		if err := tel.Tidy(context.Background()); err != nil {
			return err
		}
		if seq < 2 {
			if _, err := tel.Append(context.Background(), lateBatch(seq)); err != nil {
				return err
			}
			fmt.Println(seq)
		}
		now.Add(quiet)
	}
	if tel.Stats().Failures > 0 {
		return fmt.Errorf("%d failures", tel.Stats().Failures)
	}
	fmt.Println("done", points)
	return tel.Close()
}

func lateBatch(seq uint64) SampleBatch {
	return batch(1000+seq, gauge(start.Add(time.Duration(seq)*time.Second), 5, "late", "1"))
}

// The program dies once at each point at which a file is written out, named or put in place. What was acknowledged is there
// each time, once, and the work goes on where it was.
func TestKilledAtEachPoint(t *testing.T) {
	whole := t.TempDir()
	now := &clock{t: start.Add(time.Hour)}
	tel := openTelemetry(t, whole, now, nil)
	for seq := range uint64(30) {
		appendTo(t, tel, batch(seq+1, gauge(start.Add(time.Duration(seq)*time.Minute), float64(seq)), counter(start.Add(time.Duration(seq)*time.Minute), float64(seq))))
	}
	rows := allRows(t, tel)
	must(t, tel.Close())
	points := 0
	for point := 1; ; point++ {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(whole)))
		child := exec.Command(os.Args[0], killPoint, strconv.Itoa(point))
		child.Env = append(os.Environ(), killDir+"="+dir)
		out, err := child.Output()
		var acked int
		for seq := range uint64(2) {
			if strings.Contains("\n"+string(out), fmt.Sprintf("\n%d\n", seq)) {
				acked++
			}
		}
		died := err != nil && child.ProcessState.Sys().(syscall.WaitStatus).Signaled()
		if err != nil && !died {
			t.Fatalf("point %d: %v %s", point, err, out)
		}
		later := &clock{t: start.Add(13 * 24 * time.Hour)}
		tel := openTelemetry(t, dir, later, nil)
		for _, when := range []string{"at once", "settled"} {
			got := allRows(t, tel)
			kept := slices.DeleteFunc(slices.Clone(got), func(r string) bool { return !slices.Contains(rows, r) })
			if !slices.Equal(kept, rows) || len(got) < len(rows)+acked || len(got) > len(rows)+2 {
				t.Fatalf("point %d, %s: %d rows of %d, with %d late of %d", point, when, len(kept), len(rows), len(got)-len(kept), acked)
			}
			for seq := range uint64(acked) {
				if res := appendTo(t, tel, lateBatch(seq)); res.Duplicate != 1 {
					t.Fatalf("point %d, %s: a repeated batch: %+v", point, when, res)
				}
			}
			later.Add(quiet)
			settleAll(t, tel)
			later.Add(quiet)
		}
		if names := fileNames(t, dir); len(names) != 1+2+3 { // the catalogue, the day's two, its roll-ups
			t.Errorf("point %d: files %v", point, names)
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
