package plugincmd

import (
	"crypto/rand"
	"encoding/pem"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// served is a repository with one commit behind HTTPS, as an author has one.
func served(t *testing.T, files map[string][]byte) (address, commit string, env []string) {
	t.Helper()
	core, err := exec.Command("git", "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(core)), "git-http-backend")
	if err != nil || !exists(backend) {
		t.Skip("needs git and its server")
	}
	root := t.TempDir()
	repo := filepath.Join(root, "plugin")
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", repo}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.Mkdir(repo, 0o700); err != nil {
		t.Fatal(err)
	}
	git("init", "--quiet")
	git("config", "uploadpack.allowAnySHA1InWant", "true")
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(repo, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "--quiet", "-m", "one")
	commit = git("rev-parse", "HEAD")
	srv := httptest.NewTLSServer(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}})
	t.Cleanup(srv.Close)
	ca := filepath.Join(root, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return srv.URL + "/plugin", commit, []string{"GIT_SSL_CAINFO=" + ca}
}

func TestClone(t *testing.T) {
	huge := make([]byte, 4<<20)
	_, _ = rand.Read(huge) // nothing that git could pack
	address, commit, env := served(t, map[string][]byte{"main.go": []byte("package main\n"), "huge": huge})
	patient := cloner{patience: time.Minute, limit: 64 << 20, env: env}
	into := filepath.Join(t.TempDir(), "source")
	if err := patient.fetch(t.Context(), address, commit, into); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(into, "main.go")); err != nil || string(data) != "package main\n" {
		t.Errorf("%q, %v", data, err)
	}
	small := patient
	small.limit = 2 << 20
	for name, c := range map[string]struct {
		cloner          cloner
		address, commit string
		want            string
	}{
		"more than is allowed":     {small, address, commit, "more than 2 MiB"},
		"another commit":           {patient, address, strings.Repeat("1", 40), "exit status"},
		"nobody's certificate":     {cloner{patience: time.Minute, limit: 64 << 20}, address, commit, "certificate"},
		"without TLS":              {patient, strings.Replace(address, "https:", "http:", 1), commit, "not allowed"},
		"a program for an address": {patient, "ext::sh -c true", commit, "not allowed"},
		"a folder of this machine": {patient, into, commit, "not allowed"},
		"an option":                {patient, "--upload-pack=true", commit, "exit status"},
		"no time":                  {cloner{limit: 64 << 20, env: env}, address, commit, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.cloner.fetch(t.Context(), c.address, c.commit, filepath.Join(t.TempDir(), "source"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
