//go:build linux

package broker

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/reach"
)

// Each instance of a process has its own store and its own grants, as long as it is there.
func TestAHouseAnswersEachInstanceForItself(t *testing.T) {
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h, err := NewHouse(ours, Config{Instance: "pack", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve() }()
	plugin, err := brokerwire.NewConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	a, b := New(Config{Instance: "a", Log: log, Grants: []sdk.Permission{{Cap: sdk.CapFSRead, Args: map[string][]string{"paths": {"/proc/version"}}}}}), New(Config{Instance: "b", Log: log})
	leaveA := h.Admit("a", a, Belongings{State: reach.State(t.TempDir())})
	stateB := reach.State(t.TempDir())
	defer h.Admit("b", b, Belongings{State: stateB})()
	if err := stateB.Put("key", []byte("of b")); err != nil {
		t.Fatal(err)
	}
	id := uint64(0)
	ask := func(req brokerwire.Request) brokerwire.Answer {
		t.Helper()
		id++
		req.ID = id
		if err := plugin.Send(req, nil); err != nil {
			t.Fatal(err)
		}
		data, f, err := plugin.Receive(true)
		if err != nil {
			t.Fatal(err)
		}
		if f != nil {
			f.Close()
		}
		var answer brokerwire.Answer
		if err := json.Unmarshal(data, &answer); err != nil || answer.ID != id {
			t.Fatalf("answer %s: %v", data, err)
		}
		return answer
	}
	read := func(instance string) brokerwire.Answer {
		return ask(brokerwire.Request{Op: brokerwire.OpOpen, Name: "/proc/version", Instance: instance})
	}
	get := func(instance string) brokerwire.Answer {
		return ask(brokerwire.Request{Op: brokerwire.OpStateGet, Key: "key", Instance: instance})
	}
	if x := get("a"); x.Error != nil || x.Found {
		t.Errorf("a finds what b keeps: %+v", x)
	}
	if x := get("b"); x.Error != nil || !x.Found || x.Size != 4 {
		t.Errorf("b finds %+v", x)
	}
	if x := read("a"); x.Error != nil {
		t.Errorf("a may not read what it was granted: %v", x.Error.Err())
	}
	if x := read("b"); x.Error == nil || sdk.ClassOf(x.Error.Err()) != sdk.PermissionDenied {
		t.Errorf("b reads what a was granted: %+v", x)
	}
	if used, _ := b.Use(); len(used) != 1 || used[0].Denied != 1 {
		t.Errorf("of b is counted %+v", used)
	}
	for _, nobody := range []string{"", "c"} {
		if x := get(nobody); x.Error == nil {
			t.Errorf("%q is answered: %+v", nobody, x)
		}
	}
	leaveA()
	if x := get("a"); x.Error == nil {
		t.Errorf("a is answered after it left: %+v", x)
	}
	if x := get("b"); x.Error != nil {
		t.Errorf("b went with a: %v", x.Error.Err())
	}
	plugin.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	for _, b := range []*Broker{a, b} {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
