package arpspoof

import (
	"context"
	"encoding/json"
	"fmt"
)

// snapshotVersion changes when the meaning of the fields below does; another version is refused.
const snapshotVersion = 1

type snapshot struct {
	Version   int             `json:"version"`
	Clock     int64           `json:"clock"`
	BlindTo   int64           `json:"blind_to"`
	Asked     []savedRequest  `json:"asked"`
	Owners    [2][]savedOwner `json:"owners"` // newer half, older half
	Tellers   [2][]savedCard  `json:"tellers"`
	Forgotten [2]uint64       `json:"forgotten"`
	Incidents []incident      `json:"incidents"`
}

type savedRequest struct {
	From place `json:"from"`
	Want place `json:"want"`
	At   int64 `json:"at"`
}

type savedOwner struct {
	place
	owners
}

type savedCard struct {
	card
	teller
}

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	out := snapshot{Version: snapshotVersion, Clock: d.clock, BlindTo: d.asked.blindTo, Incidents: d.incidents.list,
		Forgotten: [2]uint64{d.owners.forgotten, d.tellers.forgotten}}
	for r, at := range d.asked.at {
		if d.clock-at <= patience {
			out.Asked = append(out.Asked, savedRequest{place{r.vlan, r.from}, place{r.vlan, r.want}, at})
		}
	}
	for i, half := range []map[place]*owners{d.owners.now, d.owners.before} {
		for _, key := range sorted(half, comparePlaces) {
			out.Owners[i] = append(out.Owners[i], savedOwner{key, *half[key]})
		}
	}
	for i, half := range []map[card]*teller{d.tellers.now, d.tellers.before} {
		for _, key := range sorted(half, compareCards) {
			out.Tellers[i] = append(out.Tellers[i], savedCard{key, *half[key]})
		}
	}
	return json.Marshal(out)
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	var in snapshot
	if err := json.Unmarshal(state, &in); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if in.Version != snapshotVersion {
		return fmt.Errorf("read snapshot: version %d, expected %d", in.Version, snapshotVersion)
	}
	d.reset()
	d.clock, d.asked.blindTo = in.Clock, in.BlindTo
	d.owners.forgotten, d.tellers.forgotten = in.Forgotten[0], in.Forgotten[1]
	d.incidents = incidents{list: in.Incidents, dirty: len(in.Incidents) > 0}
	for _, r := range in.Asked {
		d.asked.at[request{r.From.VLAN, r.From.IP, r.Want.IP}] = r.At
	}
	for i, half := range []map[place]*owners{d.owners.now, d.owners.before} {
		for _, s := range in.Owners[i] {
			half[s.place] = &s.owners
		}
	}
	for i, half := range []map[card]*teller{d.tellers.now, d.tellers.before} {
		for _, s := range in.Tellers[i] {
			half[s.card] = &s.teller
		}
	}
	return nil
}
