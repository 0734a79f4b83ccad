package pysdk

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

const exampleFolder = "../../examples/detector-sklearn"

// The example finds both attacks of the bundled capture and blames nobody else.
func TestExampleFindsTheAttacks(t *testing.T) {
	main := filepath.Join(t.TempDir(), "__main__.py")
	if err := os.WriteFile(main, []byte("import unusual\nimport picket\npicket.main()\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	app := zipapp(t, filepath.Dir(main), "unusual/", filepath.Join(exampleFolder, "unusual"))
	cfg, log := testConfig(t, "-I", app)
	p := start(t, cfg, log)
	i := configure(t, p, "acme/unusual", `{}`)
	var s sinks
	_, err := traffic.AnalyzeFile(testContext(t), "../../examples/datasets/first-light/first-light.pcap", traffic.Options{}, nil, func(flows []sdk.Flow) error {
		return i.Inspect(testContext(t), "first-light", records.AppendFlows(nil, flows), &s)
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if err := i.Flush(testContext(t), &s); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range s.findings {
		got[f.Src] = f.Features["flows"]
		t.Log(f.Summary)
	}
	if len(got) != 2 || got["10.77.0.66"] < 190 || got["10.77.0.22"] < 25 {
		t.Errorf("%v", got)
	}
}

func TestExamplesOwnTests(t *testing.T) {
	folder, err := filepath.Abs(exampleFolder)
	if err != nil {
		t.Fatal(err)
	}
	sdkFolder, err := filepath.Abs("../../sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python(t), "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PYTHONPATH="+sdkFolder+string(os.PathListSeparator)+folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
