package confine

import (
	"archive/zip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry/policy"
)

// script imports what plugins use and tries what they must not do. Each line of its output is a name and what came of it.
const script = `
import os, sys
def attempt(name, fn):
    try:
        print(name, "ok", fn(), flush=True)
    except BaseException as e:
        print(name, "failed", type(e).__name__, e, flush=True)
def load(name):
    return lambda: __import__(name).__name__
for name in ("json", "ssl", "ctypes", "sqlite3", "asyncio", "threading", "beside"):
    attempt("import:" + name, load(name))
for name in sys.argv[1:]:
    attempt("import:" + name, load(name))
def thread():
    import threading
    t = threading.Thread(target=lambda: None); t.start(); t.join()
attempt("thread", thread)
attempt("fork", lambda: os._exit(0) if os.fork() == 0 else os.wait())
def run():
    import subprocess
    return subprocess.run([sys.executable, "--version"], capture_output=True).returncode
attempt("run", run)
attempt("read", lambda: open(SECRET).read())
def connect():
    import socket
    return socket.create_connection(("127.0.0.1", 1), 1)
attempt("dial", connect)
def learn():
    import numpy, sklearn.ensemble as e
    x = numpy.arange(40.0).reshape(20, 2)
    return e.RandomForestClassifier(5).fit(x, [0, 1] * 10).predict(x).sum()
if "sklearn" in sys.argv: attempt("learn", learn)
`

func archive(t *testing.T, secret string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin.pyz")
	f, err := os.Create(path)
	must(t, err)
	z := zip.NewWriter(f)
	for name, text := range map[string]string{
		"__main__.py": strings.ReplaceAll(script, "SECRET", `"`+secret+`"`), "beside.py": "x = 1\n",
	} {
		w, err := z.Create(name)
		must(t, err)
		_, err = w.Write([]byte(text))
		must(t, err)
	}
	must(t, z.Close())
	must(t, f.Close())
	must(t, os.Chmod(path, 0o755))
	f, err = os.Open(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// TestLevelPython runs an archive with the system's interpreter, or with CONFINE_TEST_PYTHON (and CONFINE_TEST_IMPORTS,
// such as "numpy sklearn").
func TestLevelPython(t *testing.T) {
	level := best(t)
	program := os.Getenv("CONFINE_TEST_PYTHON")
	if program == "" {
		program = "/usr/bin/python3"
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("no python3 on this machine")
		}
	}
	ceiling, err := policy.Parse([]byte("apiVersion: picket/v1\ninterpreters: {python3: " + program + "}\n"))
	must(t, err)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("secret"), 0o644))
	imports := strings.Fields(os.Getenv("CONFINE_TEST_IMPORTS"))
	for _, most := range []Level{LevelC, level} {
		r := request(t, most)
		r.Ceiling, r.Interpreter = ceiling, "python3"
		var h heard
		r.Refused = h.tell
		p, err := tryStart(t, r, launch.Spec{Program: "/proc/self/fd/3"}, archive(t, secret), imports...)
		must(t, err)
		if err := <-p.exited; err != nil {
			t.Fatalf("level %s: %v: %s%s", most, err, p.out, p.stderr)
		}
		t.Logf("level %s:\n%s%s", p.report.Level, p.out, p.stderr)
		// What the interpreter looks for by itself is told of nobody.
		if got := h.names(); most != LevelC && (len(got) == 0 || got["connect"] != "") {
			t.Errorf("told of %v", got)
		}
		for line := range strings.Lines(p.out.String()) {
			f := strings.Fields(line)
			good := f[1] == "ok"
			needed := strings.HasPrefix(f[0], "import:") || f[0] == "thread" || f[0] == "learn"
			unconfined := p.report.Level == LevelC && f[0] != "dial" // nobody listens there
			if good != (needed || unconfined) {
				t.Errorf("level %s: %s", p.report.Level, line)
			}
		}
	}
}
