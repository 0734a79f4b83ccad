package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An author starts in an empty folder, on a machine that has never seen this repository and has no network: what
// picket carries and what the tools of a language keep in their caches is all there is. A collector in Go, a detector
// in Python and a detector in Rust each come to run in a picketd --dev, and what they measure and find is seen.
func TestAnAuthorWithoutTheRepository(t *testing.T) {
	picketd := bin(t, "picketd")
	if os.Geteuid() != 0 {
		t.Skip("hiding the repository and the network needs root")
	}
	home, err := os.MkdirTemp("/tmp", "author-") //nolint:usetesting // a short path, and one that the namespace can hide
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	if err := os.Chmod(home, 0o755); err != nil { // each plugin has a user of its own, who reads the interpreter
		t.Fatal(err)
	}
	programs, work, wheels := filepath.Join(home, "bin"), filepath.Join(home, "work"), filepath.Join(home, "wheels")
	if err := os.Mkdir(programs, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"picketd", "picket", "picket-agent", "picket-launch", "picket-wasm", "picket-traffic", "registry", "registry-keys", "sample"} {
		if out, err := exec.Command("cp", "-a", filepath.Join(filepath.Dir(picketd), name), programs).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	capture, err := os.ReadFile(filepath.Join(repoRoot(t), "examples/datasets/first-light/first-light.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{work, wheels} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(work, "scan.pcap"), capture, 0o644); err != nil {
		t.Fatal(err)
	}
	python := warmPython(t, filepath.Join(programs, "picket"), wheels)
	languages := "go " + python + rust()
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "bash", "-euo", "pipefail", "-c", authorScript)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "GOFLAGS=", "GOWORK=off", "GOPROXY=off", "PIP_NO_INDEX=1", "PIP_FIND_LINKS="+wheels, "CARGO_NET_OFFLINE=true",
		"REPOSITORY="+repoRoot(t), "PORT="+strconv.Itoa(freePort(t)), "LANGUAGES="+strings.TrimSpace(languages), "PATH="+programs+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, m := range regexp.MustCompile(`(?m)^SECONDS (\w+) (\d+)$`).FindAllStringSubmatch(string(out), -1) {
		seconds, _ := strconv.Atoi(m[2])
		t.Logf("%-7s from an empty folder to what it says in picketd: %.1f minutes", m[1], time.Duration(seconds*int(time.Second)).Minutes())
	}
	for language := range strings.FieldsSeq(languages) {
		if !strings.Contains(string(out), fmt.Sprintf("SEEN %s\n", language)) {
			t.Errorf("nothing was seen of the plugin in %s:\n%s", language, out)
		}
	}
	t.Logf("%s", out)
}

// warmPython fetches what the SDK needs, as an author's machine would have it. Without that there is no Python here.
func warmPython(t *testing.T, picket, wheels string) string {
	t.Helper()
	path, err := exec.Command(picket, "sdk", "path", "--lang", "python").Output()
	if err != nil {
		t.Fatalf("picket sdk path: %v", err)
	}
	out, err := exec.Command("python3", "-m", "pip", "download", "--quiet", "--dest", wheels, strings.TrimSpace(string(path))).CombinedOutput()
	if err != nil {
		t.Logf("without Python, its packages cannot be had here: %s", out)
		return ""
	}
	return "python "
}

func rust() string {
	if _, err := exec.LookPath("cargo"); err != nil {
		return ""
	}
	return "rust"
}

// authorScript is what the author types. "watched" waits for a line of `picket plugin run` and ends it.
const authorScript = `
ip link set lo up
mount -t tmpfs none "$REPOSITORY"
export HOME="$PWD/home" GOMODCACHE="${GOMODCACHE:-$(go env GOMODCACHE)}" GOCACHE="${GOCACHE:-$(go env GOCACHE)}"
export CARGO_HOME="${CARGO_HOME:-/root/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-/root/.rustup}"
mkdir "$HOME"
mkdir -m 700 data
printf 'apiVersion: picket/v1\ninterpreters: {python3: %s}\n' "$PWD/odd-py/.venv/bin/python3" > data/policy.yaml
chmod 600 data/policy.yaml

watched() { # LANGUAGE PATTERN FOLDER OPTIONS...
  local language="$1" pattern="$2" folder="$3"; shift 3
  picket plugin run "$folder" --data data "$@" > "$language.log" 2>&1 &
  local run=$!
  for _ in $(seq 600); do
    if grep -q "$pattern" "$language.log"; then echo "SEEN $language"; break; fi
    kill -0 $run 2>/dev/null || break
    sleep 0.1
  done
  kill -INT $run 2>/dev/null || true
  wait $run || true
  echo "--- $language"; cat "$language.log"
}

for language in $LANGUAGES; do
  began=$(date +%s)
  case $language in
  go)
    folder=hello
    picket plugin new --kind collector acme/hello ;;
  python)
    folder=odd-py
    picket plugin new --kind detector --lang python acme/odd-py
    python3 -m venv odd-py/.venv
    odd-py/.venv/bin/pip install --quiet "$(picket sdk path --lang python)"
    sed -i 's/4444/23/' odd-py/odd_py/__init__.py ;;
  rust)
    folder=odd-rs
    picket plugin new --kind detector --lang rust acme/odd-rs
    sed -i 's/4444/23/' odd-rs/src/lib.rs ;;
  esac
  picket plugin test "$folder" > report.txt || { cat report.txt; exit 1; }
  head -1 report.txt
  picket plugin build --out "$PWD/built-$language" "$folder"
  if [ ! -e picketd.log ]; then
    picketd --dev --data data --listen 127.0.0.1:"$PORT" > picketd.log 2>&1 &
    server=$!
    for _ in $(seq 300); do grep -q '^Open' picketd.log && break; sleep 0.1; done
    grep -q '^Open' picketd.log || { cat picketd.log; exit 1; }
  fi
  case $language in
  go) watched go 'sample   acme.hello 1' hello ;;
  python) watched python 'finding .*10.77.0.10' odd-py --capture scan.pcap ;;
  rust) watched rust 'finding .*10.77.0.10' odd-rs --capture scan.pcap ;;
  esac
  echo "SECONDS $language $(( $(date +%s) - began ))"
done
kill -INT $server
wait $server || true
`
