package registry

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

const goodModel = `
apiVersion: picket/v1
id: acme/dga
version: 1.2.0
kind: model
title: Names made by machines
summary: Tells generated domain names from others.
license: Apache-2.0
runtimes: [file]
file: dga.onnx
model:
  format: onnx
  features: dns-name
  features_version: 2
  data: A million names of 2026.
  metrics: [{name: f1, value: 0.97, dataset: dgarchive}]
  limits: Not for names in other alphabets.
requires: [{plugin: acme/suffixes, version: "^1.2"}]
screenshots: [{file: shot.png, alt: A curve}]
source: {repo: "https://example.org/acme/dga", commit: 0123456789abcdef0123456789abcdef01234567, subdir: models/dga}
`

func TestParseManifestOfAModel(t *testing.T) {
	m, err := ParseManifest([]byte(goodModel))
	if err != nil {
		t.Fatal(err)
	}
	if m.Kind != sdk.KindModel || m.Model.FeaturesVersion != 2 || m.Requires[0].Version != "^1.2" || m.Source.Subdir != "models/dga" || !m.IsFile() {
		t.Errorf("%+v", m)
	}
	data := strings.NewReplacer("kind: model", "kind: data", "\nmodel:\n", "\nx:\n").Replace(goodModel)
	before, _, _ := strings.Cut(data, "x:\n")
	before += "data: {format: oui-tsv, source: \"https://standards-oui.ieee.org\", license: CC0-1.0, as_of: 2026-11-01}\n"
	if _, err := ParseManifest([]byte(before)); err != nil {
		t.Errorf("a data pack: %v", err)
	}
	if _, err := ParseManifest([]byte(strings.Replace(before, "2026-11-01", "2026-13-01", 1))); err == nil || !strings.Contains(err.Error(), "as_of") {
		t.Errorf("a day that is none: %v", err)
	}
}

