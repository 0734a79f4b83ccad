package store

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	killDir    = "PICKET_TEST_KILL_DIR"
	killAgents = 4
)

var (
	// killRows are in a batch; they alternate between two days, so that each batch takes two transactions, and
	// move on to other days, so that there are days to sort. With 2,500
	// there are checkpoints to be killed in.
	killRows   = fromEnv("PICKET_TEST_KILL_ROWS", 25)
	killRounds = fromEnv("PICKET_TEST_KILL_ROUNDS", 8)
)

func fromEnv(name string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return fallback
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		work := func() error { return ingestUntilKilled(dir, os.Args[1:]) }
		switch os.Args[1] {
		case killFlows:
			work = func() error { return recordUntilKilled(dir) }
		case killPoint:
			work = func() error { return settleUntilKilled(dir, fromText(os.Args[2])) }
		case killLive:
			work = func() error { return addUntilKilled(dir) }
		case killWrites:
			work = func() error { return writeUntilKilled(dir, fromText(os.Args[2])) }
		case killMigration:
			work = func() error { return migrateUntilKilled(dir, fromText(os.Args[2])) }
		}
		if err := work(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func fromText(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// killBatch is the same each time it is asked for, so that a batch whose answer was lost can be sent again.
func killBatch(agent int, seq uint64) SampleBatch {
	b := SampleBatch{Tenant: "default", Agent: fmt.Sprint("a", agent), Epoch: "e", Seq: seq}
	for i := range killRows {
		n := (int(seq)-1)*killRows + i
		at := start.Add(-time.Duration(1+i%2+int(seq)/40) * 24 * time.Hour).Add(time.Duration(n) * time.Microsecond)
		b.Samples = append(b.Samples, sdk.Sample{Metric: "m", Type: sdk.Gauge, Time: at, Value: float64(n)})
	}
	return b
}

// ingestUntilKilled is the child: each agent goes on after the sequence number it is given and prints what was
// acknowledged.
func ingestUntilKilled(dir string, through []string) error {
	ctx := context.Background()
	tel, err := OpenTelemetry(ctx, TelemetryConfig{Dir: dir, Now: func() time.Time { return start }, GroupWait: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	var out sync.Mutex
	errs := make(chan error, killAgents)
	for agent := range killAgents {
		acked, err := strconv.ParseUint(through[agent], 10, 64)
		if err != nil {
			return err
		}
		go func() {
			for seq := acked + 1; ; seq++ {
				res, err := tel.Append(ctx, killBatch(agent, seq))
				if err != nil {
					errs <- err
					return
				}
				if res.Stored+res.Duplicate != killRows {
					errs <- fmt.Errorf("agent %d seq %d: %+v", agent, seq, res)
					return
				}
				out.Lock()
				fmt.Println(agent, seq)
				out.Unlock()
			}
		}()
	}
	for {
		select {
		case err := <-errs:
			return err
		case <-time.After(20 * time.Millisecond):
			if err := tel.Tidy(ctx); err != nil { // so that some are killed while a day is sorted
				return err
			}
			if n := tel.Stats().Failures; n > 0 {
				return fmt.Errorf("%d failures", n)
			}
		}
	}
}

// Killed at any moment, the store opens again by itself and has every acknowledged sample exactly once, also those of
// batches that were repeated because their answer was lost.
func TestKillNineLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := make([]uint64, killAgents)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range killRounds {
		killAfter(t, dir, acked, 20+random.IntN(400))
		rows, beyond := checkKilled(t, dir, acked)
		t.Logf("round %d: acknowledged through %v, %d rows, %d of them beyond what was acknowledged", round+1, acked, rows, beyond)
	}
}

// killAfter starts the child, reads so many acknowledgements, kills it, and reads what it had still printed.
func killAfter(t *testing.T, dir string, acked []uint64, acks int) {
	t.Helper()
	args := make([]string, len(acked))
	for i, seq := range acked {
		args[i] = strconv.FormatUint(seq, 10)
	}
	child := exec.Command(os.Args[0], args...)
	child.Env = append(os.Environ(), killDir+"="+dir)
	child.Stderr = os.Stderr
	pipe, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		var agent int
		var seq uint64
		if _, err := fmt.Sscan(lines.Text(), &agent, &seq); err != nil {
			break // a line that the kill cut short was not acknowledged to anybody
		}
		acked[agent] = seq
		if acks--; acks == 0 {
			must(t, child.Process.Kill())
		}
	}
	err = child.Wait()
	if acks > 0 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func checkKilled(t *testing.T, dir string, acked []uint64) (rows, beyond int) {
	t.Helper()
	tel := openTelemetry(t, dir, &clock{t: start}, nil)
	defer tel.Close()
	held, missing := tel.segments.forRead(t.Context(), 0, 1<<40)
	defer tel.segments.release(held...)
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	var files []string
	for _, seg := range held {
		files = append(files, "SELECT series_id, value FROM "+seg.alias+".main.samples")
	}
	seen := map[string]map[int]int{} // agent → number of sample → how often
	result, err := tel.engine.db.QueryContext(t.Context(), "SELECT series_id, value, count(*) FROM ("+strings.Join(files, " UNION ALL ")+") GROUP BY ALL")
	must(t, err)
	defer result.Close()
	for result.Next() {
		var id uint32
		var value float64
		var times int
		must(t, result.Scan(&id, &value, &times))
		s := tel.catalogue.byID[id]
		if s == nil {
			t.Fatalf("sample of series %d, which the catalogue does not have", id)
		}
		if seen[s.agent] == nil {
			seen[s.agent] = map[int]int{}
		}
		seen[s.agent][int(value)] = times
		rows += times
		if times != 1 {
			t.Errorf("agent %s, sample %d is there %d times", s.agent, int(value), times)
		}
	}
	must(t, result.Err())
	for agent, through := range acked {
		have := seen[fmt.Sprint("a", agent)]
		for n := range int(through) * killRows {
			if have[n] != 1 {
				t.Fatalf("agent %d, sample %d was acknowledged and is there %d times", agent, n, have[n])
			}
		}
		beyond += len(have) - int(through)*killRows
	}
	return rows, beyond
}

// Half-made files of a crash do no harm.
func TestLeftoversOfACrash(t *testing.T) {
	dir := t.TempDir()
	now := &clock{t: start}
	tel := openTelemetry(t, dir, now, nil)
	appendTo(t, tel, batch(1, gauge(start, 1)))
	must(t, tel.Close())
	for _, name := range []string{"20261103.duckdb.tmp", "20261103.duckdb.tmp.wal", "catalogue.duckdb.tmp"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600))
	}
	tel = openTelemetry(t, dir, now, nil)
	appendTo(t, tel, batch(2, gauge(start.Add(-24*time.Hour), 2)))
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// A second server on the same data folder is refused with a word about it, and harms nothing.
func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	tel := openTelemetry(t, dir, &clock{t: start}, nil)
	child := exec.Command(os.Args[0], "0", "0", "0", "0")
	child.Env = append(os.Environ(), killDir+"="+dir)
	out, err := child.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another process has it open") {
		t.Errorf("the second says %q, %v", out, err)
	}
	if res := appendTo(t, tel, batch(1, gauge(start, 1))); res.Stored != 1 {
		t.Errorf("the first: %+v", res)
	}
}
