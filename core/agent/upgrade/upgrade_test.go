package upgrade

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry/agentpack"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// archive packs programs that are all the same text.
func archive(t *testing.T, text string) *bytes.Reader {
	t.Helper()
	dir := t.TempDir()
	for _, p := range agentpack.Programs {
		must(t, os.WriteFile(filepath.Join(dir, p), []byte(text), 0o600))
	}
	var b bytes.Buffer
	must(t, agentpack.Write(&b, dir, "linux"))
	return bytes.NewReader(b.Bytes())
}

func next(t *testing.T, s *Shelf) string {
	t.Helper()
	c, err := s.Next("1.0.0")
	must(t, err)
	switch {
	case c.Program == "":
		return "base"
	case c.Trial:
		return "trial " + c.Version
	}
	raw, err := os.ReadFile(c.Program)
	must(t, err)
	return c.Version + " " + string(raw)
}

func outcome(t *testing.T, s *Shelf) Outcome {
	t.Helper()
	o, err := s.Outcome()
	must(t, err)
	if o == nil {
		return Outcome{}
	}
	must(t, s.Told())
	return *o
}

func TestAVersionProvesItself(t *testing.T) {
	data := t.TempDir()
	s := Open(data, "linux")
	if got := next(t, s); got != "base" {
		t.Fatalf("with nothing there %s runs", got)
	}
	must(t, s.Stage("1.1.0", "o1", archive(t, "one")))
	if order, err := s.Trying(); err != nil || order != "o1" {
		t.Errorf("trying %q, %v", order, err)
	}
	if got := next(t, s); got != "trial 1.1.0" {
		t.Fatalf("%s runs", got)
	}
	must(t, s.Proven())
	if got := next(t, Open(data, "linux")); got != "1.1.0 one" {
		t.Fatalf("%s runs", got)
	}
	if o := outcome(t, s); o != (Outcome{Order: "o1", Version: "1.1.0"}) {
		t.Errorf("%+v", o)
	}
	if o := outcome(t, s); o != (Outcome{}) {
		t.Errorf("told again: %+v", o)
	}
	// The next one fails, and the one before comes back.
	must(t, s.Stage("1.2.0", "o2", archive(t, "two")))
	if got := next(t, s); got != "trial 1.2.0" {
		t.Fatalf("%s runs", got)
	}
	must(t, s.Failed("it crashed"))
	if got := next(t, s); got != "1.1.0 one" {
		t.Fatalf("%s runs", got)
	}
	if o := outcome(t, s); o.Problem != "it crashed" || o.Order != "o2" {
		t.Errorf("%+v", o)
	}
	if folders, _ := filepath.Glob(filepath.Join(data, "programs", "build-*")); len(folders) != 1 {
		t.Errorf("left over: %v", folders)
	}
	// A newer one that somebody installed wins.
	if c, err := s.Next("1.1.0"); err != nil || c.Program != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestATrialIsNotTriedForEver(t *testing.T) {
	s := Open(t.TempDir(), "linux")
	must(t, s.Stage("1.1.0", "o1", archive(t, "one")))
	for range MaxStarts { // the power went off each time
		if got := next(t, s); got != "trial 1.1.0" {
			t.Fatalf("%s runs", got)
		}
	}
	if got := next(t, s); got != "base" {
		t.Fatalf("%s runs", got)
	}
	if o := outcome(t, s); !strings.Contains(o.Problem, "never reported") {
		t.Errorf("%+v", o)
	}
}

func TestChangedProgramsAreNotRun(t *testing.T) {
	data := t.TempDir()
	s := Open(data, "linux")
	spoil := func() {
		t.Helper()
		files, _ := filepath.Glob(filepath.Join(data, "programs", "build-*", "picket-launch"))
		if len(files) != 1 {
			t.Fatal(files)
		}
		must(t, os.WriteFile(files[0], []byte("evil"), 0o700))
	}
	must(t, s.Stage("1.1.0", "o1", archive(t, "one")))
	spoil()
	if got := next(t, s); got != "base" {
		t.Fatalf("%s runs", got)
	}
	if o := outcome(t, s); !strings.Contains(o.Problem, "picket-launch was changed") {
		t.Errorf("%+v", o)
	}
	must(t, s.Stage("1.1.0", "o2", archive(t, "one")))
	next(t, s)
	must(t, s.Proven())
	spoil()
	if c, err := s.Next("1.0.0"); err == nil || c.Program != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("the line broke")
	}
	return n, err
}

// TestStoppedAtEachStep takes away the machine after each write of the state: what is on disk then must start one agent.
func TestStoppedAtEachStep(t *testing.T) {
	data := t.TempDir()
	s := Open(data, "linux")
	half := archive(t, "one")
	if err := s.Stage("1.1.0", "o1", broken{io.LimitReader(half, half.Size()/2)}); err == nil {
		t.Error("half an archive was staged")
	}
	if got := next(t, s); got != "base" {
		t.Errorf("after half a download %s runs", got)
	}
	// Killed while it was unpacked: a folder that no state names.
	must(t, os.MkdirAll(filepath.Join(data, "programs", "build-dead"), 0o700))
	must(t, s.Stage("1.1.0", "o1", archive(t, "one")))
	if _, err := os.Stat(filepath.Join(data, "programs", "build-dead")); err == nil {
		t.Error("what was left over stays")
	}
	// Killed between the start of the trial and its proof, then proved.
	next(t, s)
	if got := next(t, Open(data, "linux")); got != "trial 1.1.0" {
		t.Errorf("%s runs", got)
	}
	must(t, s.Proven())
	must(t, s.Proven()) // again, after a crash before the answer
	if got := next(t, s); got != "1.1.0 one" {
		t.Errorf("%s runs", got)
	}
	must(t, os.WriteFile(filepath.Join(data, "programs", "state.json"), []byte("{"), 0o600))
	if c, err := s.Next("1.0.0"); err == nil || c.Program != "" {
		t.Errorf("with a damaged state: %+v, %v", c, err)
	}
}

func TestNewer(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"1.1.0", "1.0.9", true}, {"1.0.0", "1.0.0", false}, {"1.0.0-rc.1", "1.0.0", false}, {"0.9.0", "1.0.0", false}, {"dev", "1.0.0", false}, {"1.0.0", "dev", true}} {
		if got := Newer(c.a, c.b); got != c.want {
			t.Errorf("%s after %s: %t", c.a, c.b, got)
		}
	}
}

func TestAWithdrawnVersionIsNotRunAgain(t *testing.T) {
	s := Open(t.TempDir(), "linux")
	must(t, s.Stage("2.0.0", "order-1", archive(t, "two")))
	if got := next(t, s); got != "trial 2.0.0" {
		t.Fatal(got)
	}
	must(t, s.Proven())
	if gone, err := s.Withdraw("1.9.0"); err != nil || gone {
		t.Errorf("another version: %t, %v", gone, err)
	}
	if gone, err := s.Withdraw("2.0.0"); err != nil || !gone {
		t.Errorf("%t, %v", gone, err)
	}
	if got := next(t, s); got != "base" {
		t.Errorf("%s runs, want the base", got)
	}
	if gone, err := s.Withdraw("2.0.0"); err != nil || gone {
		t.Errorf("twice: %t, %v", gone, err)
	}
}