func TestParseManifestOfAModelRefuses(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"pickle":                  {"format: onnx", "format: pickle", "model.format"},
		"joblib":                  {"format: onnx", "format: joblib", "model.format"},
		"a model that runs":       {"runtimes: [file]", "runtimes: [process]", "runtimes"},
		"permissions":             {"runtimes: [file]", "runtimes: [file]\npermissions: [{cap: flows.read, reason: x}]", "never run"},
		"a protocol":              {"runtimes: [file]", "runtimes: [file]\nprotocol: [1]", "never run"},
		"a file elsewhere":        {"file: dga.onnx", "file: ../dga.onnx", "file:"},
		"no file":                 {"file: dga.onnx\n", "", "file:"},
		"a hidden file":           {"file: dga.onnx", "file: .dga.onnx", "file:"},
		"no limits":               {"  limits: Not for names in other alphabets.\n", "", "model.limits"},
		"no metrics":              {"[{name: f1, value: 0.97, dataset: dgarchive}]", "[]", "model.metrics"},
		"another kind":            {"kind: model", "kind: collector", "model:"},
		"data and model":          {"requires:", "data: {format: x, source: \"https://e.org\", license: MIT, as_of: 2026-01-01}\nrequires:", "data:"},
		"a range that is none":    {`"^1.2"`, `"newest"`, "requires[0].version"},
		"it requires itself":      {"plugin: acme/suffixes", "plugin: acme/dga", "itself"},
		"a requirement twice":     {`version: "^1.2"}`, `version: "^1.2"}, {plugin: acme/suffixes, version: "1"}`, "twice"},
		"a picture elsewhere":     {"file: shot.png", "file: a/shot.png", "screenshots[0].file"},
		"a picture that is SVG":   {"file: shot.png", "file: shot.svg", "screenshots[0].file"},
		"a picture without words": {"alt: A curve", `alt: ""`, "screenshots[0].alt"},
		"source by ssh":           {"https://example.org/acme/dga", "ssh://example.org/acme/dga", "source.repo"},
		"source as an option":     {"https://example.org/acme/dga", "--upload-pack=x", "source.repo"},
		"a branch":                {"0123456789abcdef0123456789abcdef01234567", "main", "source.commit"},
		"a folder elsewhere":      {"subdir: models/dga", "subdir: ../x", "source.subdir"},
		"an absolute folder":      {"subdir: models/dga", "subdir: /etc", "source.subdir"},
	} {
		if !strings.Contains(goodModel, c.old) {
			t.Fatalf("%s: the change does not fit", name)
		}
		_, err := ParseManifest([]byte(strings.Replace(goodModel, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for name, c := range map[string][2]string{
		"a program called a file":  {"runtimes: [process, wasm]", "runtimes: [process, file]"},
		"a program without a file": {"limits:", "file: x.onnx\nlimits:"},
		"no protocol":              {"protocol: [1]\n", ""},
	} {
		if _, err := ParseManifest([]byte(strings.Replace(goodManifest, c[0], c[1], 1))); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func modelDescriptor(t *testing.T) *Descriptor {
	t.Helper()
	m, err := ParseManifest([]byte(goodModel))
	if err != nil {
		t.Fatal(err)
	}
	shot, err := ReadScreenshot("shot.png", picture(t, 40, 30))
	if err != nil {
		t.Fatal(err)
	}
	return &Descriptor{
		Schema: DescriptorSchema, Manifest: *m, ChangelogSHA256: strings.Repeat("c", 64), Screenshots: []Screenshot{shot},
		Artifacts: []Artifact{{Runtime: RuntimeFile, OS: AnyPlatform, Arch: AnyPlatform, ABI: ABIFile, SHA256: strings.Repeat("a", 64), Size: 9}},
	}
}

func picture(tb testing.TB, w, h int) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestDescriptorOfAModel(t *testing.T) {
	d := modelDescriptor(t)
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseDescriptor(data)
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := back.Artifact(RuntimeFile, "plan9", "arm"); !ok || a.Size != 9 {
		t.Error("its file is not for all platforms")
	}
	if files := back.Stored(); len(files) != 3 || files[2].Max != d.Screenshots[0].Size {
		t.Errorf("stored: %+v", files)
	}
	for name, change := range map[string]func(*Descriptor){
		"two files":           func(d *Descriptor) { d.Artifacts = append(d.Artifacts, d.Artifacts[0]) },
		"for one platform":    func(d *Descriptor) { d.Artifacts[0].OS = "linux" },
		"10 GiB":              func(d *Descriptor) { d.Artifacts[0].Size = 10 << 30 },
		"another abi":         func(d *Descriptor) { d.Artifacts[0].ABI = ABIProcess },
		"no picture":          func(d *Descriptor) { d.Screenshots = nil },
		"another picture":     func(d *Descriptor) { d.Screenshots[0].File = "other.png" },
		"a picture too large": func(d *Descriptor) { d.Screenshots[0].Size = MaxScreenshot + 1 },
		"a picture too wide":  func(d *Descriptor) { d.Screenshots[0].Width = 1 << 20 },
	} {
		d := modelDescriptor(t)
		change(d)
		if _, err := d.Encode(); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestReadScreenshot(t *testing.T) {
	s, err := ReadScreenshot("a.png", picture(t, 40, 30))
	if err != nil || s.Width != 40 || s.Height != 30 || s.ContentType() != "image/png" {
		t.Errorf("%+v, %v", s, err)
	}
	webp := []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x27\x40\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	if s, err := ReadScreenshot("a.webp", webp); err != nil || s.Width != 40 || s.Height != 30 {
		t.Errorf("%+v, %v", s, err)
	}
	huge := picture(t, 1, 1)
	huge[16] = 0x40 // its width becomes 2^30
	for name, data := range map[string][]byte{
		"a.png":     []byte("<svg/>"),
		"b.webp":    picture(t, 1, 1),
		"c.png":     huge,
		"d.svg":     picture(t, 1, 1),
		"e.png":     make([]byte, MaxScreenshot+1),
		"f.webp":    []byte("RIFF\xff\xff\xff\xffWEBPVP8X"),
		"empty.png": nil,
	} {
		if _, err := ReadScreenshot(name, data); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func FuzzReadScreenshot(f *testing.F) {
	f.Add("a.png", picture(f, 2, 2))
	f.Add("a.webp", []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x27\x40\x07\x00"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		s, err := ReadScreenshot(name, data)
		if err == nil && s.check() != nil {
			t.Error("passed against its own rules")
		}
	})
}
