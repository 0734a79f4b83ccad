package rustsdk

import (
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// slowTransfer is examples/detector-rust in Go: what counts as a slow transfer.
type slowTransfer struct {
	MinBytes    uint64          `json:"min_bytes" default:"100000" min:"1" doc:"Fewer bytes than this in one direction are no transfer."`
	MinDuration config.Duration `json:"min_duration" default:"30s" min:"0s" doc:"A transfer that ends sooner is not slow."`
	MaxRate     float64         `json:"max_rate" default:"10000" min:"0" doc:"Bytes per second; a transfer below it is slow."`
	Many        uint32          `json:"many" default:"3" min:"1" doc:"So many slow transfers of one source are reported together at the end of the capture."`
}

type source struct {
	count       uint32
	bytes       uint64
	first, last time.Time
}

// judge returns the findings as the host gives them.
func (c slowTransfer) judge(flows []sdk.Flow) findings {
	var out findings
	put := func(f sdk.Finding) {
		f.Detector, f.Techniques = "acme/slow-transfer", []string{"T1030"}
		f.ID = sdk.FindingID(f)
		out = append(out, f)
	}
	sources := map[string]*source{}
	for i := range flows {
		f := &flows[i]
		bytes, seconds := max(f.FwdBytes, f.RevBytes), f.Duration().Seconds()
		if bytes < c.MinBytes || f.Duration() < time.Duration(c.MinDuration) || float64(bytes) >= c.MaxRate*seconds {
			continue
		}
		put(c.transfer(f, bytes, float64(bytes)/seconds))
		s := sources[f.Src.String()]
		if s == nil {
			s = &source{first: f.Start, last: f.End}
			sources[f.Src.String()] = s
		}
		s.count, s.bytes = s.count+1, s.bytes+bytes
		if f.Start.Before(s.first) {
			s.first = f.Start
		}
		if f.End.After(s.last) {
			s.last = f.End
		}
	}
	names := make([]string, 0, len(sources))
	for name := range sources {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if s := sources[name]; s.count >= c.Many {
			put(sdk.Finding{Rule: "many", Severity: sdk.SeverityMedium, Risk: 40, Confidence: 0.7, Src: name, Start: s.first, End: s.last,
				Features: map[string]float64{"transfers": float64(s.count), "bytes": float64(s.bytes)},
				Summary:  fmt.Sprintf("%s moved %d bytes in %d slow transfers", name, s.bytes, s.count)})
		}
	}
	return out
}

func (c slowTransfer) transfer(f *sdk.Flow, bytes uint64, rate float64) sdk.Finding {
	dst := netip.AddrPortFrom(f.Dst, f.DstPort).String()
	return sdk.Finding{Rule: "transfer", Severity: sdk.SeverityLow, Risk: 20, Confidence: 0.5, Src: f.Src.String(), Dst: dst,
		Start: f.Start, End: f.End, Packets: f.Packets, Flows: []sdk.FlowRef{f.Ref()},
		Features: map[string]float64{"bytes": float64(bytes), "rate": rate, "iat_mean": f.IATMean},
		Summary:  fmt.Sprintf("%s and %s moved %d bytes at %s bytes per second", f.Src, dst, bytes, strconv.FormatFloat(rate, 'f', 0, 64))}
}
