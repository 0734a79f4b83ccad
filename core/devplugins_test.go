package core

import (
	"bytes"
	"errors"
	"io"
	goruntime "runtime"
	"testing"

	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

func TestVersionsOfBuilds(t *testing.T) {
	for in, want := range map[string]string{"0.1.0": "0.1.0-dev.3", "1.2.3-rc.1": "1.2.3-rc.1.dev.3", "1.2.3+linux": "1.2.3-dev.3"} {
		if got := developmentVersion(in, 3); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestWhoTakesUnsignedPlugins(t *testing.T) {
	t.Cleanup(func() { config.Release = "false" })
	for _, c := range []struct {
		dev     bool
		release string
		want    bool
	}{{true, "false", true}, {false, "false", false}, {true, "true", false}, {false, "true", false}} {
		config.Release = c.release
		core := &Core{cfg: Config{Dev: c.dev}}
		if got := core.takesTrials(); got != c.want || (core.trials() != nil) != c.want {
			t.Errorf("dev %v, release %s: %v", c.dev, c.release, got)
		}
	}
}

// untilEnd notes that a reader was read to its end.
type untilEnd struct {
	*bytes.Reader
	ended bool
}

func (u *untilEnd) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	u.ended = u.ended || errors.Is(err, io.EOF)
	return n, err
}

func TestWhatIsWrongWithSettings(t *testing.T) {
	bad := &catalogue.InvalidError{Fields: []catalogue.Field{{Location: "body.config", Message: "missing property 'url'"}, {Location: "body.grants", Message: "unknown"}}}
	if got := wrongSettings(bad).Error(); got != "missing property 'url'; unknown (--config NAME=VALUE gives a setting, --config FILE all of them)" {
		t.Errorf("got %s", got)
	}
	bad.Fields = bad.Fields[1:]
	if got := wrongSettings(bad).Error(); got != "unknown" {
		t.Errorf("got %s", got)
	}
}

func TestABuildIsHashedAndOfferedByItsVersion(t *testing.T) {
	program := []byte("a program")
	d := registry.Descriptor{Schema: registry.DescriptorSchema,
		Manifest: registry.Manifest{APIVersion: registry.APIVersion, ID: "acme/odd", Version: "0.1.0", Kind: sdk.KindDetector, Title: "Odd", Summary: "Finds odd things.",
			License: "MIT", Protocol: []int{sdk.Protocol}, Runtimes: []string{registry.RuntimeProcess}},
		Artifacts: []registry.Artifact{{Runtime: registry.RuntimeProcess, OS: goruntime.GOOS, Arch: goruntime.GOARCH, ABI: registry.ABIProcess,
			SHA256: registry.Digest(program), Size: int64(len(program))}}}
	text, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(&Core{}, noRegistry{})
	offer := adminsock.Trial{Descriptor: text, Artifacts: []string{registry.Digest(program)}}
	if _, err := b.receive(offer, bytes.NewReader([]byte("b program"))); err == nil {
		t.Error("other bytes than those that were named are taken")
	}
	offer.Artifacts = append(offer.Artifacts, offer.Artifacts[0])
	if _, err := b.receive(offer, bytes.NewReader(append(program, program...))); err == nil {
		t.Error("an artifact that comes twice is taken")
	}
	offer.Artifacts = offer.Artifacts[:1]
	if _, err := b.receive(offer, bytes.NewReader(append(program, 'x'))); err == nil {
		t.Error("more is taken than was announced")
	}
	body := &untilEnd{Reader: bytes.NewReader(program)}
	x, err := b.receive(offer, body)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if !body.ended {
		t.Error("the request was not read to its end: the server would not notice that its author has gone")
	}
	b.trials["acme/odd"] = &trial{builds: []build{x}}
	a, err := b.OpenRelease(t.Context(), "acme/odd", x.descriptor.Manifest.Version, registry.RuntimeProcess)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got, err := io.ReadAll(a.File); err != nil || !bytes.Equal(got, program) || a.Locked.Role != adminsock.UnsignedRole {
		t.Errorf("got %q by %q, %v", got, a.Locked.Role, err)
	}
	if _, err := a.File.WriteAt([]byte("x"), 0); err == nil {
		t.Error("the bytes can be changed")
	}
	var no *registry.Refusal
	if _, err := b.OpenRelease(t.Context(), "acme/other", "1.0.0", registry.RuntimeProcess); !errors.As(err, &no) || no.Reason != registry.NotInstalled {
		t.Errorf("what is not under development: %v", err)
	}
	if _, err := b.OpenVerified(t.Context(), "acme/odd", registry.RuntimeWASM); !errors.As(err, &no) || no.Reason != registry.NoArtifact {
		t.Errorf("another runtime: %v", err)
	}
}
