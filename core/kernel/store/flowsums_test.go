package store

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Sums that are kept say the same as a look at every flow, for captures that last seconds and days, and for some of them.
func TestKeptSumsAgreeWithTheFlows(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	for capture, gap := range map[string]time.Duration{"a": 37 * time.Millisecond, "b": 101 * time.Second, "c": 47 * time.Minute} {
		var flows []sdk.Flow
		for id := range uint64(400) {
			x := someFlow(id + 1)
			x.Start = x.Start.Add(time.Duration(id) * gap)
			x.End, x.Proto, x.App = x.Start.Add(time.Second), []uint8{6, 17, 1}[id%3], []string{"", "tls", "dns"}[id/3%3]
			flows = append(flows, x)
		}
		record(t, f, "default", capture, flows, nil)
	}
	for name, q := range map[string]FlowFilter{"all": {}, "some": {Captures: []string{"a", "c"}}, "one": {Captures: []string{"b"}},
		"proto": {Protos: []uint8{17}}, "app": {Apps: []string{"tls", ""}}, "both": {Apps: []string{"dns"}, Protos: []uint8{6}, Captures: []string{"b", "c"}}} {
		kept, err := f.Summary(t.Context(), "default", q)
		must(t, err)
		q.MaxPackets = 1 << 40 // admits all, and no sums are kept by it
		looked, err := f.Summary(t.Context(), "default", q)
		must(t, err)
		if kept.Flows == 0 || !reflect.DeepEqual(kept, looked) {
			t.Errorf("%s: kept\n%+v\nlooked\n%+v", name, kept, looked)
		}
	}
	must(t, f.Delete(t.Context(), "default", "b"))
	if sum, err := f.Summary(t.Context(), "default", FlowFilter{}); err != nil || sum.Flows != 800 {
		t.Errorf("%d flows are left, %v", sum.Flows, err)
	}
}

// The step of what is kept goes into every step that a summary may have.
func TestSumsAreOfStepsThatFit(t *testing.T) {
	for i := range niceSteps {
		kept := dividesAll(i)
		for _, step := range niceSteps[i:] {
			if step%kept != 0 {
				t.Errorf("%s does not go into %s", kept, step)
			}
		}
	}
}

// A file of an older shape is out of the way, with its frames, and the store works.
func TestFlowsOfAnOlderVersionAreSetAside(t *testing.T) {
	dir, now := t.TempDir(), &clock{t: start}
	f := openFlows(t, dir, now)
	record(t, f, "default", "c", version(1)[:10], nil)
	parts, _, release := f.parts(t.Context(), f.runsOf("default", nil))
	for _, text := range []string{"UPDATE $.meta SET version = 1", "DROP TABLE $.sums"} {
		_, err := f.engine.db.ExecContext(t.Context(), strings.ReplaceAll(text, "$", parts[0].seg.alias+".main"))
		must(t, err)
	}
	release()
	must(t, f.Close())

	var log bytes.Buffer
	f, err := OpenFlows(t.Context(), FlowsConfig{Dir: dir, Now: now.Now, Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	defer f.Close()
	if p, err := f.List(t.Context(), FlowQuery{Tenant: "default"}); err != nil || len(p.Flows) != 0 || p.Incomplete {
		t.Errorf("%d flows, %v, incomplete %v", len(p.Flows), err, p.Incomplete)
	}
	record(t, f, "default", "c", version(1)[:20], nil)
	if sum, err := f.Summary(t.Context(), "default", FlowFilter{}); err != nil || sum.Flows != 20 {
		t.Errorf("%d flows, %v", sum.Flows, err)
	}
	aside := filepath.Join(dir, "version-1")
	must(t, os.Chtimes(aside, now.Now(), now.Now()))
	now.Add(30 * 24 * time.Hour)
	must(t, f.Tidy(t.Context()))
	kept, err := os.ReadDir(aside)
	must(t, err)
	if len(kept) != 2 || !strings.Contains(log.String(), "set aside; analyse their captures again") {
		t.Errorf("kept %v, log %q", kept, log.String())
	}
	now.Add(time.Second)
	must(t, f.Tidy(t.Context()))
	if _, err := os.Stat(aside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was set aside is kept beyond retention: %v", err)
	}
}

// A crash while files of an older shape are set aside loses none of their frames.
func TestSettingAsideGoesOnAfterACrash(t *testing.T) {
	dir, now := t.TempDir(), &clock{t: start}
	f := openFlows(t, dir, now)
	record(t, f, "default", "c", version(1)[:10], nil)
	parts, _, release := f.parts(t.Context(), f.runsOf("default", nil))
	_, err := f.engine.db.ExecContext(t.Context(), "UPDATE "+parts[0].seg.alias+".main.meta SET version = 1")
	must(t, err)
	release()
	must(t, f.Close())

	// The file cannot be moved, which is as good as a crash right before it is.
	aside := filepath.Join(dir, "version-1")
	must(t, os.MkdirAll(filepath.Join(aside, filepath.Base(parts[0].seg.path), "in the way"), 0o700))
	if f, err := OpenFlows(t.Context(), FlowsConfig{Dir: dir, Now: now.Now}); err == nil {
		_ = f.Close()
		t.Fatal("a file was set aside over a folder")
	}
	if frames, err := filepath.Glob(filepath.Join(aside, "*"+framesExt)); err != nil || len(frames) != 1 {
		t.Errorf("%v are aside before their file is, %v: the next start would remove the others", frames, err)
	}
	must(t, os.RemoveAll(filepath.Join(aside, filepath.Base(parts[0].seg.path))))
	f, err = OpenFlows(t.Context(), FlowsConfig{Dir: dir, Now: now.Now})
	must(t, err)
	must(t, f.Close())
	kept, err := os.ReadDir(aside)
	must(t, err)
	if len(kept) != 2 {
		t.Errorf("kept %v, want the file and its frames", kept)
	}
}

// One stray capture of another year does not make one bar of what a filter admits, whether sums of that are kept or not.
func TestASummaryLooksCloserAtWhatIsNear(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	for capture, years := range map[string]int{"now": 0, "stray": 80} {
		var flows []sdk.Flow
		for id := range uint64(120) {
			x := someFlow(id + 1)
			x.Start = x.Start.AddDate(years, 0, 0).Add(time.Duration(id) * time.Second)
			x.End, x.Proto, x.App = x.Start.Add(time.Second), 6, map[string]string{"now": "tls", "stray": "dns"}[capture]
			flows = append(flows, x)
		}
		record(t, f, "default", capture, flows, nil)
	}
	for _, q := range []FlowFilter{{Apps: []string{"tls"}}, {Apps: []string{"tls"}, MaxPackets: 1 << 40}} {
		sum, err := f.Summary(t.Context(), "default", q)
		must(t, err)
		var flows uint64
		for _, at := range sum.Times {
			flows += at.Flows
		}
		if sum.Step != 2*time.Second || len(sum.Times) < 60 || flows != 120 || sum.Flows != 120 {
			t.Errorf("%d bars of %s with %d of %d flows", len(sum.Times), sum.Step, flows, sum.Flows)
		}
	}
	if sum, err := f.Summary(t.Context(), "default", FlowFilter{}); err != nil || len(sum.Times) != 2 || sum.Flows != 240 {
		t.Errorf("all: %d bars of %d flows, %v", len(sum.Times), sum.Flows, err)
	}
}
