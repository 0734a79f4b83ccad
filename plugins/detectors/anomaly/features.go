package anomaly

import (
	"math"

	"github.com/picketwatch/picket/sdk"
)

const (
	numFeatures = 8
	featureMask = numFeatures - 1 // the compiler then knows that an index is in bounds
)

// FeatureNames are the facts of a flow that the model looks at, in its order.
var FeatureNames = []string{
	"log_duration", "log_sent", "log_received", "log_packets", "sent_per_packet", "received_per_packet", "sent_share", "log_gap",
}

// Features returns the facts of a flow. They are rounded, so that the last digits, in which platforms differ, decide
// nothing.
func Features(f *sdk.Flow) [numFeatures]float64 {
	sent, received := float64(f.FwdPayload), float64(f.RevPayload)
	share := 0.5
	if sent+received > 0 {
		share = sent / (sent + received)
	}
	out := [numFeatures]float64{
		math.Log10(1 + max(0, f.Duration().Seconds())),
		math.Log10(1 + sent),
		math.Log10(1 + received),
		math.Log10(1 + float64(f.FwdPackets+f.RevPackets)),
		sent / max(1, float64(f.FwdPackets)),
		received / max(1, float64(f.RevPackets)),
		share,
		math.Log10(1e-6 + max(0, f.IATMean)),
	}
	for i, v := range out {
		out[i] = round(v, 5)
	}
	return out
}

// Class says which forest judges a flow, "" for none.
func Class(f *sdk.Flow) string {
	switch {
	case f.Dst.IsMulticast() || f.Dst.Is4() && f.Dst.As4()[3] == 255:
		return "" // to everybody: discovery, which comes in all forms
	case f.Proto == sdk.ProtoICMP, f.Proto == sdk.ProtoICMPv6:
		return "icmp"
	case f.DstPort == 53 && f.Proto == sdk.ProtoUDP:
		return "dns"
	}
	return ""
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
