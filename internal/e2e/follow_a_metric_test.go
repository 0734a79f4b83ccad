package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestFollowAMetric is docs/follow-a-metric.md: a value of this machine travels from the collector's process through
// the agent's queue and the server's store to the points of a chart.
func TestFollowAMetric(t *testing.T) {
	s := startDev(t)

	// The collector is a process of its own, started from the bytes that the agent verified.
	host := s.ready(t, "picket/host")
	if host.Node.Type != "agent" || host.Runtime != "process" {
		t.Errorf("picket/host runs on %s as %s, want agent and process", host.Node.Type, host.Runtime)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", host.PID))
	if err != nil || !strings.Contains(exe, "memfd:") {
		t.Errorf("the collector runs %q (%v), want a sealed memfd", exe, err)
	}

	// Its samples are in the store, each under its OpenTelemetry name and unit.
	for _, metric := range []string{"system.cpu.utilization", "system.memory.usage", "system.disk.io", "system.network.io"} {
		waitFor(t, "points of "+metric, func() bool { return s.points(t, metric) >= 2 })
	}

	// The agent that measured is a machine in the list, and a device in the inventory.
	var agents struct {
		Items []struct{ Name, State string }
	}
	s.get(t, "/api/v1/agents", &agents)
	if len(agents.Items) != 1 || agents.Items[0].State != "online" {
		t.Errorf("agents: %+v, want one, online", agents.Items)
	}
}
