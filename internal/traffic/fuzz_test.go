package traffic

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// Whatever the input, every packet is accounted for and no bug is set off.
func FuzzAnalyze(f *testing.F) {
	for _, name := range []string{"syn-scan", "udp-scan", "quiet"} {
		data, err := os.ReadFile("../../plugins/detectors/portscan/testdata/" + name + "/input.pcap")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 4000)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var packets, flows uint64
		sum, err := Analyze(context.Background(), bytes.NewReader(data), Options{Flow: flow.Config{MaxFlows: 16, Batch: 4, Features: true}}, func(list []sdk.Flow) error {
			for i := range list {
				packets += list[i].FwdPackets + list[i].RevPackets
				if list[i].End.Before(list[i].Start) || list[i].CommunityID == "" || len(list[i].Packets) == 0 {
					t.Fatalf("%+v", list[i])
				}
			}
			flows += uint64(len(list))
			return nil
		})
		var bug *PanicError
		if errors.As(err, &bug) {
			t.Fatal(err)
		}
		var all uint64
		for _, n := range sum.Outcomes {
			all += n
		}
		if all != sum.Packets || packets != sum.Outcomes[decode.Flow] || flows != sum.Flows {
			t.Fatalf("%d packets in %d flows: %+v", packets, flows, sum)
		}
	})
}
