package facts

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// analyse reads a capture to its end.
func analyse(tb testing.TB, m *Maker, path string, emit func([]sdk.Flow) error) traffic.Summary {
	tb.Helper()
	sum, err := traffic.AnalyzeFile(context.Background(), path, traffic.Options{Flow: flow.Config{Apps: m.Engine()}}, nil, m.Flows(emit))
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		tb.Fatal(err)
	}
	if err := m.Flush(); err != nil {
		tb.Fatal(err)
	}
	return sum
}

// gather returns a Maker, and the batch that it adds copies of its records to.
func gather(tb testing.TB, kinds ...string) (*Maker, *sdk.Batch) {
	tb.Helper()
	all := &sdk.Batch{}
	m, err := New(Config{Kinds: kinds, Emit: Batches(func(_ string, b *sdk.Batch) error { return copyInto(all, b) })})
	if err != nil {
		tb.Fatal(err)
	}
	return m, all
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
	all.Contents = append(all.Contents, c.Contents...)
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

// wire makes the facts of one flow, which no parser tells.
type wire struct {
	*Maker
	flow *app.Flow
}

func newWire(m *Maker, protocol string, flow uint64) wire {
	f := app.TestFlow(protocolNamed(protocol), 6, m.take)
	f.ID = flow
	return wire{m, f}
}

func protocolNamed(name string) (p app.Protocol) {
	for _, known := range protocols(true) {
		if known.Name == name {
			p = known
		}
	}
	return p
}

// say tells a fact a second after the one before.
func (w wire) say(d app.Dir, body any) {
	w.flow.Packet++
	w.flow.Time += 1e9
	w.flow.Emit(d, body)
}

func (w wire) end() { w.closed(w.flow) }
