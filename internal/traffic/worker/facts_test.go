package worker

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// workOn runs the worker on a file for what is wanted.
func workOn(t *testing.T, path string, wanted Options) []message {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out bytes.Buffer
	if err := Run(context.Background(), in, &out, wanted); err != nil {
		t.Fatal(err)
	}
	return apart(t, out.Bytes())
}

// Facts of the kinds that are wanted come before their flows, which carry features when these are.
func TestFactsAndFeatures(t *testing.T) {
	closed, kinds, named := map[uint64]bool{}, map[string]int{}, 0
	for _, m := range workOn(t, capturePath, Options{Facts: []string{sdk.FactsDNS, sdk.FactsTLS}, Features: true}) {
		switch m.kind {
		case KindFacts:
			kind := records.SchemaOf(m.body).Facts()
			kinds[kind] += records.Count(m.body)
			if kind != sdk.FactsDNS {
				continue
			}
			rows, err := records.DecodeFacts[sdk.DNS](m.body, nil) // with the checksum
			if err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				if closed[rows[i].Flow] {
					t.Fatalf("a fact comes after its flow %d", rows[i].Flow)
				}
			}
		case KindFrame:
			rows, err := records.DecodeVerifiedFlowFeatures(m.body, nil)
			if err != nil || rows[0].Features == nil {
				t.Fatalf("%v, features %v", err, rows[0].Features)
			}
			for i := range rows {
				closed[rows[i].ID] = true
				if rows[i].App == "dns" {
					named++
				}
			}
		}
	}
	if kinds[sdk.FactsDNS] == 0 || len(kinds) > 2 || named == 0 {
		t.Errorf("facts %v, %d flows of DNS", kinds, named)
	}
}

// Without a wish there are no facts and no features, and the protocols are known all the same.
func TestNobodyAsksForMore(t *testing.T) {
	list := workOn(t, capturePath, Options{})
	for _, m := range list {
		if m.kind == KindFacts || m.kind == KindFrame && records.HasFeatures(m.body) {
			t.Fatalf("a message of kind %d", m.kind)
		}
	}
	var done Done
	last(t, list, KindDone, &done)
	q, sum := done.Quality, uint64(0)
	for _, n := range q.Outcomes {
		sum += n
	}
	if sum != done.Packets || q.Layers["ipv4"] == 0 || q.Facts != 0 || len(q.Protocols) == 0 {
		t.Errorf("%d packets: %+v", done.Packets, q)
	}
}

func TestAKindThatIsNone(t *testing.T) {
	in, err := os.Open(capturePath)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := Run(context.Background(), in, &bytes.Buffer{}, Options{Facts: []string{"gossip"}}); err == nil || !strings.Contains(err.Error(), "gossip") {
		t.Error(err)
	}
}

// A parser that broke is named, with the packet.
func TestQualityNamesWhatBroke(t *testing.T) {
	sum := traffic.Summary{Panics: []app.Panic{{Protocol: "mqtt", Flow: 3, Packet: 17, Value: "index out of range"}, {Packet: 9, Value: "nil"}}}
	sum.Parsing.Panics = 2
	q := qualityOf(&sum)
	if q.Panics != 2 || len(q.Notes) != 2 || q.Notes[0] != "the parser of mqtt broke at packet 17 (index out of range); flow 3 was not read further" ||
		!strings.HasPrefix(q.Notes[1], "recognition broke at packet 9") {
		t.Errorf("%+v", q)
	}
}
