package evidence

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// It keeps the first packets and flows and when the last one was, and comes back as it was written down.
func TestEvidence(t *testing.T) {
	var e Evidence
	for i := range 100 {
		e.Add(int64(1000+i), uint64(i+1), flowref.Ref{ID: uint64(i/2 + 1), SrcPort: 40000, DstPort: 53})
	}
	e.Add(2000, 101, flowref.Ref{})
	p := saved.NewPacked(e.AppendTo(nil))
	if again := Read(p); p.End() != nil || !reflect.DeepEqual(again, e) {
		t.Errorf("%+v came back as %+v, %v", e, again, p.End())
	}
	var f sdk.Finding
	e.Into(&f, 0.8)
	client, server := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	refs := e.Refs(client, server, sdk.ProtoUDP)
	if len(f.Packets) != maxPackets || len(refs) != maxFlows || refs[1].ID != 2 || refs[1].Dst != "10.0.0.2:53" {
		t.Errorf("%d packets and %d flows: %+v", len(f.Packets), len(refs), refs)
	}
	if !f.Start.Equal(time.Unix(0, 1000)) || !f.End.Equal(time.Unix(0, 2000)) || f.Severity != sdk.SeverityHigh || f.Risk != 84 || e.End() != 2000 || e.Lasted() != 0 {
		t.Errorf("%+v", f)
	}
}
