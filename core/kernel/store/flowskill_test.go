package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// killFlows, among the arguments, makes the child of the kill test record flows instead of samples.
const killFlows = "flows"

// version is a capture as one analysis saw it: as many flows as its number says, all with its number for a VLAN.
func version(n int) []sdk.Flow {
	var out []sdk.Flow
	for id := range 3000 + n {
		x := someFlow(uint64(id + 1))
		x.VLAN = uint16(n)
		out = append(out, x)
	}
	return out
}

// recordUntilKilled records one version of a capture after the other and prints those that are stored.
func recordUntilKilled(dir string) error {
	ctx := context.Background()
	f, err := OpenFlows(ctx, FlowsConfig{Dir: dir})
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		r, err := f.Record(ctx, "default", "c")
		if err != nil {
			return err
		}
		flows := version(n)
		for len(flows) > 0 {
			part := flows[:min(len(flows), records.BatchProcess)]
			flows = flows[len(part):]
			if err := r.Flows(ctx, records.Parcel{Frame: records.AppendFlows(nil, part)}); err != nil {
				return err
			}
		}
		if err := r.Close(ctx, true); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// Killed at any moment, a capture's flows are those of one analysis, whole, and none older than the last that was stored.
func TestKillNineLeavesOneRecordingWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for round := range killRounds {
		dir := t.TempDir()
		child := exec.Command(os.Args[0], killFlows)
		child.Env = append(os.Environ(), killDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		lines := bufio.NewScanner(out)
		stored := 0
		if !lines.Scan() {
			t.Fatal("nothing was stored")
		}
		_, _ = fmt.Sscan(lines.Text(), &stored)
		time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond)
		must(t, child.Process.Kill())
		for lines.Scan() {
			_, _ = fmt.Sscan(lines.Text(), &stored)
		}
		_ = child.Wait()

		f := openFlows(t, dir, &clock{t: time.Now()})
		sum, err := f.Summary(t.Context(), "default", FlowFilter{})
		must(t, err)
		found := int(sum.Flows) - 3000
		mine, err := f.Summary(t.Context(), "default", FlowFilter{VLAN: uint16(found)})
		must(t, err)
		if found != stored && found != stored+1 || mine.Flows != sum.Flows {
			t.Errorf("round %d: %d flows, %d of them of the last analysis; it stored %d", round, sum.Flows, mine.Flows, 3000+stored)
		}
		replayed := 0
		must(t, f.Replay(t.Context(), "default", "c", func(_ string, p records.Parcel) error {
			replayed += records.Count(p.Frame)
			return nil
		}))
		if replayed != int(sum.Flows) {
			t.Errorf("round %d: %d flows replayed, %d in the list", round, replayed, sum.Flows)
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "*"+framesExt)); len(files) != 1 {
			t.Errorf("round %d: files %v", round, files)
		}
		must(t, f.Close())
	}
}

// A full disk ends a recording with a clear error and leaves what was stored before.
func TestDiskFullForFlows(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=5m"); err != nil {
		t.Skipf("a small disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	f := openFlows(t, filepath.Join(disk, "flows"), &clock{t: start})
	record(t, f, "default", "small", []sdk.Flow{someFlow(1)}, nil)
	random := rand.New(rand.NewPCG(1, 1))
	fill := func() error {
		r, err := f.Record(t.Context(), "default", "large")
		if err != nil {
			return err
		}
		for i := range 200 {
			var flows []sdk.Flow
			for j := range records.BatchProcess {
				x := someFlow(uint64(i*records.BatchProcess + j))
				x.IATMean, x.IATStd, x.FwdBytes = random.Float64(), random.Float64(), random.Uint64()
				flows = append(flows, x)
			}
			if err := r.Flows(t.Context(), records.Parcel{Frame: records.AppendFlows(nil, flows)}); err != nil {
				_ = r.Close(t.Context(), false) // says the same again
				return err
			}
		}
		return r.Close(t.Context(), true)
	}
	if err := fill(); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Fatalf("a full disk gives %v", err)
	}
	check := func() {
		t.Helper()
		if rows := listAll(t, f, FlowQuery{Tenant: "default"}); len(rows) != 1 || rows[0].Capture != "small" {
			t.Errorf("%d rows are left", len(rows))
		}
	}
	check()
	must(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=200m"))
	must(t, fill())
	if sum, err := f.Summary(t.Context(), "default", FlowFilter{Captures: []string{"large"}}); err != nil || sum.Flows != 200*records.BatchProcess {
		t.Errorf("there is space again: %d flows, %v", sum.Flows, err)
	}
	must(t, f.Delete(t.Context(), "default", "large"))
	check()
}
