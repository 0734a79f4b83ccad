package facts

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// read gives the facts of a capture as one batch, and its flows.
func read(tb testing.TB, path string, kinds ...string) (sdk.Batch, traffic.Summary) {
	tb.Helper()
	var all sdk.Batch
	m, err := New(Config{Kinds: kinds, Emit: func(_ string, b *sdk.Batch) error {
		return copyInto(&all, b)
	}})
	if err != nil {
		tb.Fatal(err)
	}
	sum, err := traffic.AnalyzeFile(context.Background(), path, traffic.Options{Flow: flow.Config{Apps: m.Engine()}}, nil,
		m.Flows(func(flows []sdk.Flow) error { return copyInto(&all, &sdk.Batch{Flows: flows}) }))
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		tb.Fatal(err)
	}
	if err := m.Flush(); err != nil {
		tb.Fatal(err)
	}
	return all, sum
}

// copyInto appends deep copies of the records, whose memory is used again.
func copyInto(all, b *sdk.Batch) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	var c sdk.Batch
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	all.Flows = append(all.Flows, c.Flows...)
	all.DNS = append(all.DNS, c.DNS...)
	all.TLS = append(all.TLS, c.TLS...)
	all.HTTP = append(all.HTTP, c.HTTP...)
	all.SMB = append(all.SMB, c.SMB...)
	all.DHCP = append(all.DHCP, c.DHCP...)
	all.ARP = append(all.ARP, c.ARP...)
	all.OT = append(all.OT, c.OT...)
	all.Files = append(all.Files, c.Files...)
	all.Logins = append(all.Logins, c.Logins...)
	all.Messages = append(all.Messages, c.Messages...)
	return nil
}

func TestLook(t *testing.T) {
	path := os.Getenv("LOOK")
	if path == "" {
		t.Skip()
	}
	all, _ := read(t, path, sdk.FactKinds...)
	all.Flows = nil
	enc := json.NewEncoder(os.Stdout)
	for i := range all.TLS {
		enc.Encode(all.TLS[i])
	}
	for i := range all.DNS {
		enc.Encode(all.DNS[i])
	}
	for i := range all.HTTP {
		enc.Encode(all.HTTP[i])
	}
	for i := range all.SMB {
		enc.Encode(all.SMB[i])
	}
	for i := range all.Files {
		enc.Encode(all.Files[i])
	}
	for i := range all.Logins {
		enc.Encode(all.Logins[i])
	}
	for i := range all.OT {
		enc.Encode(all.OT[i])
	}
	for i := range all.Messages {
		enc.Encode(all.Messages[i])
	}
	for i := range all.ARP {
		enc.Encode(all.ARP[i])
	}
	for i := range all.DHCP {
		enc.Encode(all.DHCP[i])
	}
}
