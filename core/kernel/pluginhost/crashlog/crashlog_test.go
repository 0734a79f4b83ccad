package crashlog

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func record(at time.Time) Record {
	return Record{ID: Name("acme/odd@dev", at), Time: at, Instance: "acme/odd@dev", Plugin: "acme/odd", Kind: sdk.KindDetector,
		Reason: "exited with status 2", State: []byte("state"), Steps: []Step{{Call: "Inspect", Capture: "c", Frame: []byte("one")},
			{Call: "Flush"}, {Call: "Inspect", Capture: "d", Frame: []byte("two")}}}
}

func TestARecordComesBackWhole(t *testing.T) {
	dir := t.TempDir()
	r := record(time.Unix(1000, 0))
	if err := Save(dir, r); err != nil {
		t.Fatal(err)
	}
	got, err := Load(filepath.Join(dir, r.ID))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != r.ID || string(got.State) != "state" || len(got.Steps) != 3 || string(got.Steps[0].Frame) != "one" ||
		got.Steps[1].Frame != nil || string(got.Steps[2].Frame) != "two" || got.Cut {
		t.Errorf("got %+v", got)
	}
	if info, err := os.Stat(filepath.Join(dir, r.ID)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info, err)
	}
}

func TestTheOldestGo(t *testing.T) {
	dir := t.TempDir()
	for i := range PerInstance + 2 {
		if err := Save(dir, record(time.Unix(int64(1000+i), 0))); err != nil {
			t.Fatal(err)
		}
	}
	list := List(dir)
	if len(list) != PerInstance || !list[0].Time.Equal(time.Unix(1004, 0)) || !list[2].Time.Equal(time.Unix(1002, 0)) {
		t.Errorf("kept %+v", list)
	}
}

func TestTooMuchIsCutToTheLastCall(t *testing.T) {
	dir := t.TempDir()
	r := record(time.Unix(1000, 0))
	r.Steps[0].Frame = bytes.Repeat([]byte("x"), MaxBytes)
	if err := Save(dir, r); err != nil {
		t.Fatal(err)
	}
	got, err := Load(filepath.Join(dir, r.ID))
	if err != nil || !got.Cut || len(got.Steps) != 1 || string(got.Steps[0].Frame) != "two" || got.State != nil {
		t.Errorf("got cut %v, %d steps, %v", got.Cut, len(got.Steps), err)
	}
}

func TestWhatWasLeftHalfWrittenGoes(t *testing.T) {
	dir := t.TempDir()
	left, now := filepath.Join(dir, fresh+"1"), filepath.Join(dir, fresh+"2")
	for _, name := range []string{left, now} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(name, "0.frame"), []byte("one"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * writeTime)
	if err := os.Chtimes(left, long, long); err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, record(time.Unix(1000, 0))); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what a host left is still there: %v", err)
	}
	if _, err := os.Stat(now); err != nil {
		t.Errorf("what another is writing is gone: %v", err)
	}
}

func FuzzHead(f *testing.F) {
	f.Add([]byte(`{"id":"x","steps":[{"call":"Inspect"}],"has_state":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "crash.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := Load(dir); err == nil && len(r.Steps) > maxSteps {
			t.Error("more steps than a record has")
		}
	})
}

func TestWhatWasFoundHasItsOwnLimits(t *testing.T) {
	dir := t.TempDir()
	other := record(time.Unix(1, 0))
	other.Instance, other.ID = "acme/odd@dev2", Name("acme/odd@dev2", other.Time)
	if err := SaveFound(dir, other); err != nil {
		t.Fatal(err)
	}
	for i := range FoundPerInstance + 2 {
		r := record(time.Unix(int64(1000+i), 0))
		r.Found = []sdk.Finding{{ID: "f", Summary: "odd"}}
		if err := SaveFound(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	list := List(dir)
	if len(list) != FoundPerInstance+1 || list[0].Found[0].Summary != "odd" || list[FoundPerInstance].Instance != other.Instance {
		t.Errorf("kept %d: %+v", len(list), list)
	}
}

func TestWhatWasFoundLongAgoGoes(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_700_000_000, 0)
	for _, at := range []time.Time{now.Add(-FoundAge - time.Minute), now.Add(-FoundAge + time.Minute), now} {
		if err := SaveFound(dir, record(at)); err != nil {
			t.Fatal(err)
		}
	}
	if list := List(dir); len(list) != 2 || !list[1].Time.Equal(now.Add(-FoundAge+time.Minute)) {
		t.Errorf("kept %d: %+v", len(list), list)
	}
}

// Many findings with much evidence fit into a head that can be read again.
func TestTheHeadOfManyFindings(t *testing.T) {
	dir := t.TempDir()
	r := record(time.Unix(1000, 0))
	for i := range 64 {
		f := sdk.Finding{ID: string(rune('A' + i)), Summary: "odd", Packets: make([]uint64, 10_000), Flows: make([]sdk.FlowRef, 10_000)}
		r.Found = append(r.Found, f)
	}
	if err := SaveFound(dir, r); err != nil {
		t.Fatal(err)
	}
	got, err := Load(filepath.Join(dir, r.ID))
	if err != nil || len(got.Found) != 64 || len(got.Found[63].Packets) != namedAtMost || len(r.Found[0].Flows) != 10_000 {
		t.Errorf("%d findings, %v", len(got.Found), err)
	}
	r = record(time.Unix(2000, 0))
	for range 64 {
		r.Found = append(r.Found, sdk.Finding{Summary: string(bytes.Repeat([]byte("x"), 100_000))})
	}
	r.Found[63].ID = "the last"
	if err := SaveFound(dir, r); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(filepath.Join(dir, r.ID)); err != nil || len(got.Found) == 0 || got.Found[len(got.Found)-1].ID != "the last" {
		t.Errorf("%d findings, %v", len(got.Found), err)
	}
}
