package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// killLive, among the arguments, makes the child of the kill test add batches to one recording.
const killLive = "live"

// liveEach is how many flows a batch of the kill test has.
const liveEach = 50

func killedBatch(n int) (b LiveBatch, ids []uint64) {
	for i := range liveEach {
		ids = append(ids, uint64((n-1)*liveEach+i+1))
	}
	return sent("a", uint64(n)), ids
}

// addUntilKilled adds one batch after the other and prints those that are stored.
func addUntilKilled(dir string) error {
	ctx := context.Background()
	f, err := OpenFlows(ctx, FlowsConfig{Dir: dir})
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		b, ids := killedBatch(n)
		if err := tryToAdd(ctx, f, b, map[uint64]string{ids[0]: fmt.Sprint("name", n)}, ids...); err != nil && !errors.Is(err, ErrStored) {
			return err
		}
		fmt.Println(n)
	}
}

// Killed at any moment, again and again, a recording that goes on holds each batch that was acknowledged once, and the one under
// way as a whole or not at all.
func TestKillNineAddsEachBatchOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	dir := t.TempDir()
	last := 0
	for round := range killRounds {
		child := exec.Command(os.Args[0], killLive)
		child.Env = append(os.Environ(), killDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		lines := bufio.NewScanner(out)
		stored := 0
		for lines.Scan() {
			_, _ = fmt.Sscan(lines.Text(), &stored)
			if stored == last+1 { // the first new one; the kill comes at some moment behind it
				time.AfterFunc(time.Duration(random.IntN(60))*time.Millisecond, func() { _ = child.Process.Kill() })
			}
		}
		_ = child.Wait()
		if stored <= last {
			t.Fatalf("round %d: nothing new was stored", round)
		}

		f := openFlows(t, dir, &clock{t: time.Now()})
		sum, err := f.Summary(t.Context(), "default", FlowFilter{})
		must(t, err)
		last = int(sum.Flows) / liveEach
		if last != stored && last != stored+1 || sum.Flows%liveEach != 0 {
			t.Errorf("round %d: %d flows after %d batches", round, sum.Flows, stored)
		}
		ids, captures := map[uint64]bool{}, map[string]bool{}
		for _, x := range listAll(t, f, FlowQuery{Tenant: "default", Page: Page{Limit: 500}}) {
			ids[x.ID], captures[x.Capture] = true, true
			if first := x.ID%liveEach == 1; first != (x.Name != "") {
				t.Errorf("round %d: flow %d has the name %q", round, x.ID, x.Name)
			}
		}
		rows := 0
		for capture := range captures { // two, when midnight has passed
			rows += replayed(t, f, capture)
		}
		if len(ids) != int(sum.Flows) || len(captures) > 2 || rows != int(sum.Flows)+last {
			t.Errorf("round %d: %d flows of %d captures in the list, %d in the sum, %d rows replayed", round, len(ids), len(captures), sum.Flows, rows)
		}
		must(t, f.Close())
	}
}
