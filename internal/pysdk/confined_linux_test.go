package pysdk

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// The example starts and works as confined as this machine can: from a descriptor, with a file system that holds the
// interpreter and nothing to write to, no network, and nothing in the environment.
func TestConfinedExample(t *testing.T) {
	interpreter := python(t)
	helper := filepath.Join(t.TempDir(), "picket-launch")
	build := exec.Command("go", "build", "-o", helper, "github.com/picketwatch/picket/cmd/picket-launch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ceiling, err := policy.Parse([]byte("apiVersion: picket/v1\ninterpreters: {python3: " + interpreter + "}\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, log := testConfig(t)
	refused := make(chan confine.RefusedCall, 100)
	plan, err := confine.New(confine.Request{
		Instance: "i", Kind: sdk.KindDetector, Runtime: registry.RuntimeProcess, Limits: confine.Defaults(sdk.KindDetector),
		Grants: []sdk.Permission{{Cap: sdk.CapFlowsRead}}, SocketDir: cfg.SocketDir, Interpreter: "python3", Ceiling: ceiling,
		Refused: func(c confine.RefusedCall) { refused <- c },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	if err := plan.Prepare(); err != nil {
		t.Fatal(err)
	}
	ours, records3, lifeline, hold, app := confinedFiles(t)
	defer hold.Close()
	cmd, err := plan.Command(helper, launch.Spec{Parent: os.Getpid(), Lifeline: 4, Keep: []int{5}, Name: "acme/unusual", Program: "/proc/self/fd/3"},
		[]*os.File{app, lifeline, records3})
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append([]string{host.LifelineEnv + "=4", host.RecordsEnv + "=5"}, plan.Env()...)
	begun := time.Now()
	p := start(t, host.Config{Name: "python", Cmd: cmd, SocketDir: cfg.SocketDir, SocketRoot: plan.SocketRoot, StartTimeout: patience,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Records: ours}, log)
	ready := time.Since(begun)
	report, err := plan.Report(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	i, err := p.Configure(testContext(t), host.InstanceConfig{Instance: "i", Plugin: "acme/unusual", Config: []byte(`{}`)})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Logf("level %s: ready after %s, model loaded after %s", report.Level, ready.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
	var s sinks
	flows := testFlows(1024)
	if err := i.Inspect(testContext(t), "c", records.AppendFlows(nil, flows), &s); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if err := i.Flush(testContext(t), &s); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(testContext(t)); err != nil || p.ExitCode() != 0 {
		t.Errorf("exit code %d, %v, %v\n%s", p.ExitCode(), err, p.Fault(), log)
	}
	t.Log(fmt.Sprint(len(s.findings), " findings"))
	if err := plan.Close(); err != nil { // nothing more is told from here on
		t.Fatal(err)
	}
	for len(refused) > 0 {
		t.Errorf("told of %+v", <-refused)
	}
}

// confinedFiles are the ends of the record plane, those of the lifeline, and the archive of the example.
func confinedFiles(t *testing.T) (ours, theirs, lifeline, hold, app *os.File) {
	t.Helper()
	main := filepath.Join(t.TempDir(), "__main__.py")
	if err := os.WriteFile(main, []byte("import unusual\nimport picket\npicket.main()\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	app, err := os.Open(zipapp(t, filepath.Dir(main), "unusual/", filepath.Join(exampleFolder, "unusual")))
	if err != nil {
		t.Fatal(err)
	}
	if lifeline, hold, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	if ours, theirs, err = host.RecordsPair(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{app, lifeline, theirs} {
			f.Close()
		}
	})
	return ours, theirs, lifeline, hold, app
}
