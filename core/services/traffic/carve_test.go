package traffic

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/carved"
)

// playCarver is a worker that takes packets out of a capture.
func playCarver(how, capture string) {
	flags := flag.NewFlagSet("", flag.ExitOnError)
	flow := flags.Uint64("carve-flow", 0, "")
	numbers := flags.String("carve-packets", "", "")
	after := flags.Uint64("after", 0, "")
	limit := flags.Int("limit", 0, "")
	_ = flags.Parse(os.Args[1:])
	packet := carved.DecodedPacket{Number: *after + 1, Captured: 4, Hex: "00", Layers: []carved.DecodedLayer{{Name: "IPv4", Length: 4}}}
	switch how {
	case "carves":
		sayJSON(msgProgress, progressMessage{Packets: 3})
		if *limit == 0 {
			say(msgPiece, []byte(capture+" "))
			say(msgPiece, []byte(*numbers))
		}
		const inFlow = 7
		for n := *after + 1; *flow == 1 && n <= inFlow && n <= *after+uint64(*limit); n++ {
			packet.Number = n
			sayJSON(msgPiece, packet)
		}
		sayJSON(msgDone, doneMessage{})
	case "finds-nothing":
		sayJSON(msgDone, doneMessage{})
	case "carves-for-ever":
		for {
			say(msgPiece, make([]byte, 1<<16))
		}
	case "dies-carving":
		say(msgPiece, []byte("half of it"))
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "analyses-instead":
		say(msgFrame, []byte{0}) // no rows, packed
	case "repeats":
		packet.Number = *after
		sayJSON(msgPiece, packet)
	case "goes-back":
		for _, n := range []uint64{5, 9, 7} {
			packet.Number = *after + n
			sayJSON(msgPiece, packet)
		}
	case "lies":
		packet.Layers[0].Length = 5
		sayJSON(msgPiece, packet)
	case "boasts-of-fields":
		packet.Layers[0].Fields = make([]carved.DecodedField, carved.MaxFields+1)
		sayJSON(msgPiece, packet)
	case "talks":
		packet.Protocol = strings.Repeat("x", carved.MaxText+1)
		sayJSON(msgPiece, packet)
	case "overshoots":
		packet.Layers[0].Fields = []carved.DecodedField{{Offset: 1 << 62, Length: 1 << 62}}
		sayJSON(msgPiece, packet)
	case "many-bytes":
		packet.Hex = strings.Repeat("00", carved.MaxBytes+1)
		sayJSON(msgPiece, packet)
	}
}

func TestCarve(t *testing.T) {
	b := newBench(t, "carves")
	c := b.upload(t, "the bytes")
	var file bytes.Buffer
	if err := b.Carve(t.Context(), c, carved.Wanted{Numbers: []uint64{3, 7}}, &file); err != nil || file.String() != "the bytes 3,7" {
		t.Errorf("%q, %v", file.String(), err)
	}
	var got []uint64
	after := uint64(0)
	for range 10 {
		page, err := b.Packets(t.Context(), c, carved.Wanted{Flow: 1, After: after, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Items {
			got = append(got, p.Number)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if len(got) != 7 || got[6] != 7 {
		t.Errorf("on the pages are %v", got)
	}
	if page, err := b.Packets(t.Context(), c, carved.Wanted{Flow: 1, After: 7}); err != nil || len(page.Items) != 0 {
		t.Errorf("behind the last: %+v, %v", page, err)
	}
	b.how = "finds-nothing"
	if _, err := b.Packets(t.Context(), c, carved.Wanted{Flow: 9}); !errors.Is(err, ErrNoPackets) {
		t.Errorf("a flow that is not there: %v", err)
	}
	if err := b.Carve(t.Context(), c, carved.Wanted{Flow: 9}, io.Discard); !errors.Is(err, ErrNoPackets) {
		t.Errorf("a flow that is not there: %v", err)
	}
}

// What a worker says of packets is checked like all that it says.
func TestACarverThatFails(t *testing.T) {
	b := newBench(t, "")
	c := b.upload(t, "x")
	for how, want := range map[string]string{
		"analyses-instead": "not asked for", "lies": "outside of its packet", "overshoots": "outside of its packet",
		"boasts-of-fields": "outside of its packet", "talks": "too long", "many-bytes": "more of a packet", "tells": "not a capture file",
		"garbage": "unknown kind", "boasts": "more than the", "repeats": "of those behind", "goes-back": "packet 7 of those behind packet 9",
	} {
		b.how = how
		page, err := b.Packets(t.Context(), c, carved.Wanted{Flow: 1})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, error %v", how, page, err)
		}
	}
	b.how = "dies-carving"
	var file bytes.Buffer
	if err := b.Carve(t.Context(), c, carved.Wanted{Flow: 1}, &file); err == nil || file.String() != "half of it" {
		t.Errorf("half a file: %q, %v", file.String(), err)
	}
}

// full is a writer whose reader went away.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, syscall.EPIPE
	}
	return len(p), nil
}

// The worker ends with whoever asked, and its place is free then.
func TestACarverEndsWithItsReader(t *testing.T) {
	b := newBench(t, "carves-for-ever")
	c := b.upload(t, "x")
	for range maxCarvers + 2 {
		if err := b.Carve(t.Context(), c, carved.Wanted{Flow: 1}, &full{room: 1 << 20}); !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := b.Carve(ctx, c, carved.Wanted{Flow: 1}, io.Discard); err == nil {
		t.Error("it ended by itself")
	}
	if n := len(b.carvers); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

func TestCarversAreBounded(t *testing.T) {
	b := newBench(t, "carves")
	c := b.upload(t, "x")
	for range maxCarvers {
		b.carvers <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Carve(ctx, c, carved.Wanted{Flow: 1}, io.Discard); !errors.Is(err, ErrCarveBusy) {
		t.Error(err)
	}
}

// A worker that analyses sends no pieces of an answer.
func TestPiecesThatNobodyAskedFor(t *testing.T) {
	b := newBench(t, "unasked")
	if c := b.finish(t, "x"); c.State != Failed || !strings.Contains(c.Error, "not asked for") {
		t.Errorf("%+v", c)
	}
}
