// Package sdktest tests plugins the way the host treats them: it is package kit within `go test`. In goes a plugin and,
// where needed, a valid configuration; out come failed tests that say which promise of the contract was broken.
//
//	func TestConformance(t *testing.T) {
//		sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(`{"targets": ["127.0.0.1"]}`)})
//	}
//
//	func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }
package sdktest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/kit"
)

// Options say how a plugin can be tested. Most need only Config.
type Options struct {
	Config  json.RawMessage   // a valid configuration; {} when empty
	Secrets map[string]string // by the path of their field
	// Models are files, by the id under which the plugin opens them.
	Models map[string]string
	// Grants are enforced as in production. Nil grants the secrets, ICMP and connections to this machine.
	Grants []sdk.Permission
	// Scope of a discovery; 127.0.0.1/32 when empty.
	Scope sdk.Scope
	// Notice for a notifier; one with everything set when empty.
	Notice sdk.Notice
	// Flows and Packets for a detector; a mix of ordinary conversations and attacks when nil.
	Flows   []sdk.Flow
	Packets []sdk.Packet
	// NewHost, if not nil, makes the host of each instance.
	NewHost func(t *testing.T) sdk.Host
	// Timeout bounds one call; 30 s when 0.
	Timeout time.Duration
	// StateDir holds what Snapshot gave in earlier versions, as VERSION.bin: each must be understood.
	StateDir string
}

func (o Options) kit() kit.Options {
	return kit.Options{
		Config: o.Config, Secrets: o.Secrets, Grants: o.Grants, Scope: o.Scope, Notice: o.Notice, Flows: o.Flows, Packets: o.Packets,
		Timeout: o.Timeout, StateDir: o.StateDir,
	}
}

// Run checks that the plugin keeps the contract of its kind.
func Run(t *testing.T, p sdk.Plugin, o Options) {
	t.Helper()
	for _, d := range kit.Checks(p.Kind) {
		if d.ID == "cases" {
			continue // Cases
		}
		t.Run(d.ID, func(t *testing.T) { show(t, d.Run(t.Context(), o.subject(t, p), o.kit())) })
		if t.Failed() && d.ID == "declaration" {
			return // the rest needs what failed there
		}
	}
}

// show makes a check's outcome that of the test.
func show(t *testing.T, c kit.Check) {
	t.Helper()
	switch c.Outcome {
	case kit.Fail:
		t.Errorf("%s\n%s", c.Title, c.Detail)
	case kit.Skip:
		t.Skip(c.Detail)
	default:
		if c.Detail != "" {
			t.Log(c.Detail)
		}
	}
}

// subject is the plugin in this process, with the fake host.
func (o Options) subject(t *testing.T, p sdk.Plugin) kit.Subject {
	t.Helper()
	return kit.InProcess(p, func(cfg abi.InstanceConfig) (sdk.Host, func(), error) {
		if o.NewHost != nil {
			return o.NewHost(t), func() {}, nil
		}
		s := &scope{TB: t}
		h := NewHost(s)
		h.Secrets, h.Models = cfg.Secrets, o.Models
		if o.Grants != nil {
			h.Grants = o.Grants
		}
		return h, s.end, nil
	})
}

// scope is a part of a test with an end of its own.
type scope struct {
	testing.TB
	ends []func()
}

// Cleanup runs f at the end of the scope.
func (s *scope) Cleanup(f func()) { s.ends = append(s.ends, f) }

func (s *scope) end() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
	s.ends = nil
}

// SampleFlows returns flows in order of their end, as the traffic engine gives them: web traffic, a port scan, a sweep,
// a beacon, and flows with nothing set that a detector must survive.
func SampleFlows() []sdk.Flow { return kit.SampleFlows() }

// SamplePackets returns packets in order of time: address resolution with a second machine claiming an address, ordinary
// traffic, and packets that end too early.
func SamplePackets() []sdk.Packet { return kit.SamplePackets() }
