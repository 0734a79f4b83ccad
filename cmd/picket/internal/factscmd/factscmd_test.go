package factscmd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

const names = "../../../../examples/datasets/first-light/first-light.pcap"

// try runs the command as from a command line.
func try(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := New()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestJSON(t *testing.T) {
	stdout, err := try(t, "--kind", "dns", names)
	if err != nil || stdout == "" {
		t.Fatalf("%v, %d bytes", err, len(stdout))
	}
	for line := range strings.Lines(stdout) {
		var fact map[string]any
		if err := json.Unmarshal([]byte(line), &fact); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"capture", "kind", "flow", "packet", "time", "client", "server_port", "query", "qtype", "length"} {
			if fact[field] == nil {
				t.Fatalf("%s is missing from %s", field, line)
			}
		}
		if fact["kind"] != "dns" || fact["capture"] != names {
			t.Fatalf("%s", line)
		}
	}
}

func TestFrames(t *testing.T) {
	stdout, err := try(t, "--kind", "dns", "--format", "frames", names)
	if err != nil {
		t.Fatal(err)
	}
	frames := 0
	for rest := []byte(stdout); len(rest) > 0; frames++ {
		size := binary.LittleEndian.Uint32(rest[20:])
		rows, err := records.DecodeFacts[sdk.DNS](rest[:size], nil)
		if err != nil || len(rows) == 0 || rows[0].Query == "" {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		rest = rest[size:]
	}
	if frames == 0 {
		t.Error("no frame")
	}
}

// With --flows each flow comes behind its facts, all from one reading.
func TestFlowsBehindTheirFacts(t *testing.T) {
	stdout, err := try(t, "--kind", "dns,tls", "--format", "frames", "--flows", "--features", names)
	if err != nil {
		t.Fatal(err)
	}
	var d records.BatchDecoder
	closed, facts := map[uint64]bool{}, 0
	for rest := []byte(stdout); len(rest) > 0; {
		size := binary.LittleEndian.Uint32(rest[20:])
		b, err := d.Decode(rest[:size])
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range b.Flows {
			closed[f.ID] = true
		}
		if len(b.Flows) > 0 && !records.HasFeatures(rest[:size]) {
			t.Fatal("flows without features")
		}
		for _, f := range b.DNS {
			if facts++; closed[f.Flow] {
				t.Errorf("a fact comes behind its flow %d", f.Flow)
			}
		}
		rest = rest[size:]
	}
	if facts == 0 || len(closed) == 0 {
		t.Errorf("%d facts, %d flows", facts, len(closed))
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	data, err := os.ReadFile(names)
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.pcap")
	if err := os.WriteFile(broken, data[:len(data)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, err := try(t, broken)
	if err == nil || !strings.Contains(err.Error(), broken) || stdout == "" {
		t.Errorf("%v, %d bytes", err, len(stdout))
	}
	if stdout, err = try(t, filepath.Join(t.TempDir(), "missing"), names); err == nil || !strings.Contains(err.Error(), "1 of 2") || stdout == "" {
		t.Errorf("%v, %d bytes", err, len(stdout))
	}
	for _, args := range [][]string{{"--kind", "gossip", names}, {"--format", "csv", names}, {"--flows", names}, {"--format", "frames", "--features", names}, {}} {
		if _, err := try(t, args...); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestNobodyReads(t *testing.T) {
	o := options{format: choice{value: "json"}}
	if err := run(t.Context(), o, []string{names, names}, full{}, full{}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Error(err)
	}
}
