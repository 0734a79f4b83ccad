package ot

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/sdk"
)

// inCaptures is what must be found in a capture by its ground truth: a rule, a technique and a severity at least.
var inCaptures = map[string][]string{
	"ot-modbus__antoinelemay__CnC_uploading_exe_modbus_6RTU_with_operate.pcap": {"command T0855 low"},
	"ot-modbus__antoinelemay__characterization_modbus_6RTU_with_operate.pcap":  {"command T0855 low", "probe T0888 medium"},
	"ot-modbus__zeek__modbusSmall.pcap":                                        {"command T0855 low"},
	"ot-dnp3__OISF__dnp3-flood.pcap":                                           {"flood T0814 medium"},
	"ot-s7__ITI__snap7_s300_everything.pcapng.pcap":                            {"write T0836 low", "stop T0858 high", "start T0858 medium", "upload T0845 medium"},
	"ot-s7__ITI__step7_s300_stop.pcapng.pcap":                                  {"stop T0858 high"},
	"ot-opcua__cisagov__open62541_client-server_minimal.pcap":                  {"write T0836 low", "command T0855 low"},
	"ot-profinet__ITI__ChangeIPUsingDCP.pcap":                                  {"write T0836 medium"},
	"ot-modbus__OISF__modbus.pcap":                                             {"write T0836 low"},
	"ot-dnp3__w3h__cold_restart_and_response.pcap":                             {"restart T0816 medium"},
	"ot-enip__ITI__EIP-RebootorRestart.pcap":                                   {"restart T0816 high"},
}

var weights = map[string]int{"low": 1, "medium": 2, "high": 3}

// TestSharedCaptures asks for what the ground truth of the shared captures names, and for silence in the others.
func TestSharedCaptures(t *testing.T) {
	p := Plugin()
	shared.Each(t, p.Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		found := s.final()
		for _, f := range found {
			t.Logf("%s %s %v risk %d confidence %.2f: %s", f.Severity, f.Rule, f.Techniques, f.Risk, f.Confidence, f.Summary)
		}
		for _, want := range inCaptures[c.Name] {
			rule, rest, _ := strings.Cut(want, " ")
			technique, severity, _ := strings.Cut(rest, " ")
			if !slices.ContainsFunc(found, func(f sdk.Finding) bool {
				return f.Rule == rule && slices.Contains(f.Techniques, technique) && weights[string(f.Severity)] >= weights[severity]
			}) {
				t.Errorf("no %s (%s)", want, c.Truth)
			}
		}
		if !strings.HasPrefix(c.Class, "ot-") && len(found) > 0 {
			t.Errorf("%d findings where nobody speaks to controllers", len(found))
		}
	})
}
