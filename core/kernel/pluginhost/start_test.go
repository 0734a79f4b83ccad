//go:build linux

package pluginhost

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/brokerwire"
)

// askEarly asks the broker for something and waits for the answer, before the process says that it is up.
func askEarly() {
	fd, err := strconv.Atoi(os.Getenv(brokerwire.Env))
	if err == nil {
		fd, err = syscall.Dup(fd)
	}
	var conn *brokerwire.Conn
	if err == nil {
		conn, err = brokerwire.NewConn(os.NewFile(uintptr(fd), "broker"))
	}
	if err == nil {
		defer conn.Close()
		err = conn.Send(brokerwire.Request{ID: 1, Op: brokerwire.OpOpen, Name: "/asked/early"}, nil)
	}
	if err == nil {
		_, _, err = conn.Receive(false)
	}
	if err != nil {
		println(err.Error())
		os.Exit(6)
	}
}

func TestTheBrokerAnswersDuringTheStart(t *testing.T) {
	f := upgradable(t, map[string]string{"1.0.0": "ask early"}, nil)
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	f.untilState("c", Ready)
	e, err := f.Explain("c")
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Used) != 1 || !strings.Contains(e.Used[0].Detail, "/asked/early") || e.Used[0].Denied == 0 {
		t.Errorf("used: %+v", e.Used)
	}
	if r := f.Report(); len(r) != 1 || len(r["c"].Used) != 1 || r["c"].Confinement == nil || r["c"].Digest != e.Digest {
		t.Errorf("reported: %+v", r)
	}
}

// The broker of a candidate with other grants is the instance's only once the candidate is in charge.
func TestTheBrokerOfACandidate(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": "exit at start", "2.1.0": ""}, nil)
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	f.untilState("c", Ready)
	s, err := f.supervisor("c")
	if err != nil {
		t.Fatal(err)
	}
	look := func() (same, granted bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.cur != nil && s.broker == s.cur.broker, len(s.brokered) > 0
	}
	next := versionedAssignment("c", "versioned/collector", "2.0.0")
	next.Grants = []sdk.Permission{{Cap: sdk.CapState}}
	f.apply(next)
	f.until("c", "the upgrade to fail", func(s Status) bool { return s.Upgrade != nil && s.Upgrade.State == UpgradeFailed })
	if same, granted := look(); !same || granted {
		t.Errorf("after an upgrade that failed: its broker is that of the one in charge: %v, with other grants: %v", same, granted)
	}
	next.Version = "2.1.0"
	f.apply(next)
	f.until("c", "the upgrade", func(s Status) bool { return s.State == Ready && s.Version == "2.1.0" })
	if same, granted := look(); !same || !granted {
		t.Errorf("after the upgrade: its broker is that of the one in charge: %v, with the new grants: %v", same, granted)
	}
}

// A start that fails says what happened at the gate and what the plugin's side says.
func TestAFailedStartSaysBoth(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", ""))
	f.untilState("a", Ready)
	s, err := f.supervisor("a")
	if err != nil {
		t.Fatal(err)
	}
	lifeline, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer lifeline.Close()
	r := &run{s: s}
	r.process = newProcess(f.Host, r)
	r.lifeline, r.plan = other, new(confine.Plan)
	err = s.notStarted(t.Context(), r, errors.New("no handshake"))
	if !errors.As(err, new(*trouble)) || !strings.Contains(err.Error(), "nothing was started") || !strings.Contains(err.Error(), "no handshake") {
		t.Errorf("got %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.notStarted(gone, r, errors.New("no handshake")); errors.As(err, new(*trouble)) {
		t.Errorf("interrupted: %v", err)
	}
}
