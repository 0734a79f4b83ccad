package containers

import (
	"maps"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/measure"
)

const (
	maxInterfaces = 16  // of one container
	maxText       = 255 // bytes of a name that the engine gives
)

// container is an entry of the list.
type container struct {
	ID    string
	Names []string
	Image string
	State string
}

func (c container) name() string {
	if len(c.Names) == 0 {
		return short(c.ID)
	}
	return clip(strings.TrimPrefix(c.Names[0], "/"))
}

// states are those of Docker and Podman; what they may add later is "other".
var states = []string{"created", "restarting", "running", "removing", "paused", "exited", "dead", "stopped", "initialized", "stopping"}

func (c container) state() string {
	if s := strings.ToLower(c.State); slices.Contains(states, s) {
		return s
	}
	return "other"
}

func (c container) labels() map[string]string {
	l := map[string]string{"container.id": short(c.ID), "container.name": c.name()}
	if c.Image != "" {
		l["container.image.name"] = clip(c.Image)
	}
	return l
}

// short is an id as engines show it to people.
func short(id string) string { return id[:min(len(id), 12)] }

func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxText)], "?") }

// count says how many containers there are in each state, those that are not measured too.
func count(out *measure.Samples, all []container) {
	n := map[string]int{"running": 0}
	for _, c := range all {
		n[c.state()]++
	}
	for state, n := range n {
		out.Gauge("picket.container.count", "{container}", float64(n), "container.state", state)
	}
}

// stats is what a container uses. What the engine leaves out stays nil.
type stats struct {
	CPU struct {
		Usage struct {
			Total *uint64 `json:"total_usage"` // nanoseconds
		} `json:"cpu_usage"`
	} `json:"cpu_stats"`
	Memory struct {
		Usage *uint64           `json:"usage"`
		Limit uint64            `json:"limit"`
		Stats map[string]uint64 `json:"stats"`
	} `json:"memory_stats"`
	Networks map[string]struct {
		Received uint64 `json:"rx_bytes"`
		Sent     uint64 `json:"tx_bytes"`
	} `json:"networks"`
	Disks struct {
		Bytes []struct {
			Op    string `json:"op"`
			Value uint64 `json:"value"`
		} `json:"io_service_bytes_recursive"`
	} `json:"blkio_stats"`
}

// seconds of processors that it has used.
func (s *stats) seconds() (n float64, known bool) {
	if s.CPU.Usage.Total == nil {
		return 0, false
	}
	return float64(*s.CPU.Usage.Total) / 1e9, true
}

// unlimited is from where on a limit is none: control groups of version 1 have a number of this size for it.
const unlimited = 1 << 62

func (s *stats) measure(out *measure.Samples) {
	if n, ok := s.seconds(); ok {
		out.Counter("container.cpu.time", "s", n)
	}
	if u := s.Memory.Usage; u != nil && *u > 0 { // a paused one may answer 0, which it cannot be
		out.Gauge("container.memory.usage", "By", float64(*u))
		out.Gauge("container.memory.working_set", "By", float64(*u-min(*u, s.inactive())))
		if l := s.Memory.Limit; l > 0 && l < unlimited {
			out.Gauge("container.memory.usage.limit", "By", float64(l))
		}
	}
	names := slices.Sorted(maps.Keys(s.Networks))
	for _, name := range names[:min(len(names), maxInterfaces)] {
		n := s.Networks[name]
		out.Counter("container.network.io", "By", float64(n.Received), "network.io.direction", "receive", "network.interface.name", clip(name))
		out.Counter("container.network.io", "By", float64(n.Sent), "network.io.direction", "transmit", "network.interface.name", clip(name))
	}
	bytes := map[string]float64{}
	for _, d := range s.Disks.Bytes {
		if op := strings.ToLower(d.Op); op == "read" || op == "write" {
			bytes[op] += float64(d.Value)
		}
	}
	for op, n := range bytes {
		out.Counter("container.disk.io", "By", n, "disk.io.direction", op)
	}
}

// inactive is what the kernel would give back first: of files, by the names of both versions of control groups.
func (s *stats) inactive() uint64 {
	if n, ok := s.Memory.Stats["total_inactive_file"]; ok {
		return n
	}
	return s.Memory.Stats["inactive_file"]
}
