package core

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/keptbatch"
	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// keptOf are n packets of a finding, of so many bytes each.
func keptOf(t *testing.T, finding string, n, size int) keptbatch.Packets {
	t.Helper()
	b := keptbatch.Packets{Finding: finding, Run: "r", Kept: carved.Kept{Matched: n}}
	file := append(binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d), make([]byte, 20)...)
	for i := range n {
		b.Packets = append(b.Packets, carved.KeptPacket{Number: uint64(i + 1)})
		file = append(file, make([]byte, 8)...)
		file = binary.LittleEndian.AppendUint32(file, uint32(size))
		file = binary.LittleEndian.AppendUint32(file, uint32(size))
		file = append(file, bytes.Repeat([]byte{byte(n)}, size)...)
	}
	check(t, b.Pack(file))
	return b
}

// Packets are kept of findings that their agent has told, once, within bounds, and go with the finding.
func TestPacketsOfFindings(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	dir := t.TempDir()
	control, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(dir, "control.db"), KeyFile: filepath.Join(t.TempDir(), "k"), Now: func() time.Time { return now }})
	check(t, err)
	defer control.Close()
	settings := config.Default()
	c := &Core{tenant: store.DefaultTenant, control: control, folder: folder{root: dir}, live: api.NewLive("b", nil)}
	c.cfg.Settings, c.cfg.Now = settings, func() time.Time { return now }
	e, err := newEvidence(c)
	check(t, err)
	a, other := store.Agent{ID: "a", Tenant: c.tenant}, store.Agent{ID: "b", Tenant: c.tenant}
	id := func(n byte) string { return "0190f3c1-0000-8000-8000-00000000000" + string(n) }
	for _, n := range []byte("123") {
		_, err := control.RecordFinding(t.Context(), store.Finding{Finding: sdk.Finding{ID: id(n), Detector: "d", Rule: "r", Severity: sdk.SeverityLow, Start: now, End: now}, Tenant: c.tenant, Agent: "a", Run: "r"},
			string(n), func(*store.Alert) (store.Alert, []store.Notice) {
				return store.Alert{Severity: sdk.SeverityLow, FirstSeen: now, LastSeen: now, Count: 1}, nil
			})
		check(t, err)
	}
	keep := func(from store.Agent, b keptbatch.Packets, want int) {
		t.Helper()
		if n, err := e.Keep(t.Context(), from, b); err != nil || n != want {
			t.Errorf("%d packets are on disk, %v; want %d", n, err, want)
		}
	}
	files := func() int {
		t.Helper()
		list, err := os.ReadDir(e.dir)
		check(t, err)
		return len(list)
	}
	keep(other, keptOf(t, id('1'), 2, 60), 0) // another's finding
	keep(a, keptOf(t, id('9'), 2, 60), 0)     // one that nobody told
	var wrong *keptbatch.Error
	if _, err := e.Keep(t.Context(), a, keptbatch.Packets{Finding: "../x", Run: "r"}); !errors.As(err, &wrong) || files() != 0 {
		t.Errorf("rubbish: %v, %d files", err, files())
	}
	keep(a, keptbatch.Packets{Finding: id('1'), Run: "r", Why: keptbatch.Gone}, 0)
	keep(a, keptOf(t, id('1'), 2, 60), 2)
	keep(a, keptOf(t, id('1'), 5, 60), 5)                                         // it has grown
	keep(a, keptOf(t, id('1'), 3, 60), 5)                                         // less is not better
	keep(a, keptbatch.Packets{Finding: id('1'), Run: "r", Why: keptbatch.Off}, 5) // nor is nothing
	f, err := e.Open(t.Context(), c.tenant, id('1'))
	check(t, err)
	if info, err := f.Stat(); err != nil || info.Size() != 24+5*76 || info.Mode().Perm() != 0o600 || files() != 1 {
		t.Errorf("%v, %v, %d files", info, err, files())
	}
	f.Close()

	check(t, os.WriteFile(filepath.Join(e.dir, "left by a crash"), nil, 0o600))
	now = now.Add(time.Hour)
	keep(a, keptOf(t, id('2'), 100, 1000), 100)
	keep(a, keptOf(t, id('3'), 100, 1000), 100)
	check(t, e.sweep(t.Context()))
	if files() != 3 {
		t.Errorf("%d files", files())
	}
	c.cfg.Settings.Evidence.Size = 320_000 // of which one agent has half: the newest
	check(t, e.sweep(t.Context()))
	p, err := control.PacketsOfFinding(t.Context(), c.tenant, id('2'))
	if check(t, err); files() != 1 || p.Why != store.PacketsExpired || len(p.Kept.Packets) != 0 {
		t.Errorf("%d files, %+v", files(), p)
	}
	keep(a, keptOf(t, id('2'), 100, 1000), 0) // what was removed does not come back
	now = now.Add(time.Duration(settings.Evidence.Retention) + time.Hour)
	check(t, e.sweep(t.Context()))
	if files() != 0 {
		t.Errorf("%d files are kept for ever", files())
	}
	e.sent["a"], e.hour = evidenceHour, now
	_, err = control.RecordFinding(t.Context(), store.Finding{Finding: sdk.Finding{ID: id('4'), Detector: "d", Rule: "r", Severity: sdk.SeverityLow, Start: now, End: now}, Tenant: c.tenant, Agent: "a"},
		"4", func(*store.Alert) (store.Alert, []store.Notice) {
			return store.Alert{Severity: sdk.SeverityLow, FirstSeen: now, LastSeen: now, Count: 1}, nil
		})
	check(t, err)
	keep(a, keptOf(t, id('4'), 1, 60), 0)
	if p, err := control.PacketsOfFinding(t.Context(), c.tenant, id('4')); err != nil || p.Why != keptbatch.Limit {
		t.Errorf("of an agent that sends too much: %+v, %v", p, err)
	}
}
