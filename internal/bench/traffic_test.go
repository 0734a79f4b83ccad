package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// The flood is what its row says: flows of one packet, all open at the same time, none damaged.
func TestFloodIsOfFlowsOfOnePacket(t *testing.T) {
	const flows = 5000
	path := filepath.Join(t.TempDir(), "flood.pcap")
	if err := writeFlood(path, flows); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := 0
	sum, err := traffic.Analyze(context.Background(), f, traffic.Options{Flow: flow.Config{Batch: 64}}, func(list []sdk.Flow) error {
		for _, x := range list {
			if x.FwdPackets+x.RevPackets != 1 || x.EndReason != sdk.EndCapture || x.Proto != sdk.ProtoUDP {
				t.Errorf("%+v", x)
			}
		}
		seen += len(list)
		return nil
	})
	if err != nil || seen != flows || sum.Packets != flows {
		t.Fatalf("%d flows of %d packets: %v", seen, sum.Packets, err)
	}
	var outcomes job
	outcomes.Quality.Outcomes = map[string]uint64{"a": 3, "b": 4}
	if outcomes.accounted() != 7 {
		t.Error("outcomes are not added up")
	}
}

func TestAccountOfAProcess(t *testing.T) {
	// A name may hold a parenthesis and spaces.
	stat := "77 (a ) b) S 7 0 0 0 0 0 0 0 0 0 100 50 20 30 0 0 0 0 0 0 10 0 0"
	p, ok := processOf([]byte(stat))
	if !ok || p.name != "a ) b" || p.parent != 7 || p.cpu != 2*time.Second || p.rss != 10*int64(os.Getpagesize()) {
		t.Errorf("%+v %v", p, ok)
	}
	if _, ok := processOf([]byte("77 (a) S 7")); ok {
		t.Error("half a line was read")
	}
	all, err := family(os.Getpid())
	if err != nil || all[os.Getpid()].rss == 0 {
		t.Errorf("this process is not in its own family: %v %v", all, err)
	}
	if h, err := memoryOfFamily(os.Getpid()); err != nil || h.pss == 0 || h.rss == 0 || len(h.by) == 0 {
		t.Errorf("memory %+v: %v", h, err)
	}
	if got := (held{by: map[string]int64{"a": megabyte, "b": 3 * megabyte}}).String(); got != "b 3, a 1" {
		t.Error(got)
	}
	if got := title(os.Getpid(), process{}); got != filepath.Base(os.Args[0]) {
		t.Errorf("this process is called %q", got)
	}
	if got := title(-1, process{name: "gone"}); got != "gone" {
		t.Error(got)
	}
	if n, err := proportional(os.Getpid()); err != nil || n == 0 || n > 2*all[os.Getpid()].rss {
		t.Errorf("proportional set size %d: %v", n, err)
	}
}

func TestMissingWorkIsNoResult(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "126 packets could not be decoded": false, "picket/bench-pack did not take part: it is starting": true,
		"3 further findings of picket/bench-pack were left out": true, "its flows are not kept: no room": true,
	} {
		if got := (job{Skipped: text}).lacking(); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
