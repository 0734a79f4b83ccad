package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/sdk"
)

func TestEachCaptureHasItsOwnInstances(t *testing.T) {
	judge := pluginhost.Assignment{Instance: "picket/portscan@a", Plugin: "picket/portscan", Grants: []sdk.Permission{{Cap: sdk.CapFlowsRead}}}
	other := pluginhost.Assignment{Instance: "picket/host@a", Plugin: "picket/host", Grants: []sdk.Permission{{Cap: sdk.CapHostMetrics}}}
	long := judge
	long.Instance = strings.Repeat("x", maxInstance)
	taken := judge
	taken.Instance = "picket/portscan@a//br0"
	none := copiesFor(nil)
	if list, _ := none.spread([]pluginhost.Assignment{judge}); len(list) != 1 {
		t.Errorf("%d without a capture", len(list))
	}
	c := copiesFor([]Capture{{Config: packetsocket.Config{Interface: "eth0"}}, {Config: packetsocket.Config{Interface: "wi fi"}}, {Config: packetsocket.Config{Interface: "eth0", Filter: "udp"}}, {Config: packetsocket.Config{Interface: "wi-fi"}}, {Config: packetsocket.Config{Interface: "br0"}}})
	list, c := c.spread([]pluginhost.Assignment{judge, other, long})
	var names []string
	for _, a := range list {
		names = append(names, a.Instance)
	}
	want := []string{judge.Instance, other.Instance, long.Instance, judge.Instance + "//wi-fi", judge.Instance + "//eth0", judge.Instance + "//wi-fi:2"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	if x := c.of[judge.Instance+"//eth0"]; x.capture != 2 || x.instance != judge.Instance || len(c.of) != 3 {
		t.Errorf("%+v", c.of)
	}
	c = copiesFor([]Capture{{Config: packetsocket.Config{Interface: "eth0"}}, {Config: packetsocket.Config{Interface: "br0"}}})
	if list, _ := c.spread([]pluginhost.Assignment{judge, taken}); len(list) != 3 { // the copy of taken, none of judge
		t.Errorf("%d where a name is taken", len(list))
	}
}

// TestACopyThatFailsShows in the only state that the server knows.
func TestACopyThatFailsShows(t *testing.T) {
	p := &plugins{copies: copies{of: map[string]copied{"a//br0": {"a", 1}, "b//br0": {"b", 1}}}}
	got := p.states([]pluginhost.Status{{Instance: "a", State: pluginhost.Ready}, {Instance: "a//br0", State: pluginhost.Backoff, Reason: "it crashed"},
		{Instance: "b", State: pluginhost.Refused, Reason: "no"}, {Instance: "b//br0", State: pluginhost.Refused, Reason: "not either"}})
	if len(got) != 2 || got[0].State != pluginhost.Backoff || got[0].Reason != "a//br0: it crashed" || got[1].Reason != "no" {
		t.Errorf("%+v", got)
	}
}
