package plugincmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// command runs `picket plugin` in this process.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := New()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// onnx is the least that passes for a model.
func onnx() []byte {
	field := func(b []byte, n protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
	}
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8)
	b = field(b, 7, field(nil, 1, []byte("\x22\x04Relu")))
	return field(b, 8, []byte("\x10\x11"))
}

// A model and a data pack go from their skeletons into a registry; a pickle goes nowhere.
func TestModelsAndDataPacks(t *testing.T) {
	base := t.TempDir()
	r := &registrytest.Registry{Dir: filepath.Join(base, "registry"), Keys: filepath.Join(base, "keys")}
	r.SetNow(time.Now())
	if err := publish.Init(r.Dir, r.Keys, publish.Options{Development: true, Now: r.Now}); err != nil {
		t.Fatal(err)
	}
	model, data := filepath.Join(base, "names"), filepath.Join(base, "vendors")
	for kind, dir := range map[string]string{"model": model, "data": data} {
		if out, err := command(t, "new", "--kind", kind, "picket/"+filepath.Base(dir), dir); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	send := func() (string, error) {
		return command(t, "publish", "--registry", r.Dir, "--keys", r.Keys, "--out", filepath.Join(base, "build"), model, data)
	}
	if out, err := send(); err == nil || !strings.Contains(err.Error(), "names.onnx") {
		t.Errorf("a model without its file: %v\n%s", err, out)
	}
	file := filepath.Join(model, "names.onnx")
	for content, want := range map[string]string{
		"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93.": "Python pickle",
		"weights": "not an ONNX model",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := send(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q\n%s", err, want, out)
		}
	}
	if err := os.WriteFile(file, onnx(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := send(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	report, err := publish.Verify(r.Dir, nil, r.Now())
	if err != nil || !report.OK() || len(report.Releases) != 2 || !strings.Contains(report.Releases[0].Platform, registry.RuntimeFile) {
		t.Errorf("%+v, %v", report, err)
	}
	if out, err := command(t, "test", model); err == nil || !strings.Contains(err.Error(), "never run") {
		t.Errorf("a model is tested: %v\n%s", err, out)
	}
}
