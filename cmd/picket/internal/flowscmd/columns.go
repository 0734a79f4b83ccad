package flowscmd

import (
	"strconv"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// column is one column of every format; exactly one of the getters is set.
type column struct {
	name  string
	text  func(*sdk.Flow) string
	whole func(*sdk.Flow) uint64
	real  func(*sdk.Flow) float64
	yes   func(*sdk.Flow) bool
	at    func(*sdk.Flow) time.Time
}

// columns are stable: others read them by name. internal/traffic/README.md says what each one means.
var columns = []column{
	{name: "id", whole: func(f *sdk.Flow) uint64 { return f.ID }},
	{name: "community_id", text: func(f *sdk.Flow) string { return f.CommunityID }},
	{name: "start", at: func(f *sdk.Flow) time.Time { return f.Start }},
	{name: "end", at: func(f *sdk.Flow) time.Time { return f.End }},
	{name: "duration", real: func(f *sdk.Flow) float64 { return f.Duration().Seconds() }},
	{name: "src", text: func(f *sdk.Flow) string { return f.Src.String() }},
	{name: "src_port", whole: func(f *sdk.Flow) uint64 { return uint64(f.SrcPort) }},
	{name: "dst", text: func(f *sdk.Flow) string { return f.Dst.String() }},
	{name: "dst_port", whole: func(f *sdk.Flow) uint64 { return uint64(f.DstPort) }},
	{name: "proto", whole: func(f *sdk.Flow) uint64 { return uint64(f.Proto) }},
	{name: "proto_name", text: func(f *sdk.Flow) string { return sdk.ProtoName(f.Proto) }},
	{name: "vlan", whole: func(f *sdk.Flow) uint64 { return uint64(f.VLAN) }},
	{name: "end_reason", text: func(f *sdk.Flow) string { return f.EndReason.String() }},
	{name: "initiator_guessed", yes: func(f *sdk.Flow) bool { return f.InitiatorGuessed }},
	{name: "fwd_packets", whole: func(f *sdk.Flow) uint64 { return f.FwdPackets }},
	{name: "rev_packets", whole: func(f *sdk.Flow) uint64 { return f.RevPackets }},
	{name: "fwd_bytes", whole: func(f *sdk.Flow) uint64 { return f.FwdBytes }},
	{name: "rev_bytes", whole: func(f *sdk.Flow) uint64 { return f.RevBytes }},
	{name: "fwd_payload", whole: func(f *sdk.Flow) uint64 { return f.FwdPayload }},
	{name: "rev_payload", whole: func(f *sdk.Flow) uint64 { return f.RevPayload }},
	{name: "fwd_flags", whole: func(f *sdk.Flow) uint64 { return uint64(f.FwdFlags) }},
	{name: "rev_flags", whole: func(f *sdk.Flow) uint64 { return uint64(f.RevFlags) }},
	{name: "fwd_first_flags", whole: func(f *sdk.Flow) uint64 { return uint64(f.FwdFirstFlags) }},
	{name: "packets", text: packetList},
	{name: "fwd_len_min", real: func(f *sdk.Flow) float64 { return f.FwdLenMin }},
	{name: "fwd_len_max", real: func(f *sdk.Flow) float64 { return f.FwdLenMax }},
	{name: "fwd_len_mean", real: func(f *sdk.Flow) float64 { return f.FwdLenMean }},
	{name: "fwd_len_std", real: func(f *sdk.Flow) float64 { return f.FwdLenStd }},
	{name: "rev_len_min", real: func(f *sdk.Flow) float64 { return f.RevLenMin }},
	{name: "rev_len_max", real: func(f *sdk.Flow) float64 { return f.RevLenMax }},
	{name: "rev_len_mean", real: func(f *sdk.Flow) float64 { return f.RevLenMean }},
	{name: "rev_len_std", real: func(f *sdk.Flow) float64 { return f.RevLenStd }},
	{name: "iat_min", real: func(f *sdk.Flow) float64 { return f.IATMin }},
	{name: "iat_max", real: func(f *sdk.Flow) float64 { return f.IATMax }},
	{name: "iat_mean", real: func(f *sdk.Flow) float64 { return f.IATMean }},
	{name: "iat_std", real: func(f *sdk.Flow) float64 { return f.IATStd }},
	{name: "fwd_iat_min", real: func(f *sdk.Flow) float64 { return f.FwdIATMin }},
	{name: "fwd_iat_max", real: func(f *sdk.Flow) float64 { return f.FwdIATMax }},
	{name: "fwd_iat_mean", real: func(f *sdk.Flow) float64 { return f.FwdIATMean }},
	{name: "fwd_iat_std", real: func(f *sdk.Flow) float64 { return f.FwdIATStd }},
	{name: "rev_iat_min", real: func(f *sdk.Flow) float64 { return f.RevIATMin }},
	{name: "rev_iat_max", real: func(f *sdk.Flow) float64 { return f.RevIATMax }},
	{name: "rev_iat_mean", real: func(f *sdk.Flow) float64 { return f.RevIATMean }},
	{name: "rev_iat_std", real: func(f *sdk.Flow) float64 { return f.RevIATStd }},
	{name: "syn_count", real: func(f *sdk.Flow) float64 { return f.SynCount }},
	{name: "fin_count", real: func(f *sdk.Flow) float64 { return f.FinCount }},
	{name: "rst_count", real: func(f *sdk.Flow) float64 { return f.RstCount }},
	{name: "psh_count", real: func(f *sdk.Flow) float64 { return f.PshCount }},
	{name: "ack_count", real: func(f *sdk.Flow) float64 { return f.AckCount }},
	{name: "urg_count", real: func(f *sdk.Flow) float64 { return f.UrgCount }},
	{name: "handshake_rtt", real: func(f *sdk.Flow) float64 { return f.HandshakeRTT }},
}

// packetList writes packet numbers as one cell, because CSV has no lists.
func packetList(f *sdk.Flow) string {
	var b []byte
	for i, n := range f.Packets {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return string(b)
}

// appendText writes the cell as plain text: times in RFC 3339, numbers in the shortest form that reads back equal.
func (c *column) appendText(b []byte, f *sdk.Flow) []byte {
	switch {
	case c.text != nil:
		return append(b, c.text(f)...)
	case c.whole != nil:
		return strconv.AppendUint(b, c.whole(f), 10)
	case c.real != nil:
		return strconv.AppendFloat(b, c.real(f), 'g', -1, 64)
	case c.yes != nil:
		return strconv.AppendBool(b, c.yes(f))
	}
	return c.at(f).UTC().AppendFormat(b, time.RFC3339Nano)
}

// appendJSON writes the cell as a JSON value.
func (c *column) appendJSON(b []byte, f *sdk.Flow) []byte {
	if c.text == nil && c.at == nil {
		return c.appendText(b, f)
	}
	b = append(b, '"') // no text of a flow needs escaping: addresses, ids, names of ours
	b = c.appendText(b, f)
	return append(b, '"')
}
