// Package heap measures what a detector holds of far more flows than it can remember.
package heap

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Bound is what a detector's memory may take, all told. Go's collector lets the heap of a process grow to twice that before
// it collects, and the program itself takes some 20 MiB: with that it stays below 64 MiB.
const Bound = 20 << 20

// Check shows inspect n flows in batches as they come from the wire, each changed by the caller, and fails when more than
// Bound is held then.
func Check(t *testing.T, n int, change func(i int, f *sdk.Flow), inspect func(sdk.Batch) error) {
	t.Helper()
	before := inUse()
	flows := make([]sdk.Flow, records.BatchProcess)
	start := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	var frame []byte
	var rows []sdk.Flow
	for done := 0; done < n; done += len(flows) {
		for i := range flows {
			flows[i] = sample(done+i, start)
			change(done+i, &flows[i])
		}
		var err error
		frame = records.AppendFlows(frame[:0], flows)
		if rows, err = records.DecodeFlows(frame, rows); err != nil {
			t.Fatal(err)
		}
		if err := inspect(sdk.Batch{Flows: rows}); err != nil {
			t.Fatal(err)
		}
	}
	if held := inUse() - before; held > Bound {
		t.Errorf("%d flows leave %d MiB behind, more than %d MiB", n, held>>20, Bound>>20)
	} else {
		t.Logf("%d flows leave %d KiB behind", n, held>>10)
	}
}

// sample is a call to a host of its own, 100 microseconds after the one before.
func sample(i int, start time.Time) sdk.Flow {
	at := start.Add(time.Duration(i) * 100 * time.Microsecond)
	return sdk.Flow{
		ID: uint64(i + 1), CommunityID: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", Start: at, End: at.Add(time.Second),
		Src: Addr(10, i), Dst: Addr(30, i), SrcPort: 50000, DstPort: 443, Proto: sdk.ProtoTCP,
		FwdPackets: 5, RevPackets: 5, FwdPayload: 500, RevPayload: 3000,
		FwdFirstFlags: sdk.FlagSYN, FwdFlags: sdk.FlagSYN | sdk.FlagACK, RevFlags: sdk.FlagSYN | sdk.FlagACK, Packets: []uint64{uint64(i + 1)},
	}
}

// Addr is the i-th address below first, of some sixteen million.
func Addr(first byte, i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i))
	b[0] = first
	return netip.AddrFrom4(b)
}

func inUse() int64 {
	runtime.GC()
	runtime.GC() // what a finalizer or a pool held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
