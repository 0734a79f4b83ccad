package carved

// Bounds of the packets that an agent keeps for one finding.
const (
	MaxKeptPackets = 2000
	MaxKeptBytes   = 1 << 20 // of the file that holds them
)

// Evidence says which packets of live traffic a finding rests on: those with the numbers, and those of the flows. Both ascend.
type Evidence struct {
	Flows   []uint64
	Numbers []uint64
}

// Kept says what of the evidence is in a pcap file: its packets are not numbered from 1.
type Kept struct {
	Packets []KeptPacket `json:"packets"` // in the order of the file
	Matched int          `json:"matched"` // packets of the evidence that were still there; some may be too many for the file
	Missing int          `json:"missing"` // numbers of the evidence that were not
}

// KeptPacket is one packet of the file.
type KeptPacket struct {
	Number   uint64 `json:"n"` // in the run of the worker that saw it
	Flow     uint64 `json:"f,omitempty"`
	Backward bool   `json:"b,omitempty"`
}
