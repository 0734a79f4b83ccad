package registrycmd

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/server"
)

// today is a registry whose signatures are good now, which is what commands go by.
func today(t *testing.T) *registrytest.Registry {
	t.Helper()
	dir := t.TempDir()
	r := &registrytest.Registry{Dir: filepath.Join(dir, "registry"), Keys: filepath.Join(dir, "keys")}
	r.SetNow(time.Now())
	if err := publish.Init(r.Dir, r.Keys, publish.Options{Development: true, Now: r.Now}); err != nil {
		t.Fatal(err)
	}
	r.Publish(t, registrytest.Plugin{ID: "picket/ping", Readme: []byte("# Ping")})
	return r
}

// serve runs the command and returns its address and what stops it.
func serve(t *testing.T, args ...string) (url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	cmd := New()
	cmd.SetOut(in)
	cmd.SetErr(t.Output())
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"serve", "--listen", "127.0.0.1:0", "--json"}, args...))
	done := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		in.CloseWithError(err)
		done <- err
	}()
	var says struct{ URL string }
	if err := json.NewDecoder(out).Decode(&says); err != nil {
		cancel()
		t.Fatal(err)
	}
	stop = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return says.URL, stop
}

func fetch(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, res.Status, err)
	}
	return string(body)
}

func TestServe(t *testing.T) {
	r := today(t)
	before, err := os.ReadFile(filepath.Join(r.Dir, "metadata", "timestamp.json"))
	if err != nil {
		t.Fatal(err)
	}
	url, stop := serve(t, "--dir", r.Dir, "--keys", r.Keys)
	if got := fetch(t, http.DefaultClient, url+"v1/search?q=ping"); !strings.Contains(got, `"picket/ping"`) {
		t.Errorf("search answers %s", got)
	}
	for { // signed again at the start
		if now := fetch(t, http.DefaultClient, url+"metadata/timestamp.json"); now != string(before) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := run(t, "serve", "--dir", r.Dir, "--listen", "127.0.0.1:0"); err == nil {
		t.Error("two servers on one folder")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if again, err := server.Open(server.Config{Dir: r.Dir}); err != nil {
		t.Errorf("after it was stopped: %v", err)
	} else if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// Keys under a passphrase sign as well; one that nobody can unlock stops the server before it serves.
func TestServeWithAPassphrase(t *testing.T) {
	r := today(t)
	dir := t.TempDir()
	passphrase := filepath.Join(dir, "passphrase")
	if err := os.WriteFile(passphrase, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "timestamp.pem")
	public, err := publish.NewKey(key, []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	var old publish.KeyChange
	r.Change(t, func(p *publish.Publisher) (err error) {
		ids, _, err := p.RoleKeys("timestamp")
		if err != nil {
			return err
		}
		old = publish.KeyChange{Remove: ids}
		return p.Rotate("timestamp", publish.KeyChange{Add: []ed25519.PublicKey{public}})
	})
	private, err := publish.LoadKey(key, func(string) ([]byte, error) { return []byte("open sesame"), nil })
	if err != nil {
		t.Fatal(err)
	}
	r.Change(t, func(p *publish.Publisher) error { // from now on only the key under the passphrase counts
		p.UseKey(private)
		return p.Rotate("timestamp", old)
	})
	before, err := os.ReadFile(filepath.Join(r.Dir, "metadata", "timestamp.json"))
	if err != nil {
		t.Fatal(err)
	}
	keys := r.Keys + string(os.PathListSeparator) + key
	if out, err := run(t, "serve", "--dir", r.Dir, "--keys", keys, "--listen", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "--passphrase-file") {
		t.Errorf("without the passphrase: %s %v", out, err)
	}
	url, _ := serve(t, "--dir", r.Dir, "--keys", keys, "--passphrase-file", passphrase)
	for { // signed again at the start
		if now := fetch(t, http.DefaultClient, url+"metadata/timestamp.json"); now != string(before) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestServeTLS(t *testing.T) {
	r := today(t)
	web := httptest.NewUnstartedServer(nil) // has a certificate for 127.0.0.1
	web.StartTLS()
	pair := web.TLS.Certificates[0]
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	web.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	url, _ := serve(t, "--dir", r.Dir, "--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem"))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	if got := fetch(t, client, url+"v1/front"); !strings.HasPrefix(url, "https://") || !strings.Contains(got, "picket/ping") {
		t.Errorf("%s answers %s", url, got)
	}
	if _, err := run(t, "serve", "--dir", r.Dir, "--tls-cert", "x"); err == nil {
		t.Error("a certificate without its key")
	}
}

// A server that stands in for another serves on when that is away.
func TestServeFromUpstream(t *testing.T) {
	r := today(t)
	up := httptest.NewServer(http.FileServer(http.Dir(r.Dir)))
	defer up.Close()
	copied := filepath.Join(t.TempDir(), "copy")
	url, _ := serve(t, "--dir", copied, "--from", up.URL, "--root-sha256", r.RootSHA256(t))
	readme := url + registry.StorePath(registry.Digest([]byte("# Ping")))
	fetch(t, http.DefaultClient, url+"metadata/timestamp.json")
	if got := fetch(t, http.DefaultClient, url+"v1/plugins/picket/ping"); !strings.Contains(got, "# Ping") {
		t.Errorf("the page says %s", got)
	}
	if got := fetch(t, http.DefaultClient, readme); got != "# Ping" {
		t.Errorf("the README is %q", got)
	}
	up.Close()
	if got := fetch(t, http.DefaultClient, readme); got != "# Ping" {
		t.Errorf("without upstream the README is %q", got)
	}
	fetch(t, http.DefaultClient, url+registry.IndexPath)
	for _, wrong := range [][]string{
		{"--dir", copied, "--from", up.URL, "--keys", r.Keys}, // a copy that signs
		{"--dir", r.Dir, "--cache-mb", "10"}, {"--dir", copied, "--from", up.URL, "--cache-mb", "-1"},
		{"--dir", copied, "--from", up.URL, "--keep-lock", "plugins.lock"},
		{"--dir", copied, "--from", up.URL, "--cache-mb", "10", "--keep-lock", "no-such-file"},
	} {
		if _, err := run(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, wrong...)...); err == nil {
			t.Errorf("it serves with %v", wrong)
		}
	}
}

func TestMirrorCommand(t *testing.T) {
	r := today(t)
	copied := filepath.Join(t.TempDir(), "copy")
	out, err := run(t, "mirror", "--from", r.Dir, "--root-sha256", r.RootSHA256(t), "--dir", copied)
	if err != nil || !strings.Contains(out, "1 release") {
		t.Errorf("%s %v", out, err)
	}
	if out, err = run(t, "mirror", "--from", r.Dir, "--dir", copied, "--json"); err != nil || !strings.Contains(out, `"snapshot"`) {
		t.Errorf("again: %s %v", out, err)
	}
	if _, err = run(t, "mirror", "--from", r.Dir, "--root-sha256", registry.Digest(nil), "--dir", copied); err == nil {
		t.Error("another root was taken for the pinned one")
	}
	if out, err = run(t, "verify", "--dir", copied, "--root", r.RootFile()); err != nil {
		t.Errorf("%s %v", out, err)
	}
}

func TestNodeCommands(t *testing.T) {
	dir := t.TempDir()
	key := strings.Repeat("ab", 32)
	if out, err := run(t, "node", "add", "--dir", dir, "edge-1", key); err != nil {
		t.Fatal(out, err)
	}
	for _, wrong := range [][]string{{"edge-1", strings.Repeat("cd", 32)}, {"edge-2", key}, {"edge-3", "no-key"}} {
		if _, err := run(t, append([]string{"node", "add", "--dir", dir}, wrong...)...); err == nil {
			t.Errorf("added %v", wrong)
		}
	}
	if out, err := run(t, "node", "list", "--dir", dir); err != nil || !strings.Contains(out, "edge-1") || !strings.Contains(out, key) {
		t.Errorf("%s %v", out, err)
	}
	if out, err := run(t, "node", "remove", "--dir", dir, "edge-1"); err != nil {
		t.Error(out, err)
	}
	if _, err := run(t, "node", "remove", "--dir", dir, "edge-1"); err == nil {
		t.Error("removed twice")
	}
	if out, err := run(t, "reports", "--dir", dir); err != nil || !strings.Contains(out, "0 reports") {
		t.Errorf("%s %v", out, err)
	}
}
