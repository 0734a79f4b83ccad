package registry

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/sdk"
)

func TestLockRoundTrip(t *testing.T) {
	var l Lock
	l.Schema = LockSchema
	for _, id := range []string{"picket/host", "acme/x", "picket/arp", "acme/x"} {
		l.Put(Locked{ID: id, Version: "1.0.0", Descriptor: Digest([]byte(id)), Role: "official", KeyIDs: []string{"k"},
			Artifacts: goodDescriptor(t).Artifacts})
	}
	data, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseLock(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&l, back); diff != "" {
		t.Error(diff)
	}
	if len(back.Plugins) != 3 || back.Plugins[0].ID != "acme/x" || back.Plugins[2].ID != "picket/host" {
		t.Errorf("entries %+v", back.Plugins)
	}
	if _, ok := back.Find("picket/none"); ok {
		t.Error("found what is not there")
	}
	for name, change := range map[string][2]string{
		"other schema": {`"schema": 1`, `"schema": 2`},
		"unknown key":  {`"role"`, `"roll"`},
		"not ordered":  {"acme/x", "zebra/x"},
		"twice":        {"picket/arp", "picket/host"},
		"bad version":  {`"version": "1.0.0"`, `"version": "one"`},
		"bad digest":   {Digest([]byte("acme/x")), "00"},
	} {
		bad := strings.Replace(string(data), change[0], change[1], 1)
		if bad == string(data) {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if _, err := ParseLock([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestGrantsDigestIgnoresOrderAndReasons(t *testing.T) {
	a := sdk.Permission{Cap: "net.dial", Args: map[string][]string{"to": {"10.0.0.1"}, "port": {"22"}}, Reason: "one"}
	b := sdk.Permission{Cap: "flows.read", Reason: "two"}
	same := sdk.Permission{Cap: "net.dial", Args: map[string][]string{"port": {"22"}, "to": {"10.0.0.1"}}, Reason: "three"}
	if GrantsDigest([]sdk.Permission{a, b}) != GrantsDigest([]sdk.Permission{b, same}) {
		t.Error("the same grants have two digests")
	}
	wider := sdk.Permission{Cap: "net.dial", Args: map[string][]string{"port": {"22"}, "to": {"10.0.0.0/8"}}}
	if GrantsDigest([]sdk.Permission{a, b}) == GrantsDigest([]sdk.Permission{wider, b}) {
		t.Error("wider grants have the same digest")
	}
}

func TestRevocations(t *testing.T) {
	rev := Revocation{Plugin: "acme/x", Versions: "<1.4.0", Reason: "It leaks.", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r := &Revocations{Schema: RevocationsSchema, Revoked: []Revocation{rev}}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRevocations(data)
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]bool{"1.3.9": true, "1.4.0": false, "1.4.0-rc.1": true, "0.0.1-x": true, "2.0.0": false, "nonsense": true} {
		if _, got := back.Find(Subject{ID: "acme/x", Version: version}); got != want {
			t.Errorf("version %s revoked: %v", version, got)
		}
	}
	if _, got := back.Find(Subject{ID: "acme/y", Version: "1.0.0"}); got {
		t.Error("another plugin is revoked")
	}
	if added := back.Merge(r); added != 0 || len(back.Revoked) != 1 {
		t.Errorf("merged %d", added)
	}
	if added := back.Merge(&Revocations{Revoked: []Revocation{{Plugin: "acme/x", Versions: "*"}}}); added != 1 {
		t.Errorf("merged %d", added)
	}
	for name, bad := range map[string]Revocation{
		"no plugin":   {Versions: "*", Reason: "x"},
		"no versions": {Plugin: "acme/x", Reason: "x"},
		"bad range":   {Plugin: "acme/x", Versions: "??", Reason: "x"},
		"no reason":   {Plugin: "acme/x", Versions: "*"},
	} {
		if bad.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
		data, _ := (&Revocations{Schema: 1, Revoked: []Revocation{bad}}).Encode()
		if _, err := ParseRevocations(data); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

func FuzzParseRevocations(f *testing.F) {
	f.Add([]byte(`{"schema":1,"revoked":[{"plugin":"a/b","versions":"<1.2 || >3","reason":"x","time":"2026-01-02T03:04:05Z"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRevocations(data)
		if err != nil {
			return
		}
		for _, rev := range r.Revoked {
			rev.Covers(Subject{ID: rev.Plugin, Version: "1.0.0"})
		}
	})
}

func TestRefusalNamesPluginReasonAndWhatToDo(t *testing.T) {
	cause := errors.New("it hums.")
	err := (&Refusal{Reason: DigestMismatch, Err: cause}).For("acme/x", "1.0.0")
	want := "refused plugin acme/x 1.0.0 (digest_mismatch): it hums; the bytes were changed"
	if !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %q", err)
	}
	if !errors.Is(fmt.Errorf("start: %w", error(err)), cause) {
		t.Error("the cause is lost")
	}
	if again := err.For("acme/y", "2.0.0"); again.Plugin != "acme/x" {
		t.Error("a refusal changed its plugin")
	}
	for _, reason := range []Reason{
		RootMismatch, DevelopmentRoot, BadSignature, BadMetadata, Rollback, Expired, MixAndMatch, WrongNamespace, NotVouched,
		DescriptorMismatch, DigestMismatch, Oversized, Revoked, NoArtifact, NotInstalled, Unreachable, BeyondCeiling, BadLocalState, Busy,
	} {
		if (&Refusal{Reason: reason}).Hint() == "" {
			t.Errorf("%s does not say what to do", reason)
		}
	}
}
