package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/keptbatch"
	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	evidenceSweep = time.Hour
	evidencePage  = 50
	// evidenceHour is how much an agent may send within an hour; one that keeps to its own bounds sends half.
	evidenceHour = 128 << 20
	freshFile    = ".new-"
)

// evidence keeps the packets that findings in live traffic rest on: a file for each finding, which nobody changes, and a row that says which packets
// are in it. A file without a row is what a crash left.
type evidence struct {
	c   *Core
	dir string

	mu   sync.Mutex // guards what follows, and the files
	hour time.Time
	sent map[string]int // bytes by agent, within the hour
}

func newEvidence(c *Core) (*evidence, error) {
	e := &evidence{c: c, dir: c.folder.path("evidence"), sent: map[string]int{}}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder for packets of alerts: %w", err)
	}
	return e, nil
}

// run removes what is too old, too much, or without a finding.
func (e *evidence) run(ctx context.Context) {
	tick := time.NewTicker(evidenceSweep)
	defer tick.Stop()
	for {
		if err := e.sweep(ctx); err != nil && ctx.Err() == nil {
			e.c.cfg.Log.Warn("packets of alerts could not be cleared away", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (e *evidence) sweep(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	settings := e.c.cfg.Settings.Evidence
	if err := e.c.control.ExpirePackets(ctx, e.c.cfg.Now().Add(-time.Duration(settings.Retention)), int64(settings.Size)); err != nil {
		return err
	}
	wanted, err := e.c.control.PacketFiles(ctx)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(e.dir)
	for _, x := range entries {
		if !wanted[x.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(e.dir, x.Name())))
		}
	}
	return err
}

// Keep implements api.Evidence.
func (e *evidence) Keep(ctx context.Context, a store.Agent, b keptbatch.Packets) (stored int, err error) {
	e.mu.Lock() // before anything is unpacked: what waits here must not grow
	defer e.mu.Unlock()
	file, err := b.Unpack()
	if err != nil {
		return 0, err
	}
	known, err := e.c.control.FindingOfAgent(ctx, a.Tenant, a.ID, b.Finding)
	if err != nil || !known { // it was suppressed, or is gone
		return 0, err
	}
	before, err := e.c.control.PacketsOfFinding(ctx, a.Tenant, b.Finding)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return 0, err
	case err == nil && (b.Why != "" || before.Why == store.PacketsExpired || len(b.Packets) <= len(before.Kept.Packets)):
		return len(before.Kept.Packets), nil // what there is, is as good
	}
	if !e.may(a.ID, len(file)) {
		b, file = keptbatch.Packets{Finding: b.Finding, Run: b.Run, Why: keptbatch.Limit}, nil
	}
	row := store.FindingPackets{Tenant: a.Tenant, Finding: b.Finding, Agent: a.ID, Why: b.Why, Bytes: int64(len(file)), Kept: b.Kept}
	if file != nil {
		sum := sha256.Sum256(file)
		row.File = b.Finding + "-" + hex.EncodeToString(sum[:8]) + ".pcap"
		if err := e.write(row.File, file); err != nil {
			return 0, fmt.Errorf("keep the packets of a finding: %w", err)
		}
	}
	if err := e.c.control.PutFindingPackets(ctx, row); err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	if before.File != "" && before.File != row.File {
		e.c.complain("remove packets that others replaced", os.Remove(filepath.Join(e.dir, before.File)))
	}
	e.c.live.Publish(a.Tenant, "alerts", map[string]string{"finding": b.Finding})
	return len(b.Packets), nil
}

// may counts what an agent sends.
func (e *evidence) may(agent string, bytes int) bool {
	if now := e.c.cfg.Now(); now.Sub(e.hour) >= time.Hour || now.Before(e.hour) {
		e.hour = now
		clear(e.sent)
	}
	if e.sent[agent]+bytes > evidenceHour {
		return false
	}
	e.sent[agent] += bytes
	return true
}

// write makes a file that is there as a whole or not at all.
func (e *evidence) write(name string, data []byte) error {
	tmp, err := os.CreateTemp(e.dir, freshFile) // readable by its owner alone
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(e.dir, name)); err != nil {
		return err
	}
	dir, err := os.Open(e.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Open implements api.Evidence.
func (e *evidence) Open(ctx context.Context, tenant, finding string) (*os.File, error) {
	p, err := e.c.control.PacketsOfFinding(ctx, tenant, finding)
	if err != nil {
		return nil, err
	}
	return e.open(p)
}

func (e *evidence) open(p store.FindingPackets) (*os.File, error) {
	if p.File == "" {
		return nil, api.ErrNoPackets
	}
	f, err := os.Open(filepath.Join(e.dir, p.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.ErrNoPackets // removed this very moment
	}
	return f, err
}

// Packets implements api.Evidence. In the file packets are numbered from 1; people know them as the finding does.
func (e *evidence) Packets(ctx context.Context, tenant, finding string, w carved.Wanted) (carved.PacketPage, error) {
	p, err := e.c.control.PacketsOfFinding(ctx, tenant, finding)
	if err != nil {
		return carved.PacketPage{}, err
	}
	if w.Limit <= 0 || w.Limit > carved.MaxPackets {
		w.Limit = evidencePage
	}
	in := carved.Wanted{Limit: w.Limit}
	more := false
	for i, x := range p.Kept.Packets {
		_, named := slices.BinarySearch(w.Numbers, x.Number)
		if x.Number <= w.After || w.Flow > 0 && x.Flow != w.Flow || len(w.Numbers) > 0 && !named {
			continue
		}
		if more = len(in.Numbers) == w.Limit; more {
			break
		}
		in.Numbers = append(in.Numbers, uint64(i)+1)
	}
	if len(in.Numbers) == 0 {
		return carved.PacketPage{Items: []carved.DecodedPacket{}}, nil
	}
	page, err := e.c.traffic.PacketsIn(ctx, func() (*os.File, error) { return e.open(p) }, in)
	if err != nil {
		return page, captureError(err)
	}
	for i := range page.Items {
		at := page.Items[i].Number - 1
		if at >= uint64(len(p.Kept.Packets)) {
			return page, errors.New("the traffic worker sent a packet that the file does not have")
		}
		x := p.Kept.Packets[at]
		page.Items[i].Number = x.Number
		if w.Flow > 0 {
			page.Items[i].Direction = directionOf(x)
		}
	}
	page.Next = 0
	if more && len(page.Items) > 0 {
		page.Next = page.Items[len(page.Items)-1].Number
	}
	return page, nil
}

func directionOf(x carved.KeptPacket) string {
	if x.Backward {
		return "backward"
	}
	return "forward"
}

// traceKept says where the packets are that were kept for the newest finding of an alert that has any.
func (c *Core) traceKept(ctx context.Context, a store.Alert, from *traced) error {
	kept, err := c.control.PacketsOfAlert(ctx, c.tenant, a.ID)
	if err != nil {
		return err
	}
	from.Src, from.Dst = a.Src, a.Dst
	for _, id := range slices.Backward(from.Findings) {
		if kept[id].Bytes == 0 {
			continue
		}
		p, err := c.control.PacketsOfFinding(ctx, c.tenant, id)
		if err != nil {
			return err
		}
		from.File, from.Capture = c.folder.path("evidence", p.File), strings.TrimSuffix(p.File, filepath.Ext(p.File))
		return nil
	}
	return nil
}
