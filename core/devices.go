package core

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/inventory"
	"github.com/picketwatch/picket/sdk"
)

// agentSightingEvery is how often the machine of an agent is noted as seen; those of many are noted less often, because each is a
// transaction.
const (
	agentSightingEvery      = time.Minute
	agentSightingsPerSecond = 10
)

// inventoryOf ties the inventory to the store.
type inventoryOf struct {
	c *Core

	mu   sync.Mutex           // guards last
	last map[string]time.Time // agent → when its machine was noted
}

func newInventory(c *Core) *inventoryOf { return &inventoryOf{c: c, last: map[string]time.Time{}} }

// Sightings merges what a node saw.
func (v *inventoryOf) Sightings(ctx context.Context, b store.SightingBatch) error {
	usable := make([]store.Sighting, 0, len(b.Sightings))
	for _, s := range b.Sightings {
		// What the server knows of its agents' machines no agent can claim for others.
		if s.Plugin == inventory.AgentSource {
			continue
		}
		// An address belongs to the device that was seen with it last: nobody keeps one by a time to come.
		if now := v.c.cfg.Now(); s.Time.After(now) {
			s.Time = now
		}
		usable = append(usable, s)
	}
	b.Sightings = usable
	return v.record(ctx, b)
}

func (v *inventoryOf) record(ctx context.Context, b store.SightingBatch) error {
	named := make([]store.Sighting, 0, len(b.Sightings))
	for _, s := range b.Sightings {
		if normal, ok := inventory.Normal(s.Sighting); ok {
			one := store.Sighting{Plugin: s.Plugin, Sighting: normal}
			one.KinMAC, one.KinIP = inventory.Kin(normal)
			named = append(named, one)
		}
	}
	b.Sightings = named
	changed, _, err := v.c.control.RecordSightings(ctx, b, mergeSighting)
	if err != nil {
		return err
	}
	ids := make([]string, 0, len(changed))
	for _, d := range changed {
		ids = append(ids, d.ID)
	}
	if len(ids) > 0 {
		v.c.live.Publish(b.Tenant, "devices", map[string]any{"ids": ids[:min(len(ids), 100)]})
	}
	return nil
}

func mergeSighting(s store.Sighting, matches []store.Device) (store.Device, []string) {
	return inventory.Merge(s.Plugin, s.Sighting, matches)
}

// AgentSeen notes that the machine of an agent is there, under the address that it reports from.
func (v *inventoryOf) AgentSeen(ctx context.Context, a store.Agent) {
	now := v.c.cfg.Now()
	v.mu.Lock()
	due := now.Sub(v.last[a.ID]) >= max(agentSightingEvery, time.Second*time.Duration(len(v.last)/agentSightingsPerSecond))
	if due {
		v.last[a.ID] = now
	}
	v.mu.Unlock()
	if !due {
		return
	}
	base := sdk.Sighting{Time: now.UTC(), Hostname: a.Name, Confidence: 1,
		Facts: map[string]string{inventory.AgentFact: a.ID, "os": a.OS, "arch": a.Arch, "agent_version": a.Version}}
	b := store.SightingBatch{Tenant: a.Tenant, Agent: a.ID}
	for _, place := range placesOf(a.Address) {
		s := base
		s.IP, s.MAC = place.ip, place.mac
		b.Sightings = append(b.Sightings, store.Sighting{Plugin: inventory.AgentSource, Sighting: s})
	}
	if err := v.record(ctx, b); err != nil && ctx.Err() == nil { // an agent that hung up comes again
		v.c.cfg.Log.Error("note the machine of an agent", "agent", a.ID, "error", err)
	}
}

// place is where a machine can be met.
type place struct {
	ip  netip.Addr
	mac string
}

// placesOf is the address that an agent reports from. One that comes over loopback runs on this machine, whose own
// addresses are known.
func placesOf(address string) []place {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return []place{{}}
	}
	if !ip.Unmap().IsLoopback() {
		return []place{{ip: ip.Unmap()}}
	}
	if own := ownPlacesLately(); len(own) > 0 {
		return own
	}
	return []place{{}} // a machine without a network still has a name
}

// ownPlacesLately asks the kernel at most once a minute: a thousand agents behind a proxy on this machine come over loopback.
var ownPlacesLately = func() func() []place {
	var (
		mu    sync.Mutex
		at    time.Time
		known []place
	)
	return func() []place {
		mu.Lock()
		defer mu.Unlock()
		if at.IsZero() || time.Since(at) > time.Minute {
			at, known = time.Now(), ownPlaces()
		}
		return known
	}
}()

func ownPlaces() []place {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []place
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
				out = append(out, place{ip: p.Addr().Unmap(), mac: i.HardwareAddr.String()})
			}
		}
	}
	return out[:min(len(out), 16)]
}
