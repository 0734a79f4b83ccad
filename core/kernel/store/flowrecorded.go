package store

import (
	"context"
	"fmt"
	"slices"
)

// Recorded finds flows of one worker of an agent's capture, as the worker numbers them: in which recordings they are, as far as they have come.
// Each day has one.
func (f *Flows) Recorded(ctx context.Context, tenant, agent, iface, worker string, flows []uint64) (map[uint64]string, error) {
	b := LiveBatch{Agent: agent, Interface: iface, Worker: worker}
	out := map[uint64]string{}
	runs := f.runsOf(tenant, b.captures(f.days()))
	if len(runs) == 0 || len(flows) == 0 || worker == "" {
		return out, nil
	}
	defer f.memory.page(ctx)()
	parts, _, release := f.parts(ctx, runs)
	defer release()
	for _, p := range parts {
		for _, r := range p.runs {
			ids, err := f.numbers(ctx, fmt.Sprintf("SELECT id FROM %s.main.flows WHERE run = %d::UINTEGER AND %s", p.seg.alias, r.id, oneOf("id", "UBIGINT", flows)))
			if err != nil {
				return nil, explainDuck(p.seg.path, err)
			}
			for _, id := range ids {
				out[id] = r.capture
			}
		}
	}
	return out, nil
}

// captures are the names that the recordings of a worker have on these days.
func (b *LiveBatch) captures(days []int64) []string {
	names := []string{""} // without any, all recordings would be meant
	for _, day := range days {
		names = append(names, b.capture(day))
	}
	return names
}

// days are those on which something was recorded.
func (f *Flows) days() (list []int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.runs {
		if !slices.Contains(list, r.day) {
			list = append(list, r.day)
		}
	}
	return list
}
