package repocheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What an author imports explains itself.
func TestEveryNameOfTheSDKIsExplained(t *testing.T) {
	missing, err := undocumented("../../sdk")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missing {
		t.Errorf("%s has no doc comment", m)
	}
}

func TestANameWithoutExplanationIsNoticed(t *testing.T) {
	const source = `package x
type A int
func F() {}
// Known is known.
func (a A) Known() {}
func (a A) Bare() {}
const (
	B = 1
	C = 2 // C is explained
)
`
	got, err := undocumentedIn("x.go", []byte(source))
	if err != nil || len(got) != 4 {
		t.Fatalf("%v, %v", got, err)
	}
}

// maxDependencies is how many modules the SDK may bring to those who use it, directly.
const maxDependencies = 8

func TestTheSDKNeedsFewModules(t *testing.T) {
	text, err := os.ReadFile("../../sdk/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct, _, _ := strings.Cut(string(text), "// indirect")
	if n := len(regexp.MustCompile(`(?m)^\t\S+ v\S+$`).FindAllString(direct, -1)); n == 0 || n > maxDependencies {
		t.Errorf("sdk/go.mod has %d direct dependencies, at most %d", n, maxDependencies)
	}
}

// maxGuest is the size of a Go guest that uses the root package alone.
const maxGuest = 3_500_000

func TestASmallGuestIsSmall(t *testing.T) {
	dir := t.TempDir()
	const source = `package main

import (
	"context"

	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{ID: "acme/small", Kind: sdk.KindCollector, Summary: "Says one.", New: func() sdk.Instance { return small{} }})
}

type small struct{}

func (small) Config() any { return nil }

func (small) Collect(_ context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	return sink.Sample(sdk.Sample{Metric: "acme.small", Type: sdk.Gauge, Value: 1})
}

func main() {}
`
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "guest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags", "-s -w", "-o", out, filepath.Join(dir, "main.go"))
	build.Dir = "../.." // the work file knows where the SDK is
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > maxGuest {
		t.Errorf("%d bytes, at most %d", info.Size(), maxGuest)
	}
}
