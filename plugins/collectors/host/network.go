package host

import (
	"context"
	"sort"

	"github.com/shirou/gopsutil/v4/net"
)

func (c *Collector) readNetwork(ctx context.Context, out *samples) error {
	counters, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return err
	}
	sort.Slice(counters, func(i, j int) bool { return counters[i].Name < counters[j].Name })
	for _, n := range counters {
		if c.config.Interfaces.allows(n.Name) {
			out.network(n)
		}
	}
	return nil
}

func (s *samples) network(n net.IOCountersStat) {
	name := label{"network.interface.name", n.Name}
	in, out := label{"network.io.direction", "receive"}, label{"network.io.direction", "transmit"}
	s.counter("system.network.io", "By", float64(n.BytesRecv), name, in)
	s.counter("system.network.io", "By", float64(n.BytesSent), name, out)
	// The conventions give this one metric system.device instead of network.interface.name; it carries both, so that
	// packets can be set beside the bytes of their interface.
	device := label{"system.device", n.Name}
	s.counter("system.network.packet.count", "{packet}", float64(n.PacketsRecv), name, device, in)
	s.counter("system.network.packet.count", "{packet}", float64(n.PacketsSent), name, device, out)
	s.counter("system.network.errors", "{error}", float64(n.Errin), name, in)
	s.counter("system.network.errors", "{error}", float64(n.Errout), name, out)
	s.counter("system.network.packet.dropped", "{packet}", float64(n.Dropin), name, in)
	s.counter("system.network.packet.dropped", "{packet}", float64(n.Dropout), name, out)
}
