package traffic

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// sharedCaptures lists the captures that lie beside the repository; the test is skipped where there are none.
func sharedCaptures(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob("../../../shared/pcaps/*.*cap*")
	if err != nil {
		tb.Fatal(err)
	}
	more, _ := filepath.Glob("../../../shared/pcaps/*.trace")
	if files = append(files, more...); len(files) == 0 {
		tb.Skip("no shared captures at ../shared/pcaps")
	}
	return files
}

// What the flows say together is what the packets say together, in every capture.
func TestFlowsAddUpToPackets(t *testing.T) {
	for _, file := range sharedCaptures(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want := sumPackets(t, file)
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var got sums
			sum, err := Analyze(context.Background(), f, Options{}, func(flows []sdk.Flow) error {
				for i := range flows {
					got.addFlow(&flows[i])
				}
				return nil
			})
			var damaged *capture.DamagedError
			if err != nil && !errors.As(err, &damaged) {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("flows add up to %+v, packets to %+v", got, want)
			}
			var all uint64
			for _, n := range sum.Outcomes {
				all += n
			}
			if all != sum.Packets || sum.Outcomes[decode.Flow] != want.packets {
				t.Errorf("outcomes %v of %d packets, %d of them in flows", sum.Outcomes, sum.Packets, want.packets)
			}
		})
	}
}

type sums struct {
	packets, bytes, payload, syn, fin, rst, psh, ack, urg uint64
}

func (s *sums) addFlow(f *sdk.Flow) {
	s.packets += f.FwdPackets + f.RevPackets
	s.bytes += f.FwdBytes + f.RevBytes
	s.payload += f.FwdPayload + f.RevPayload
	s.syn += uint64(f.SynCount)
	s.fin += uint64(f.FinCount)
	s.rst += uint64(f.RstCount)
	s.psh += uint64(f.PshCount)
	s.ack += uint64(f.AckCount)
	s.urg += uint64(f.UrgCount)
}

// firstFragments are the datagrams whose first fragment is somewhere in the capture: the others' flow cannot be known.
func firstFragments(t *testing.T, file string) map[decode.DatagramKey]bool {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[decode.DatagramKey]bool{}
	var p capture.Packet
	var d decode.Packet
	for r.Next(&p) == nil {
		if decode.Decode(&d, p.Link, p.Data, p.Length) == decode.Flow && d.Part.Is {
			out[d.Piece(p.Data).Of] = true
		}
	}
	return out
}

func sumPackets(t *testing.T, file string) (s sums) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	var p capture.Packet
	var d decode.Packet
	firsts := firstFragments(t, file)
	for r.Next(&p) == nil {
		outcome := decode.Decode(&d, p.Link, p.Data, p.Length)
		if outcome == decode.Fragment && firsts[d.Piece(p.Data).Of] {
			outcome = decode.Flow
		}
		if outcome != decode.Flow {
			continue
		}
		s.packets++
		s.bytes += uint64(d.Length)
		s.payload += uint64(d.Payload)
		if d.Proto == sdk.ProtoTCP {
			for flag, n := range map[uint8]*uint64{
				sdk.FlagSYN: &s.syn, sdk.FlagFIN: &s.fin, sdk.FlagRST: &s.rst,
				sdk.FlagPSH: &s.psh, sdk.FlagACK: &s.ack, sdk.FlagURG: &s.urg,
			} {
				if d.Flags&flag != 0 {
					*n++
				}
			}
		}
	}
	return s
}
