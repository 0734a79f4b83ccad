package idsrules

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

const sharedCaptures = "../../../../shared/pcaps"

// withRules is a detector with rule files of its own.
func withRules(tb testing.TB, settings string, files map[string][]byte) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(settings), d.Config()); err != nil {
		tb.Fatal(err)
	}
	l := newLoader(d.cfg.Variables)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := l.add(name, files[name]); err != nil {
			tb.Fatal(err)
		}
	}
	d.loaded = l.out
	d.index = newIndex(d.loaded.rules, d.loaded.shared)
	d.reset()
	return d
}

// packetsOf reads a capture.
func packetsOf(tb testing.TB, file string) (out []sdk.Packet) {
	tb.Helper()
	tap, err := traffic.NewTap(*Plugin().Subscription.Packets, func(packets []sdk.Packet) error {
		for _, p := range packets {
			p.Data = append([]byte(nil), p.Data...)
			out = append(out, p)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	_, err = traffic.AnalyzeFile(tb.Context(), file, traffic.Options{Taps: []*traffic.Tap{tap}}, nil, func([]sdk.Flow) error { return nil })
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		tb.Fatal(err)
	}
	return out
}

// sideOf reads which captures thresholds and rules may be made from.
func sideOf(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("../../../examples/datasets/split.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Split(strings.TrimSpace(line), "\t"); len(words) > 3 && words[3] == name {
			out = append(out, words[0])
		}
	}
	return out
}

// The rules that come with the plugin find the attacks on web servers, exploits and worms, and are silent on what is harmless.
func TestTuneCaptures(t *testing.T) {
	if _, err := os.Stat(sharedCaptures); err != nil {
		t.Skip("there are no shared captures")
	}
	d := withRules(t, `{}`, map[string][]byte{"default.rules": defaultRules})
	for _, name := range sideOf(t, "tune") {
		kind, _, _ := strings.Cut(name, "__")
		attack, harmless := kind == "atk-web" || kind == "atk-exploit" || kind == "atk-worm", strings.HasPrefix(kind, "benign-") || strings.HasPrefix(kind, "neg-")
		if !attack && !harmless {
			continue
		}
		if got := sids(t, d, packetsOf(t, filepath.Join(sharedCaptures, name))); len(got) > 0 != attack {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestSharedCaptures runs the shared rules over the captures of IDS_CAPTURES, a pattern of file names.
func TestSharedCaptures(t *testing.T) {
	pattern := os.Getenv("IDS_CAPTURES")
	if pattern == "" {
		t.Skip("IDS_CAPTURES names no captures")
	}
	files := benchRules(t)
	files["default.rules"] = defaultRules
	d := withRules(t, `{}`, files)
	captures, err := filepath.Glob(filepath.Join(sharedCaptures, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range captures {
		if strings.HasSuffix(file, ".tsv") || strings.HasSuffix(file, ".csv") {
			continue
		}
		packets := packetsOf(t, file)
		s := &sink{}
		start := time.Now()
		if err := d.Inspect(context.Background(), sdk.Batch{Packets: packets}, s); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		if err := d.Flush(context.Background(), s); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d packets, %d ns each", filepath.Base(file), len(packets), took.Nanoseconds()/int64(max(1, len(packets))))
		for _, f := range s.final() {
			if !strings.Contains(f.Summary, "SURICATA") {
				t.Logf("    %s %s %s", f.ID, f.Severity, f.Summary)
			}
		}
	}
}
