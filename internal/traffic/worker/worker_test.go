package worker

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

const scan = "../../../plugins/detectors/portscan/testdata/syn-scan/input.pcap"

type message struct {
	kind byte
	body []byte
}

// work runs the worker on a file and takes its messages apart.
func work(t *testing.T, path string) ([]message, error) {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out bytes.Buffer
	err = Run(context.Background(), in, &out, Options{Packets: []sdk.PacketSubscription{{Layers: []string{"tcp"}, SnapLen: 64}}})
	return apart(t, out.Bytes()), err
}

// apart takes messages apart, opens what is packed and puts features back into the rows of their flows.
func apart(t *testing.T, said []byte) (list []message) {
	t.Helper()
	var features []byte
	for len(said) > 0 {
		n := binary.LittleEndian.Uint32(said)
		m := message{said[4], said[5 : 5+n]}
		said = said[5+n:]
		var err error
		switch m.kind {
		case KindFrame, KindFacts, KindFeatures:
			if m.body, err = s2.Decode(nil, m.body); err != nil {
				t.Fatal(err)
			}
		}
		switch m.kind {
		case KindFeatures:
			features = m.body
			continue
		case KindFrame:
			if m.body, err = (records.Parcel{Frame: m.body, Features: features}).Long(); err != nil {
				t.Fatal(err)
			}
			features = nil
		}
		list = append(list, m)
	}
	return list
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(scan)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// last decodes the final message, which must be the only one of its kind.
func last(t *testing.T, list []message, kind byte, into any) {
	t.Helper()
	if len(list) == 0 || list[len(list)-1].kind != kind {
		t.Fatalf("%d messages, the last is not of kind %d", len(list), kind)
	}
	if n := len(slices.DeleteFunc(slices.Clone(list), func(m message) bool { return m.kind != KindDone && m.kind != KindError })); n != 1 {
		t.Errorf("%d final messages", n)
	}
	if err := json.Unmarshal(list[len(list)-1].body, into); err != nil {
		t.Fatal(err)
	}
}

func TestCaptureIsDone(t *testing.T) {
	list, err := work(t, scan)
	if err != nil {
		t.Fatal(err)
	}
	var done Done
	last(t, list, KindDone, &done)
	flows, packets := 0, 0
	for _, m := range list {
		if m.kind == KindPackets {
			rows, err := records.DecodePackets(m.body[2:], nil)
			if err != nil || binary.LittleEndian.Uint16(m.body) != 0 {
				t.Fatalf("subscription %x, error %v", m.body[:2], err)
			}
			packets += len(rows)
		}
		if m.kind == KindFrame {
			rows, err := records.DecodeFlows(m.body, nil)
			if err != nil || len(rows) > records.BatchProcess {
				t.Fatalf("%d rows, error %v", len(rows), err)
			}
			flows += len(rows)
		}
	}
	if packets == 0 || uint64(packets) > done.Packets {
		t.Errorf("%d packets of %d", packets, done.Packets)
	}
	if flows == 0 || uint64(flows) != done.Flows || done.Truncated || done.First == nil || done.Undecoded != 0 || !slices.Equal(done.LinkTypes, []int{1}) || len(done.Services) == 0 || done.Services[0].Hosts == 0 {
		t.Errorf("%d flows: %+v", flows, done)
	}
}

func TestTruncatedCaptureIsDoneAsFarAsItGoes(t *testing.T) {
	list, err := work(t, write(t, sample(t)[:3000]))
	if err != nil {
		t.Fatal(err)
	}
	var done Done
	last(t, list, KindDone, &done)
	if !done.Truncated || done.Damage == "" || done.Flows == 0 {
		t.Errorf("%+v", done)
	}
}

func TestWhatIsNoCaptureIsAnError(t *testing.T) {
	for name, data := range map[string][]byte{"empty": nil, "text": []byte("no capture at all")} {
		list, err := work(t, write(t, data))
		var said Error
		last(t, list, KindError, &said)
		if err == nil || said.Message != err.Error() || said.Packet != 0 {
			t.Errorf("%s: said %+v, error %v", name, said, err)
		}
	}
}

// A capture of no packets has no times, and is no error.
func TestHeaderOnly(t *testing.T) {
	list, err := work(t, write(t, sample(t)[:24]))
	if err != nil {
		t.Fatal(err)
	}
	var done Done
	last(t, list, KindDone, &done)
	if done.First != nil || done.Packets != 0 {
		t.Errorf("%+v", done)
	}
}

func TestProgressTellsHowFar(t *testing.T) {
	long := bytes.Clone(sample(t))
	for len(long) < 600_000 {
		long = append(long, sample(t)[24:]...)
	}
	list, err := work(t, write(t, long))
	if err != nil {
		t.Fatal(err)
	}
	var before Progress
	n := 0
	for _, m := range list {
		if m.kind != KindProgress {
			continue
		}
		var p Progress
		if err := json.Unmarshal(m.body, &p); err != nil {
			t.Fatal(err)
		}
		if p.Total != int64(len(long)) || p.BytesRead < before.BytesRead || p.BytesRead > p.Total || p.Packets != before.Packets+progressEvery {
			t.Errorf("%+v after %+v", p, before)
		}
		before = p
		n++
	}
	if n == 0 {
		t.Error("no progress")
	}
}

type gone struct{ writes int }

func (g *gone) Write([]byte) (int, error) {
	g.writes++
	return 0, errors.New("broken pipe")
}

func TestParentIsGone(t *testing.T) {
	in, err := os.Open(scan)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	g := &gone{}
	if err := Run(context.Background(), in, g, Options{}); err == nil || g.writes != 1 {
		t.Errorf("%d writes, error %v", g.writes, err)
	}
}

// counter is a parent that counts how often it is woken.
type counter struct {
	bytes.Buffer
	writes int
}

func (c *counter) Write(p []byte) (int, error) {
	c.writes++
	return c.Buffer.Write(p)
}

func TestMessagesLeaveTogether(t *testing.T) {
	in, err := os.Open(capturePath)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out counter
	if err := Run(context.Background(), in, &out, Options{Facts: sdk.FactKinds, Features: true}); err != nil {
		t.Fatal(err)
	}
	if messages := len(apart(t, out.Bytes())); messages < 8 || out.writes > messages/2 {
		t.Errorf("%d writes of %d messages", out.writes, messages)
	}
}

// What was held back comes before the error that ends an analysis: the parent keeps as much as was seen.
func TestAnErrorComesAfterTheFlowsBeforeIt(t *testing.T) {
	var out bytes.Buffer
	r, err := newRun(&out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.hold = heldBatches
	if err := r.flows([]sdk.Flow{{ID: 1}}); err != nil || out.Len() > 0 {
		t.Fatalf("%d bytes were sent at once, %v", out.Len(), err)
	}
	if err := r.finish(traffic.Summary{}, os.ErrClosed); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if list := apart(t, out.Bytes()); len(list) != 2 || list[0].kind != KindFrame || list[1].kind != KindError {
		t.Errorf("%d messages: %+v", len(list), list)
	}
}
