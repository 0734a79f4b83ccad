package plugincmd

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigOfARun(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "c.json"), `{"port": 23, "deep": {"a": 1}}`)
	for name, c := range map[string]struct {
		in   []string
		want string
		err  string
	}{
		"nothing":        {want: ""},
		"a number":       {in: []string{"port=23"}, want: `{"port":23}`},
		"text":           {in: []string{"name=a b"}, want: `{"name":"a b"}`},
		"a list":         {in: []string{`targets=["192.0.2.7"]`}, want: `{"targets":["192.0.2.7"]}`},
		"below another":  {in: []string{"db.host=x", "db.port=1"}, want: `{"db":{"host":"x","port":1}}`},
		"a file":         {in: []string{file}, want: `{"deep":{"a":1},"port":23}`},
		"over a file":    {in: []string{file, "deep.a=2"}, want: `{"deep":{"a":2},"port":23}`},
		"neither":        {in: []string{"nonsense"}, err: "neither NAME=VALUE nor a file"},
		"text with an =": {in: []string{"q=a=b"}, want: `{"q":"a=b"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readConfig(c.in)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "key"), "hush\n")
	got, err := readSecrets([]string{"token=" + file})
	if err != nil || got["token"] != "hush" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := readSecrets([]string{"token"}); err == nil || !strings.Contains(err.Error(), "NAME=FILE") {
		t.Errorf("got %v", err)
	}
}

func TestWhatCausesABuild(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.go"), "one")
	before := fingerprint(dir)
	for name, causes := range map[string]bool{
		"a.go": true, "sub/b.go": true, "plugin.yaml": true,
		"build/release.json": false, ".git/HEAD": false, "target/x": false, "testdata/c/want.json": false, ".a.go.swp": false,
	} {
		write(t, filepath.Join(dir, name), "changed "+name)
		after := fingerprint(dir)
		if (after != before) != causes {
			t.Errorf("%s: causes a build: %v, want %v", name, after != before, causes)
		}
		before = after
	}
}

func TestTheLineToAttachADebuggerWith(t *testing.T) {
	for _, debug := range []bool{true, false} {
		var out bytes.Buffer
		s := screen{p: columns.New(&out)}
		if debug {
			s.attach = "dlv attach"
		}
		for range 2 { // it is printed once for each process
			s.show(adminsock.Event{Type: "state", State: "ready", PID: 4711, Level: "C"})
		}
		want := map[bool]int{true: 1, false: 0}[debug]
		if got := strings.Count(out.String(), "dlv attach 4711"); got != want {
			t.Errorf("debug %v: %d lines in\n%s", debug, got, out.String())
		}
	}
}

func TestTheStackInALog(t *testing.T) {
	log := `time=2026-11-22T04:17:05Z level=INFO msg=started` + "\n" + `time=2026-11-22T04:17:05Z level=ERROR msg="panic: odd port"` + "\n" +
		`time=2026-11-22T04:17:05Z level=ERROR msg="\tmain.go:53 +0x25"`
	if got := stackOf(log); got != "panic: odd port\n\tmain.go:53 +0x25" {
		t.Errorf("got %q", got)
	}
	if got := stackOf("it said nothing special"); got != "it said nothing special" {
		t.Errorf("got %q", got)
	}
}

func TestReplayOfWhatIsNotThere(t *testing.T) {
	cmd := replayCmd()
	cmd.SetArgs([]string{"--data", t.TempDir(), "../../etc/passwd-not-there"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "neither a capture, nor an alert, nor a crash") {
		t.Errorf("got %v", err)
	}
}

// What cannot go well is said before anything is built: this source does not even compile.
func TestRunAsksTheServerFirst(t *testing.T) {
	dir := source(t, "picket/sample", "1.0.0", "One.")
	write(t, filepath.Join(dir, "cmd", "main.go"), "no Go at all")
	if _, err := run(t, "plugin", "run", "--data", t.TempDir(), dir); !errors.Is(err, adminsock.ErrNotRunning) || !strings.Contains(err.Error(), "picketd --dev --data") {
		t.Errorf("got %v", err)
	}
}

func TestFlagsThatMeanNothingToAPlugin(t *testing.T) {
	guest := registry.Manifest{ID: "acme/x", Kind: sdk.KindDetector, Runtimes: []string{registry.RuntimeWASM}}
	process := registry.Manifest{ID: "acme/x", Kind: sdk.KindNotifier, Runtimes: []string{registry.RuntimeProcess}}
	capture := write(t, filepath.Join(t.TempDir(), "a.pcap"), "packets")
	for name, c := range map[string]struct {
		r    *runner
		m    registry.Manifest
		want string // "" when it fits
	}{
		"nothing":                     {&runner{}, process, ""},
		"a notice":                    {&runner{notice: true}, process, ""},
		"a notice for a detector":     {&runner{notice: true}, guest, "--notice"},
		"a capture":                   {&runner{captures: []string{capture}}, guest, ""},
		"a capture that is not there": {&runner{captures: []string{capture + "x"}}, guest, "there is no file"},
		"a capture for a notifier":    {&runner{captures: []string{capture}}, process, "--capture"},
		"a scope":                     {&runner{scope: "192.0.2.0/24"}, process, "--scope"},
		"a debugger":                  {&runner{debug: true}, process, ""},
		"a debugger for a guest":      {&runner{debug: true}, guest, "would run as a guest"},
		"a runtime that it has not":   {&runner{runtime: "process"}, guest, "runtimes: [wasm]"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.r.fits(&c.m)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheFindingOfAnAlert(t *testing.T) {
	alert := &traced{Rule: "odd", Title: "a used b"}
	for name, c := range map[string]struct {
		alert *traced
		f     sdk.Finding
		want  string
	}{
		"no alert":       {nil, sdk.Finding{}, "nil"},
		"the same":       {alert, sdk.Finding{Rule: "odd", Summary: "a used b"}, "true"},
		"another rule":   {alert, sdk.Finding{Rule: "even", Summary: "a used b"}, "false"},
		"another matter": {alert, sdk.Finding{Rule: "odd", Summary: "a used c"}, "false"},
	} {
		got := "nil"
		if again := c.alert.among([]sdk.Finding{c.f}); again != nil {
			got = strconv.FormatBool(*again)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestATokenFile(t *testing.T) {
	for text, want := range map[string]string{"picket_abc\n": "picket_abc", "": "", "two words": "", "h\u00e4\n": ""} {
		got, err := readToken(write(t, filepath.Join(t.TempDir(), "token"), text))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
